"""Garbage collection: exactly what the stock tools remove, and never more than may go."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import CandidateRejected, CvmfsError, ObjectMissing, RevisionMissing
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.manifest import MANIFEST_NAME
from softman.cvmfs.format.reflog import REFLOG_NAME, ReferenceKind, Reflog
from softman.cvmfs.integrity import Extent, check_repository
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository, Retention, Tagging, Turns
from softman.cvmfs.staging import Staging
from softman.cvmfs.store import LocalStore, MemoryStore, Readable
from softman.cvmfs.transaction import Transaction
from tests.support.writing import NAME, Workshop, add, object_file

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cvmfs.conftest import FixtureRepository

NOTHING = Retention(revisions=0, age=None)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A repository with five revisions, a minute apart: ``/f`` says which."""
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    for number in range(2, 6):
        workshop.time += timedelta(minutes=1)
        workshop.publish(add("/f", b"%d" % number))
    return workshop


def objects(store: LocalStore) -> dict[str, int]:
    return {file.name: file.size for file in store.listing("data/")}


def content(workshop: Workshop, revision: int | None = None) -> bytes:
    with workshop.reader().snapshot(revision=revision) as snapshot:
        return b"".join(snapshot.read_file("/f"))


def kept(workshop: Workshop) -> list[int]:
    return [revision.number for revision in workshop.reader().revisions()]


def test_what_the_stock_tools_remove(load_repository: "Callable[[str], FixtureRepository]", tmp_path: Path) -> None:
    fixture = load_repository("gc")
    store = fixture.unpack(tmp_path)
    expected = json.loads((fixture.folder / "removed.json").read_text())
    repository = Repository(store, fixture.name, fixture.keys, now=lambda: fixture.now)
    before = objects(store)
    gone: list[str] = []
    trial = repository.collect_garbage(NOTHING, dry_run=True, on_object=lambda file: gone.append(file.name))
    assert sorted(gone) == sorted(item["object"] for item in expected["removed"])
    assert objects(store) == before
    done = repository.collect_garbage(NOTHING)
    assert (done.objects, done.bytes, done.revisions, done.kept) == (trial.objects, trial.bytes, 5, (7, 6, 3))
    assert done.objects == len(expected["removed"])
    assert done.bytes == sum(item["bytes"] for item in expected["removed"])
    after = objects(store)
    assert {name: after[name] for name in expected["after"]["objects"]} == expected["after"]["objects"]
    assert after.keys() == expected["after"]["objects"].keys()
    data = store.get(REFLOG_NAME, max_size=10**6)
    with Reflog.parse(data, fixture.name) as reflog:
        references = {str(reference.hash) for reference in reflog.references()}
    assert references == {row["hash"] for row in expected["after"]["reflog"]["refs"]}
    manifest = fixture.reader(store).manifest()
    assert manifest == done.manifest
    assert manifest.reflog == hash_bytes(data)


def test_the_past_goes(workshop: Workshop) -> None:
    assert kept(workshop) == [5, 4, 3, 2, 1]
    before = objects(workshop.store)
    report = workshop.repository.collect_garbage(NOTHING)
    assert report.kept == (5, 4)  # trunk-previous is a tag
    assert kept(workshop) == [5, 4]
    after = objects(workshop.store)
    assert sum(before.values()) - sum(after.values()) == report.bytes > 0
    assert len(before) - len(after) == report.objects
    assert (content(workshop), content(workshop, 4)) == (b"5", b"4")
    with pytest.raises(RevisionMissing):
        workshop.reader().snapshot(revision=3)
    assert workshop.repository.manifest().reflog == hash_bytes((workshop.root / REFLOG_NAME).read_bytes())
    again = workshop.repository.collect_garbage(NOTHING)
    assert (again.objects, again.revisions) == (0, 0)
    assert workshop.publish(add("/g")).revision == 6


@pytest.mark.parametrize("folder", ["basic", "autocatalog"])
def test_trees_of_nested_catalogs(
    load_repository: "Callable[[str], FixtureRepository]", tmp_path: Path, folder: str
) -> None:
    fixture = load_repository(folder)
    store = fixture.unpack(tmp_path)
    files = fixture.files
    fixture.publish(files, garbage_collectable=True)
    store.put(MANIFEST_NAME, files[MANIFEST_NAME])
    repository = Repository(store, fixture.name, fixture.keys, now=lambda: fixture.now)
    tags = repository.history().tags
    repository.remove_tags([tag.name for tag in tags if tag.name.startswith("generic")])
    before = objects(store)
    done = repository.collect_garbage(NOTHING)
    assert done.revisions > 2
    assert sum(before.values()) - sum(objects(store).values()) == done.bytes
    everything = Extent(content=True, tags=True, unreferenced=True)
    key = fixture.keys.public_key
    left = list(check_repository(store, fixture.name, [key], now=lambda: fixture.now, extent=everything, storage=store))
    assert left == []


def test_what_is_published_during_a_collection_is_whole(workshop: Workshop) -> None:
    """Marking needs no lock: a commit in the middle goes through, and nothing that it refers to goes."""

    class Busy(LocalStore):
        published = 0

        @contextmanager
        def open(self, name: str) -> Iterator[Readable]:
            if name.endswith("C") and self.published < 3:
                self.published += 1
                workshop.publish(add("/again", b"%d" % (2 + self.published)))
            with super().open(name) as file:
                yield file

    store = Busy(workshop.root)
    busy = Repository(store, workshop.name, workshop.keys, now=workshop.now)
    assert busy.collect_garbage(NOTHING).objects > 0
    assert store.published == 3
    everything = Extent(content=True, tags=True, unreferenced=True)
    key = workshop.keys.public_key
    left = check_repository(store, workshop.name, [key], now=workshop.now, extent=everything, storage=store)
    assert list(left) == []
    with workshop.reader().snapshot() as snapshot:
        assert snapshot.manifest.revision == 8
        assert b"".join(snapshot.read_file("/again")) == b"5"


def test_by_number(workshop: Workshop) -> None:
    assert workshop.repository.collect_garbage(Retention(revisions=2, age=None)).kept == (5, 4, 3)
    assert content(workshop, 3) == b"3"


@pytest.mark.parametrize(
    ("seconds", "numbers"), [(0, (5, 4)), (61, (5, 4, 3)), (120, (5, 4, 3, 2)), (10**6, (5, 4, 3, 2, 1))]
)
def test_by_age(workshop: Workshop, seconds: int, numbers: tuple[int, ...]) -> None:
    """What was in force within the time stays: also the one that was so at its beginning."""
    assert workshop.repository.collect_garbage(Retention(age=timedelta(seconds=seconds))).kept == numbers
    assert tuple(kept(workshop)) == numbers


def test_by_default_three_days_are_kept(workshop: Workshop) -> None:
    assert workshop.repository.collect_garbage().objects == 0
    workshop.time += timedelta(days=4)
    assert workshop.repository.collect_garbage().kept == (5, 4)


def test_tags_keep(workshop: Workshop) -> None:
    workshop.repository.add_tag("two", revision=2)
    report = workshop.repository.collect_garbage(NOTHING)
    assert report.kept == (5, 4, 2)
    assert kept(workshop) == [5, 4, 2]
    with workshop.reader().snapshot(tag="two") as snapshot:
        assert b"".join(snapshot.read_file("/f")) == b"2"
    workshop.repository.remove_tags(["two"])
    assert workshop.repository.collect_garbage(NOTHING).kept == (5, 4)


def test_what_is_shared_stays(workshop: Workshop) -> None:
    workshop.publish(add("/old", b"2"))  # the content of revision 2
    workshop.repository.collect_garbage(NOTHING)
    with workshop.reader().snapshot() as snapshot:
        assert b"".join(snapshot.read_file("/old")) == b"2"


def test_a_running_transaction_keeps_what_is_young(workshop: Workshop) -> None:
    candidate, staging = workshop.candidate(add("/g", b"new"))
    report = workshop.repository.collect_garbage(NOTHING)
    assert report.objects > 0  # what is older than the transaction goes, but nothing that leads to the rest
    for name in objects(workshop.store):
        os.utime(workshop.root / name)  # stored after the transaction began
    report = workshop.repository.collect_garbage(NOTHING)
    assert report.objects == 0
    assert workshop.commit(candidate, staging).revision == 6
    assert content(workshop) == b"5"


def test_young_objects_keep_their_catalogs(workshop: Workshop) -> None:
    staging = workshop.staging()
    os.utime(staging.area.directory, (1, 1))  # type: ignore[attr-defined]
    report = workshop.repository.collect_garbage(NOTHING)
    assert report.objects == 0
    assert report.young > 0
    assert len(references(workshop)) > 5
    staging.discard()
    assert workshop.repository.collect_garbage(NOTHING).objects == report.young + 3


def references(workshop: Workshop) -> dict[str, ReferenceKind]:
    with Reflog.parse((workshop.root / REFLOG_NAME).read_bytes(), workshop.name) as reflog:
        return {str(reference.hash): reference.kind for reference in reflog.references()}


def test_a_commit_that_counted_on_what_went_is_refused(workshop: Workshop) -> None:
    candidate, staging = workshop.candidate(add("/again", b"2"))  # stored already, hence not staged
    assert workshop.repository.collect_garbage(NOTHING).objects > 0
    with pytest.raises(CandidateRejected, match="neither staged nor stored"):
        workshop.commit(candidate, staging)
    assert workshop.publish(add("/again", b"2")).revision == 6


def test_what_nothing_refers_to(workshop: Workshop) -> None:
    orphan = hash_bytes(b"orphan")
    workshop.store.put(orphan.object_path(ObjectKind.CHUNK), b"orphan")
    assert workshop.repository.collect_garbage(Retention(revisions=99)).objects == 0
    assert workshop.repository.collect_garbage(Retention(revisions=99), unreferenced=True, dry_run=True).objects == 1
    report = workshop.repository.collect_garbage(Retention(revisions=99), unreferenced=True)
    assert (report.objects, report.bytes) == (1, 6)
    assert not object_file(workshop.root, orphan, ObjectKind.CHUNK).exists()
    assert kept(workshop) == [5, 4, 3, 2, 1]
    assert content(workshop, 2) == b"2"


def test_nothing_goes_when_something_to_keep_is_lost(workshop: Workshop) -> None:
    tag = workshop.repository.add_tag("two", revision=2)
    object_file(workshop.root, tag.root_hash, ObjectKind.CATALOG).unlink()
    before = objects(workshop.store)
    with pytest.raises(ObjectMissing, match="'two'"):
        workshop.repository.collect_garbage(NOTHING)
    assert objects(workshop.store) == before
    workshop.repository.remove_tags(["two"])
    assert workshop.repository.collect_garbage(NOTHING).kept == (5, 4)


def test_only_where_it_is_allowed(basic_repository: "FixtureRepository", tmp_path: Path) -> None:
    store = basic_repository.unpack(tmp_path)
    repository = Repository(store, basic_repository.name, basic_repository.keys, now=lambda: basic_repository.now)
    if repository.manifest().garbage_collectable:
        pytest.fail("this fixture was made without -z")
    with pytest.raises(CvmfsError, match="garbage collectable"):
        repository.collect_garbage()


def test_a_revision_taken_in_part_cannot_come_back(workshop: Workshop) -> None:
    with workshop.reader().snapshot(revision=2) as snapshot:
        lost, kind = snapshot.lookup("/f").objects()[0]
    object_file(workshop.root, lost, kind).unlink()
    with pytest.raises(RevisionMissing, match="in part"):
        workshop.repository.rollback(revision=2)
    with pytest.raises(RevisionMissing, match="in part"):
        workshop.repository.add_tag("two", revision=2)
    assert content(workshop) == b"5"


def test_a_repository_that_was_never_published_to(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path)
    workshop.create()
    report = workshop.repository.collect_garbage(NOTHING, unreferenced=True)
    assert (report.kept, report.objects) == ((1,), 0)


def test_tagging_while_committing_and_collecting(workshop: Workshop) -> None:
    candidate, staging = workshop.candidate(add("/f", b"6"))
    manifest = workshop.repository.commit(
        candidate.root_hash,
        base_revision=candidate.base_revision,
        base_root_hash=candidate.base_root_hash,
        transaction=staging.transaction,
        tagging=Tagging("v6", "six"),
    )
    workshop.publish(add("/f", b"7"))
    workshop.publish(add("/f", b"8"))
    assert workshop.repository.collect_garbage(NOTHING).kept == (8, 7, 6)
    assert manifest.revision == 6
    assert content(workshop, 6) == b"6"


def test_any_store_will_do(tmp_path: Path) -> None:
    """Tags, roll-backs, collection and checks ask nothing of a store that only a directory could do."""
    its = Workshop(tmp_path)
    store = MemoryStore()
    repository = Repository(store, its.name, its.keys, now=its.now)
    repository.create(ttl=60, whitelist_days=30)
    reader = RepositoryReader(store, its.name, [its.keys.public_key], now=its.now)
    for number in range(2, 6):
        staging = Staging(store.new_area(), published=store.is_stored)
        with reader.snapshot() as base, Transaction(base, staging, now=its.now) as transaction:
            transaction.add_file("/f", staging.write_file([b"%d" % number]), 0o644, 1)
            candidate = transaction.seal()
        assert candidate is not None
        repository.commit(
            candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=staging.transaction,
        )
    repository.add_tag("three", revision=3)
    assert repository.rollback(tag="three").manifest.revision == 6
    assert repository.collect_garbage(NOTHING).kept == (6,)
    everything = Extent(content=True, tags=True, unreferenced=True)
    key = its.keys.public_key
    assert list(check_repository(store, its.name, [key], now=its.now, extent=everything, storage=store)) == []
    with reader.snapshot() as snapshot:
        assert b"".join(snapshot.read_file("/f")) == b"3"


def test_a_collection_that_stops_is_ended_by_the_next(workshop: Workshop) -> None:
    whole = workshop.repository.collect_garbage(NOTHING, dry_run=True)
    removed, collections = 0, 0
    while True:
        collections += 1
        done = workshop.repository.collect_garbage(NOTHING, turns=Turns(0.0, lambda: False))
        removed += done.objects
        assert list(check_repository(workshop.store, NAME, [workshop.keys.public_key], now=workshop.now)) == []
        assert content(workshop) == b"5"
        if done.complete:
            break
        assert (done.objects, done.revisions) == (1, 0)
    assert collections > 3
    assert removed == whole.objects
    assert kept(workshop) == [5, 4]  # which is trunk-previous


def test_others_commit_and_roll_back_between_the_turns_of_a_collection(workshop: Workshop) -> None:
    """What they need again stays, also when it was to go; what they need no more goes with the next."""
    wanted = iter([lambda: workshop.publish(add("/f", b"4")), lambda: workshop.publish(add("/g", b"new"))])

    def let_in() -> bool:
        next(wanted, lambda: None)()
        return True

    done = workshop.repository.collect_garbage(NOTHING, turns=Turns(0.0, let_in))
    assert done.complete
    assert next(wanted, None) is None
    assert content(workshop) == b"4"
    extent = Extent(content=True)
    problems = check_repository(workshop.store, NAME, [workshop.keys.public_key], now=workshop.now, extent=extent)
    assert list(problems) == []
    workshop.repository.collect_garbage(NOTHING)
    assert content(workshop) == b"4"


def test_a_tag_that_is_made_between_the_turns_keeps_its_revision_whole(workshop: Workshop) -> None:
    refused = False

    def tag() -> bool:
        nonlocal refused
        try:
            workshop.repository.add_tag("late", revision=3, move=True)
        except RevisionMissing:  # it was taken in part
            refused = True
        return True

    workshop.repository.collect_garbage(NOTHING, turns=Turns(0.0, tag))
    assert refused != (3 in kept(workshop))
    extent = Extent(content=True, tags=True)
    problems = check_repository(workshop.store, NAME, [workshop.keys.public_key], now=workshop.now, extent=extent)
    assert list(problems) == []
