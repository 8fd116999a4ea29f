"""Tags, the past, and going back to it."""

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from softman.cvmfs.check import catalog_problems
from softman.cvmfs.errors import FormatError, HashMismatch, ObjectMissing, RevisionMissing, TagError
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.history import History, Tag
from softman.cvmfs.format.manifest import MANIFEST_NAME, Manifest
from softman.cvmfs.format.reflog import REFLOG_NAME, Reflog
from softman.cvmfs.repository import Repository, Tagging
from softman.cvmfs.tags import advance
from tests.support.writing import Workshop, add, object_file

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """Revisions 1 (empty), 2 and 3: ``/f`` says which."""
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    for number in (2, 3):
        workshop.time += timedelta(minutes=1)
        workshop.publish(add("/f", b"%d" % number))
    return workshop


def names(history: History) -> list[tuple[str, int]]:
    return [(tag.name, tag.revision) for tag in history.tags]


def shown(workshop: Workshop, tag: str | None = None, revision: int | None = None) -> dict[str, bytes]:
    """All files of a revision; everything that is signed and named fits together."""
    manifest = workshop.repository.manifest()
    data = (workshop.root / REFLOG_NAME).read_bytes()
    assert manifest.reflog == hash_bytes(data)
    with Reflog.parse(data, workshop.name) as reflog:
        for content in (manifest.root_hash, manifest.certificate, manifest.history, manifest.metainfo):
            assert content is None or content in reflog
    with workshop.reader().snapshot(tag=tag, revision=revision) as snapshot:
        assert list(catalog_problems(snapshot.catalog)) == []
        assert snapshot.catalog.properties.revision == snapshot.manifest.revision
        files = (entry for entry in snapshot.walk() if entry.is_file)
        return {os.fsdecode(entry.path): b"".join(snapshot.read_entry(entry)) for entry in files}


def test_trunk_moves_with_every_commit(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    assert workshop.create().history is None
    assert names(workshop.repository.history()) == []
    first = workshop.publish(add("/f"))
    assert names(workshop.repository.history()) == [("trunk", 2)]
    second = workshop.publish(add("/g"))
    history = workshop.repository.history()
    assert names(history) == [("trunk-previous", 2), ("trunk", 3)]
    assert history.previous == first.history
    trunk, previous = history.tag("trunk"), history.tag("trunk-previous")
    assert trunk is not None
    assert previous is not None
    assert (trunk.root_hash, trunk.size, trunk.description) == (second.root_hash, second.root_size, "current HEAD")
    assert (previous.root_hash, previous.description) == (first.root_hash, "default undo target")


def test_the_history_moves_as_in_the_stock_repository(basic_repository: "FixtureRepository") -> None:
    """Every publication of the fixture, replayed on the tags that were there before it."""
    steps = [step for step in basic_repository.truth["steps"] if "history" in step]
    replayed = 0
    for before, after in pairwise(steps):
        if before["revision"] == after["revision"]:
            continue  # a change of tags alone
        manifest = Manifest.from_bytes(basic_repository.manifest(after)).manifest
        old, new = tags_of(before), tags_of(after)
        known = {tag.name for tag in old} | {"trunk", "trunk-previous"}
        added = [tag for tag in new if tag.name not in known]
        user = [tag for tag in added if not tag.name.startswith("generic")]
        tagging = Tagging(user[0].name, user[0].description) if user else Tagging(generic=bool(added))
        moved = advance(History(basic_repository.name, old), manifest, tagging)
        assert comparable(moved.tags) == comparable(new)
        replayed += 1
    assert replayed > 15


def tags_of(step: dict[str, Any]) -> tuple[Tag, ...]:
    columns = ("name", "hash", "revision", "timestamp", "size", "description")
    rows = ([row[column] for column in columns] for row in step["history"]["tags"])
    return tuple(Tag(name, ContentHash.parse(text), *rest) for name, text, *rest in rows)


def comparable(tags: Iterable[Tag]) -> set[tuple[object, ...]]:
    """The time in the name of a generic tag is that of another step of the publication than the manifest's."""
    return {
        (re.sub("^generic.*", "generic", tag.name), tag.root_hash, tag.revision, tag.size, tag.description)
        for tag in tags
    }


def test_generic_tags(workshop: Workshop) -> None:
    def commit(content: bytes, **tagging: object) -> None:
        candidate, staging = workshop.candidate(add("/f", content))
        workshop.repository.commit(
            candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=staging.transaction,
            tagging=Tagging(**tagging),  # type: ignore[arg-type]
        )

    commit(b"4", generic=True)
    commit(b"5", generic=True)
    stamp = f"{workshop.time:%Y-%m-%dT%H:%M:%SZ}"
    assert {f"generic-{stamp}", f"generic_1-{stamp}"} <= dict(names(workshop.repository.history())).keys()
    commit(b"6", name="v6", description="text", generic=True)
    workshop.time += timedelta(days=40)
    workshop.repository.resign_whitelist(30)
    commit(b"7", generic=True, generic_age=timedelta(days=30))
    found = dict(names(workshop.repository.history()))
    assert sorted(found) == [f"generic-{workshop.time:%Y-%m-%dT%H:%M:%SZ}", "trunk", "trunk-previous", "v6"]


def test_a_tag_that_is_taken_stops_a_commit(workshop: Workshop) -> None:
    workshop.repository.add_tag("v1")
    candidate, staging = workshop.candidate(add("/f", b"4"))
    before = (workshop.root / MANIFEST_NAME).read_bytes()
    with pytest.raises(TagError, match="'v1' already"):
        workshop.repository.commit(
            candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=staging.transaction,
            tagging=Tagging("v1"),
        )
    assert (workshop.root / MANIFEST_NAME).read_bytes() == before
    assert workshop.commit(candidate, staging).revision == 4
    for name in ("trunk", "a b", ""):
        with pytest.raises(TagError):
            Tagging(name)


def test_adding_moving_and_removing(workshop: Workshop) -> None:
    workshop.time += timedelta(minutes=1)
    before = workshop.repository.manifest()
    tag = workshop.repository.add_tag("v1", description="the first", revision=2)
    after = workshop.repository.manifest()
    assert (after.revision, after.root_hash) == (before.revision, before.root_hash)
    assert after.published_at > before.published_at
    assert workshop.repository.history().previous == before.history
    assert tag.revision == 2
    assert shown(workshop, tag="v1") == {"/f": b"2"}
    assert workshop.repository.add_tag("v1", description="the first", revision=2, move=True) == tag
    assert workshop.repository.manifest() == after
    with pytest.raises(TagError, match="already"):
        workshop.repository.add_tag("v1")
    workshop.repository.add_tag("v1", move=True)
    assert shown(workshop, tag="v1") == {"/f": b"3"}
    workshop.repository.add_tag("one", revision=1)
    assert shown(workshop, tag="one") == {}
    workshop.repository.remove_tags(["v1", "one"])
    assert names(workshop.repository.history()) == [("trunk-previous", 2), ("trunk", 3)]
    for name in ("v1", "trunk", "trunk-previous"):
        with pytest.raises(TagError):
            workshop.repository.remove_tags([name])
    with pytest.raises(TagError):
        workshop.repository.add_tag("trunk")
    with pytest.raises(RevisionMissing):
        workshop.repository.add_tag("v9", revision=9)
    assert shown(workshop) == {"/f": b"3"}


def test_tagging_a_repository_without_history(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    workshop.create()
    workshop.repository.add_tag("empty")
    assert names(workshop.repository.history()) == [("trunk", 1), ("empty", 1)]
    workshop.publish(add("/f"))
    assert names(workshop.repository.history()) == [("empty", 1), ("trunk-previous", 1), ("trunk", 2)]


def test_reading_the_past(workshop: Workshop) -> None:
    for revision, files in ((1, {}), (2, {"/f": b"2"}), (3, {"/f": b"3"})):
        assert shown(workshop, revision=revision) == files
    assert shown(workshop, tag="trunk-previous") == {"/f": b"2"}
    reader = workshop.reader()
    for number in (0, 4, -1):
        with pytest.raises(RevisionMissing):
            reader.snapshot(revision=number)
    with pytest.raises(TagError):
        reader.snapshot(tag="none")
    with pytest.raises(ValueError, match="not both"):
        reader.snapshot(tag="trunk", revision=3)
    log = list(reader.revisions())
    assert [(entry.number, entry.tags) for entry in log] == [(3, ("trunk",)), (2, ("trunk-previous",)), (1, ())]
    assert [log[0].modified - entry.modified for entry in log] == [0, 60, 120]
    assert reader.history() == workshop.repository.history()


def test_reading_the_past_of_a_stock_repository(basic_repository: "FixtureRepository", tmp_path: Path) -> None:
    reader = basic_repository.reader(basic_repository.unpack(tmp_path))
    published = {step["revision"]: step["manifest"]["C"] for step in basic_repository.truth["steps"]}
    found = {revision.number: str(revision.root_hash) for revision in reader.revisions()}
    assert {number: found[number] for number in published} == published
    with reader.snapshot(tag="v1.0") as by_tag, reader.snapshot(revision=7) as by_number:
        assert by_tag.manifest.root_hash == by_number.manifest.root_hash
        assert [entry.path for entry in by_tag.walk()] == [entry.path for entry in by_number.walk()]


def test_a_lying_tag_database_is_found_out(workshop: Workshop) -> None:
    manifest = workshop.repository.manifest()
    assert manifest.history is not None
    path = object_file(workshop.root, manifest.history, ObjectKind.HISTORY)
    good = path.read_bytes()
    path.write_bytes(good + b"x")
    with pytest.raises(HashMismatch):
        workshop.reader().snapshot(tag="trunk")
    path.unlink()
    with pytest.raises(ObjectMissing):
        workshop.reader().history()
    path.write_bytes(good)
    head, history = workshop.repository._head, workshop.repository.history()
    tag = history.tag("trunk-previous")
    assert tag is not None
    wrong = history.with_tag(replace(tag, name="wrong", revision=1))
    head.publish(replace(manifest, history=head.put_history(wrong, manifest)))
    with pytest.raises(FormatError, match="'wrong' is said to be revision 1"):
        workshop.reader().snapshot(tag="wrong")


def test_going_back_to_a_revision(workshop: Workshop) -> None:
    workshop.repository.add_tag("early", revision=2)
    workshop.repository.add_tag("late", revision=3)
    workshop.time += timedelta(minutes=1)
    done = workshop.repository.rollback(revision=2)
    assert (done.manifest.revision, done.target) == (4, 2)
    assert [tag.name for tag in done.removed_tags] == ["late"]
    assert shown(workshop) == {"/f": b"2"}
    assert names(workshop.repository.history()) == [("early", 2), ("trunk", 4)]
    with workshop.reader().snapshot() as snapshot:
        assert snapshot.catalog.properties.last_modified == int(workshop.time.timestamp())
    assert [revision.number for revision in workshop.reader().revisions()] == [4, 3, 2, 1]
    assert workshop.publish(add("/g")).revision == 5
    assert shown(workshop) == {"/f": b"2", "/g": b"content"}
    workshop.repository.rollback(revision=1)
    assert shown(workshop) == {}


def test_going_back_to_a_tag(workshop: Workshop) -> None:
    workshop.repository.add_tag("good", description="works", revision=2)
    done = workshop.repository.rollback(tag="good")
    history = workshop.repository.history()
    assert names(history) == [("good", 4), ("trunk", 4)]
    tag = history.tag("good")
    assert tag is not None
    assert (tag.root_hash, tag.description) == (done.manifest.root_hash, "works")
    with pytest.raises(RevisionMissing, match="in force"):
        workshop.repository.rollback(tag="good")
    with pytest.raises(TagError):
        workshop.repository.rollback(tag="none")
    with pytest.raises(RevisionMissing):
        workshop.repository.rollback(revision=17)
    with pytest.raises(ValueError, match="either"):
        workshop.repository.rollback()


def test_undo(workshop: Workshop) -> None:
    assert workshop.repository.undo().target == 2
    assert shown(workshop) == {"/f": b"2"}
    assert workshop.repository.undo().target == 3  # taking back that it was taken back
    assert shown(workshop) == {"/f": b"3"}
    new = Workshop(workshop.root.parent / "new")
    new.create()
    with pytest.raises(RevisionMissing, match="the first"):
        new.repository.undo()
    new.publish(add("/f"))
    assert new.repository.undo().target == 1
    assert shown(new) == {}


def test_a_stock_repository_goes_on_with_us(basic_repository: "FixtureRepository", tmp_path: Path) -> None:
    store = basic_repository.unpack(tmp_path)
    repository = Repository(store, basic_repository.name, basic_repository.keys, now=lambda: basic_repository.now)
    before = repository.history()
    repository.add_tag("ours", revision=4)
    assert names(repository.history()) == [*names(before), ("ours", 4)]
    done = repository.rollback(tag="v1.0")
    assert done.manifest.revision == 22
    assert names(repository.history())[-2:] == [("v1.0", 22), ("trunk", 22)]
    reader = basic_repository.reader(store)
    tree = next(s for s in basic_repository.truth["steps"] if s["what"].startswith("named tag v1.0"))
    while "entries" not in tree:
        tree = basic_repository.truth["steps"][tree["step"] - 1]
    with reader.snapshot() as snapshot:
        assert {os.fsdecode(e.path) for e in snapshot.walk(hidden=True)} >= {
            entry["path"] for entry in tree["entries"] if entry["path"] != "/"
        }
