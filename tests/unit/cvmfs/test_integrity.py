"""Checks of whole repositories: those of the stock tools pass, and every kind of damage is found."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs import integrity
from softman.cvmfs.errors import StoreUnavailable
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.history import Branch
from softman.cvmfs.format.manifest import MANIFEST_NAME, Manifest
from softman.cvmfs.format.objects import compress, decompress
from softman.cvmfs.format.reflog import REFLOG_NAME, Reflog
from softman.cvmfs.integrity import Extent, check_repository
from softman.cvmfs.problems import Problem, ProblemKind
from softman.cvmfs.repository import Retention
from softman.cvmfs.staging import Staging
from softman.cvmfs.store import LocalStore, MemoryStore
from softman.cvmfs.transaction import Transaction
from tests.support.writing import Workshop, add, object_file

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

ALL = Extent(content=True, tags=True, unreferenced=True)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    def change(tx: Transaction, staging: Staging) -> None:
        tx.add_file("/d/f", staging.write_file([b"content of f"]), 0o644, 1)
        tx.add_file("/big", staging.write_file([b"x" * 1000], threshold=300, chunk_size=300), 0o644, 1)
        tx.add_symlink("/link", "big", 1)

    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    workshop.publish(change)
    workshop.repository.add_tag("v1")
    workshop.publish(add("/g"))
    return workshop


def problems(workshop: Workshop, extent: Extent = ALL) -> list[tuple[ProblemKind, str]]:
    return [(problem.kind, problem.where) for problem in found(workshop, extent)]


def found(workshop: Workshop, extent: Extent = ALL) -> list[Problem]:
    key = workshop.keys.public_key
    return list(
        check_repository(workshop.store, workshop.name, [key], now=workshop.now, extent=extent, storage=workshop.store)
    )


@pytest.mark.parametrize(
    ("extent", "total"), [(Extent(content=True), 6), (ALL, 6 + 5), (Extent("/d", content=True), None)]
)
def test_it_tells_how_it_goes_on(workshop: Workshop, extent: Extent, total: int | None) -> None:
    told: list[tuple[int, int | None]] = []
    key = workshop.keys.public_key
    checked = check_repository(
        workshop.store,
        workshop.name,
        [key],
        now=workshop.now,
        extent=extent,
        storage=workshop.store,
        progress=lambda more, of: told.append((more, of)),
    )
    assert list(checked) == []
    assert told[-1][1] == total
    assert total in {None, sum(more for more, _ in told)}


def test_the_stock_repositories_pass(any_repository: "FixtureRepository", tmp_path: Path) -> None:
    store = any_repository.unpack(tmp_path)
    key = any_repository.keys.public_key
    checked = check_repository(
        store, any_repository.name, [key], now=lambda: any_repository.now, extent=ALL, storage=store
    )
    assert list(checked) == []


def test_what_the_stock_collector_leaves(load_repository: "Callable[[str], FixtureRepository]", tmp_path: Path) -> None:
    repository = load_repository("gc")
    store = repository.unpack(tmp_path)

    def check() -> list[Problem]:
        key = repository.keys.public_key
        now = repository.now
        return list(check_repository(store, repository.name, [key], now=lambda: now, extent=ALL, storage=store))

    assert check() == []
    data = store.get(REFLOG_NAME, max_size=10**6)
    with Reflog.parse(data, repository.name) as reflog:
        reflog.remove(next(reflog.references()).hash)
        store.put(REFLOG_NAME, reflog.to_bytes())
    kinds = {problem.kind for problem in check()}
    assert kinds == {ProblemKind.STALE, ProblemKind.UNREFERENCED}  # Y is stale, and revision 0 has nobody now


def test_ours_pass_after_everything(workshop: Workshop) -> None:
    assert found(workshop) == []
    workshop.repository.rollback(tag="v1")
    assert found(workshop) == []
    workshop.repository.remove_tags(["v1"])
    workshop.repository.collect_garbage(Retention(age=None))
    assert found(workshop) == []


def lose_file(workshop: Workshop) -> None:
    with workshop.reader().snapshot() as snapshot:
        content, kind = snapshot.lookup("/d/f").objects()[0]
    object_file(workshop.root, content, kind).unlink()


def damage_chunk(workshop: Workshop) -> None:
    with workshop.reader().snapshot() as snapshot:
        content, kind = snapshot.lookup("/big").objects()[2]
    object_file(workshop.root, content, kind).write_bytes(b"other")


def lose_root(workshop: Workshop) -> None:
    object_file(workshop.root, workshop.repository.manifest().root_hash, ObjectKind.CATALOG).unlink()


def damage_root(workshop: Workshop) -> None:
    object_file(workshop.root, workshop.repository.manifest().root_hash, ObjectKind.CATALOG).write_bytes(b"x")


def lose_metainfo(workshop: Workshop) -> None:
    name = workshop.repository.manifest().metainfo
    assert name is not None
    object_file(workshop.root, name, ObjectKind.METAINFO).unlink()


def lose_history(workshop: Workshop) -> None:
    name = workshop.repository.manifest().history
    assert name is not None
    object_file(workshop.root, name, ObjectKind.HISTORY).unlink()


def lose_reflog(workshop: Workshop) -> None:
    (workshop.root / REFLOG_NAME).unlink()


def empty_reflog(workshop: Workshop) -> None:
    with Reflog.create(workshop.name) as reflog:
        (workshop.root / REFLOG_NAME).write_bytes(reflog.to_bytes())


def lose_manifest(workshop: Workshop) -> None:
    (workshop.root / MANIFEST_NAME).unlink()


def forge_manifest(workshop: Workshop) -> None:
    data = (workshop.root / MANIFEST_NAME).read_bytes()
    (workshop.root / MANIFEST_NAME).write_bytes(data.replace(b"\nS3\n", b"\nS9\n"))


def expire(workshop: Workshop) -> None:
    workshop.time += timedelta(days=40)


def strange_tags(workshop: Workshop) -> None:
    head, manifest = workshop.repository._head, workshop.repository.manifest()
    history = workshop.repository.history()
    trunk = history.tag("trunk")
    assert trunk is not None
    wrong = history.without("trunk").with_tag(replace(trunk, root_hash=hash_bytes(b"?")))
    wrong = wrong.with_tag(replace(trunk, name="future", revision=17))
    wrong = replace(wrong, branches=(*wrong.branches, Branch("unused", "", 1)))
    head.publish(replace(manifest, history=head.put_history(wrong, manifest)))


def orphan(workshop: Workshop) -> None:
    workshop.store.put(hash_bytes(b"o").object_path(ObjectKind.FILE), b"o")


ORPHAN = hash_bytes(b"o").object_path(ObjectKind.FILE)
DAMAGES: list[tuple[Callable[[Workshop], None], set[tuple[ProblemKind, str]]]] = [
    (lose_file, {(ProblemKind.MISSING, "/d/f")}),
    (damage_chunk, {(ProblemKind.DAMAGED, "/big")}),
    (lose_root, {(ProblemKind.MISSING, "/")}),
    (damage_root, {(ProblemKind.DAMAGED, "/"), (ProblemKind.DAMAGED, "revision")}),
    (lose_metainfo, {(ProblemKind.METAINFO, "meta information")}),
    (lose_history, {(ProblemKind.HISTORY, "tag database")}),
    (lose_reflog, {(ProblemKind.REFLOG, REFLOG_NAME)}),
    (empty_reflog, {(ProblemKind.REFLOG, REFLOG_NAME)}),
    (lose_manifest, {(ProblemKind.SIGNATURE, MANIFEST_NAME)}),
    (forge_manifest, {(ProblemKind.SIGNATURE, MANIFEST_NAME)}),
    (expire, {(ProblemKind.WHITELIST, ".cvmfswhitelist")}),
    (
        strange_tags,
        {
            (ProblemKind.HISTORY, "tag 'trunk'"),
            (ProblemKind.HISTORY, "tag 'future'"),
            (ProblemKind.HISTORY, "tag database"),
            (ProblemKind.MISSING, "/"),
        },
    ),
    (orphan, {(ProblemKind.UNREFERENCED, ORPHAN)}),
]


@pytest.mark.parametrize(("damage", "expected"), DAMAGES, ids=[damage.__name__ for damage, _ in DAMAGES])
def test_damage_is_found(
    workshop: Workshop, damage: Callable[[Workshop], None], expected: set[tuple[ProblemKind, str]]
) -> None:
    damage(workshop)
    seen = problems(workshop)
    important = {item for item in seen if item[0] is not ProblemKind.UNREFERENCED or item in expected}
    assert important == expected
    for problem in found(workshop):
        assert problem.advice
        assert problem.is_harmless == (problem.kind is ProblemKind.UNREFERENCED)
        assert problem.where in str(problem)


def test_less_can_be_asked(workshop: Workshop) -> None:
    damage_chunk(workshop)
    orphan(workshop)
    assert problems(workshop, Extent()) == []
    assert problems(workshop, Extent(content=True)) == [(ProblemKind.DAMAGED, "/big")]
    assert problems(workshop, Extent("/d", content=True)) == []
    lose_file(workshop)
    assert problems(workshop, Extent(objects=False)) == []
    assert problems(workshop, Extent("/d")) == [(ProblemKind.MISSING, "/d/f")]
    with pytest.raises(ValueError, match="listed"):
        check_repository(workshop.store, workshop.name, [], now=workshop.now, extent=ALL)


def change_nested(fixture: "FixtureRepository", files: dict[str, bytes], path: bytes, sql: str) -> None:
    """Run ``sql`` in a nested catalog; hashes above it are put in order, counters are not."""
    store = MemoryStore(files)
    with fixture.reader(store).snapshot() as snapshot:
        chain = []
        above = path
        while True:
            nested = snapshot.mounted_at(above)
            if nested is not None:
                chain.append(nested)
            if not above:
                break
            above = above.rpartition(b"/")[0]
    update = sql
    for nested in chain:
        stored = files[nested.hash.object_path(ObjectKind.CATALOG)]
        with closing(sqlite3.connect(":memory:")) as db:
            db.deserialize(decompress(stored, max_size=2**30))
            db.executescript(update)
            database = db.serialize()
        content = hash_bytes(compress(database))
        files[content.object_path(ObjectKind.CATALOG)] = compress(database)
        update = (
            f"UPDATE nested_catalogs SET sha1='{content}', size={len(database)} WHERE path='{nested.path.decode()}'"
        )
    fixture.change_catalog(files, update)


@pytest.mark.parametrize(
    ("sql", "messages"),
    [
        ("UPDATE statistics SET value=value+1 WHERE counter='self_regular'", ["self_regular"]),
        ("UPDATE statistics SET value=value+1 WHERE counter='subtree_regular'", ["subtree_regular"]),
        ("UPDATE catalog SET mode=16832 WHERE flags & 32", ["mode differs"]),
        ("UPDATE catalog SET flags=flags & ~32", ["not marked", "abandoned catalog marker"]),
        (
            "DELETE FROM catalog WHERE name='.cvmfscatalog'",
            ["missing catalog marker", "self_regular"],
        ),
        (
            "UPDATE catalog SET hash=NULL WHERE rowid=(SELECT max(rowid) FROM catalog WHERE flags=4)",
            ["no content hash"],
        ),
    ],
)
def test_nested_catalogs_are_checked(basic_repository: "FixtureRepository", sql: str, messages: list[str]) -> None:
    files = basic_repository.files
    change_nested(basic_repository, files, b"/pkg/app", sql)
    key = basic_repository.keys.public_key
    checked = [
        problem
        for problem in check_repository(
            MemoryStore(files), basic_repository.name, [key], now=lambda: basic_repository.now
        )
        if problem.kind is not ProblemKind.REFLOG and problem.where != "tag 'trunk'"
    ]
    for message in messages:
        assert any(message in problem.message and problem.where == "/pkg/app" for problem in checked), checked
    assert all(problem.kind is ProblemKind.CATALOG for problem in checked)
    only = Extent("/pkg/app/nothing/here")
    inside = list(
        check_repository(
            MemoryStore(files), basic_repository.name, [key], now=lambda: basic_repository.now, extent=only
        )
    )
    assert [p.message for p in inside if "subtree" not in p.message] == [
        p.message for p in checked if p.where == "/pkg/app" and "subtree" not in p.message
    ]
    elsewhere = Extent("/nested")
    others = check_repository(
        MemoryStore(files), basic_repository.name, [key], now=lambda: basic_repository.now, extent=elsewhere
    )
    assert list(others) == []


def test_a_root_that_is_not_what_the_manifest_says(basic_repository: "FixtureRepository") -> None:
    files = basic_repository.files
    manifest = Manifest.from_bytes(files[MANIFEST_NAME]).manifest
    basic_repository.publish(files, revision=manifest.revision + 1, ttl=manifest.ttl + 1)
    key = basic_repository.keys.public_key
    checked = list(check_repository(MemoryStore(files), basic_repository.name, [key], now=lambda: basic_repository.now))
    assert [problem.kind for problem in checked] == [ProblemKind.CATALOG] * 2


def test_a_store_that_does_not_answer_is_no_damage(workshop: Workshop) -> None:
    class Silent(LocalStore):
        def exists(self, name: str) -> bool:
            raise StoreUnavailable(name)

    checked = check_repository(Silent(workshop.root), workshop.name, [workshop.keys.public_key], now=workshop.now)
    with pytest.raises(StoreUnavailable):
        list(checked)


def test_content_of_another_size_than_its_catalog_says(basic_repository: "FixtureRepository") -> None:
    files = basic_repository.files
    basic_repository.change_catalog(files, "UPDATE catalog SET size=size+1 WHERE name='VERSION'")
    key = basic_repository.keys.public_key
    checked = check_repository(
        MemoryStore(files),
        basic_repository.name,
        [key],
        now=lambda: basic_repository.now,
        extent=Extent("/VERSION", content=True),
    )
    assert (ProblemKind.DAMAGED, "/VERSION") in {(problem.kind, problem.where) for problem in checked}


@pytest.mark.parametrize("batch", [1, 3, 1000])
def test_every_missing_object_is_found_however_they_are_asked_for(
    basic_repository: "FixtureRepository", batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrity, "_BATCH", batch)
    files = basic_repository.files
    lost = {name for name in files if name.startswith("data/") and name[-1].isdigit()}
    store = MemoryStore({name: content for name, content in files.items() if name not in lost})
    key = basic_repository.keys.public_key
    checked = check_repository(store, basic_repository.name, [key], now=lambda: basic_repository.now)
    messages = [problem.message.partition(" ")[0] for problem in checked if problem.kind is ProblemKind.MISSING]
    assert len(messages) == len(set(messages)) > 5
    assert set(messages) <= lost
