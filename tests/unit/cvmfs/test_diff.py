"""Differences between revisions, against a comparison of everything with everything."""

import stat
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from softman.cvmfs.diff import Added, Aspect, Changed, Difference, Removed, differences
from softman.cvmfs.errors import PathError
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Transaction
from tests.support.writing import Workshop, add

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cvmfs.conftest import FixtureRepository


def everything(snapshot: Snapshot) -> dict[bytes, Entry]:
    return {b"": snapshot.lookup("")} | {entry.path: entry for entry in snapshot.walk(hidden=True)}


def naive(old: Snapshot, new: Snapshot) -> dict[bytes, str]:
    """Which paths differ, by a client's eyes."""
    before, after = everything(old), everything(new)
    found = dict.fromkeys(after.keys() - before.keys(), "added")
    found |= dict.fromkeys(before.keys() - after.keys(), "removed")
    for path in before.keys() & after.keys():
        if visible(before[path]) != visible(after[path]):
            found[path] = "changed"
    return found


def visible(entry: Entry) -> tuple[object, ...]:
    links = 0 if entry.is_dir else (entry.linkcount, entry.size)
    shown = (entry.mode, entry.uid, entry.gid, entry.mtime, entry.mtime_ns, entry.symlink, entry.is_hidden, links)
    return (*shown, sorted(entry.xattrs.items()), entry.objects())


def kind(difference: Difference) -> str:
    return type(difference).__name__.lower()


@pytest.mark.parametrize("folder", ["basic", "autocatalog"])
def test_revisions_of_the_stock_tools(
    load_repository: "Callable[[str], FixtureRepository]", tmp_path: Path, folder: str
) -> None:
    repository = load_repository(folder)
    reader = repository.reader(repository.unpack(tmp_path))
    numbers = sorted(revision.number for revision in reader.revisions())
    total = 0
    pairs = [*pairwise(numbers), (numbers[0], numbers[-1]), (numbers[-1], numbers[0])]
    for before, after in pairs:
        with reader.snapshot(revision=before) as old, reader.snapshot(revision=after) as new:
            found = list(differences(old, new))
            assert {difference.path: kind(difference) for difference in found} == naive(old, new)
            places = {path: place for place, path in enumerate(everything(new))}
            order = [places[difference.path] for difference in found if not isinstance(difference, Removed)]
            assert order == sorted(order)
            keys = [difference.path.split(b"/") for difference in found]
            assert keys == sorted(keys)
            total += len(found)
    assert total > 300


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    return workshop


def changes(workshop: Workshop, path: str = "") -> list[tuple[str, bytes, tuple[Aspect, ...]]]:
    reader = workshop.reader()
    number = reader.manifest().revision
    with reader.snapshot(revision=number - 1) as old, reader.snapshot() as new:
        return [
            (kind(difference), difference.path, difference.what if isinstance(difference, Changed) else ())
            for difference in differences(old, new, path)
        ]


def test_what_an_entry_can_differ_in(workshop: Workshop) -> None:
    def first(tx: Transaction, staging: Staging) -> None:
        for name in "abcdefg":
            tx.add_file(f"/{name}", staging.write_file([b"content"]), 0o644, 1)
        tx.add_symlink("/link", "a", 1)
        tx.add_directory("/dir", 0o755, 1)
        tx.add_file("/dir/x", staging.write_file([b"x"]), 0o644, 1)
        tx.add_file("/dir-y", staging.write_file([b"y"]), 0o644, 1)

    def second(tx: Transaction, staging: Staging) -> None:
        tx.add_file("/a", staging.write_file([b"CONTENT"]), 0o644, 1)
        tx.add_file("/b", staging.write_file([b"content"]), 0o600, 1)
        tx.add_file("/c", staging.write_file([b"content"]), 0o644, 2)
        tx.add_file("/d", staging.write_file([b"content"]), 0o644, 1, mtime_ns=7)
        tx.set_xattrs("/e", {b"user.a": b"1"})
        tx.add_symlink("/f", "a", 1)
        tx.remove("/g")
        tx.add_symlink("/link", "b", 3)
        tx.add_directory("/dir", 0o700, 1)
        tx.add_file("/dir/new", staging.write_file([b""]), 0o644, 1)
        tx.add_file("/dir-y", staging.write_file([b"z"]), 0o644, 1)

    workshop.publish(first)
    workshop.publish(second)
    expected = [
        ("changed", b"/a", (Aspect.CONTENT,)),
        ("changed", b"/b", (Aspect.MODE,)),
        ("changed", b"/c", (Aspect.MTIME,)),
        ("changed", b"/d", (Aspect.MTIME,)),
        ("changed", b"/dir", (Aspect.MODE,)),
        ("added", b"/dir/new", ()),
        ("changed", b"/dir-y", (Aspect.CONTENT,)),
        ("changed", b"/e", (Aspect.XATTRS,)),
        ("changed", b"/f", (Aspect.TYPE,)),
        ("removed", b"/g", ()),
        ("changed", b"/link", (Aspect.TARGET, Aspect.MTIME)),
    ]
    assert changes(workshop) == expected
    assert changes(workshop, "/dir") == expected[4:6]
    assert changes(workshop, "/g") == [expected[9]]
    with pytest.raises(PathError):
        changes(workshop, "/none")


def test_a_directory_that_becomes_a_file_and_back(workshop: Workshop) -> None:
    workshop.publish(add("/d/deep/f"))
    workshop.publish(add("/d"))
    assert changes(workshop) == [
        ("changed", b"/d", (Aspect.TYPE,)),
        ("removed", b"/d/deep", ()),
        ("removed", b"/d/deep/f", ()),
    ]

    def back(tx: Transaction, staging: Staging) -> None:
        tx.remove("/d")
        tx.add_file("/d/deep/f", staging.write_file([b"content"]), 0o644, 1)

    workshop.publish(back)
    found = changes(workshop)
    assert found == [
        ("changed", b"/d", (Aspect.TYPE,)),
        ("added", b"/d/deep", ()),
        ("added", b"/d/deep/f", ()),
    ]


def test_a_rollback_is_no_difference(workshop: Workshop) -> None:
    workshop.publish(add("/f"))
    workshop.publish(add("/g"))
    workshop.repository.rollback(revision=2)
    with workshop.reader().snapshot(revision=2) as old, workshop.reader().snapshot() as new:
        assert list(differences(old, new)) == []
    with workshop.reader().snapshot() as one, workshop.reader().snapshot() as other:
        assert list(differences(one, other)) == []


def test_equal_nested_catalogs_are_not_fetched(basic_repository: "FixtureRepository", tmp_path: Path) -> None:
    """The stock repository's nested catalogs of two revisions: those that both share are gone, and nobody notices."""
    store = basic_repository.unpack(tmp_path)
    reader = basic_repository.reader(store)
    with reader.snapshot(revision=13) as old, reader.snapshot(revision=14) as new:
        mounted = {entry.path for entry in new.walk(hidden=True) if entry.is_mountpoint}
        shared = [path for path in mounted if old.mounted_at(path) == new.mounted_at(path)]
        expected = naive(old, new)
        assert shared
        gone = [nested.hash for path in shared if (nested := new.mounted_at(path)) is not None]
    for content in gone:
        (store.root / f"data/{str(content)[:2]}/{str(content)[2:]}C").unlink()
    with reader.snapshot(revision=13) as old, reader.snapshot(revision=14) as new:
        assert {difference.path: kind(difference) for difference in differences(old, new)} == expected


def test_values(workshop: Workshop) -> None:
    workshop.publish(add("/f"))
    with workshop.reader().snapshot(revision=1) as old, workshop.reader().snapshot() as new:
        forwards, backwards = list(differences(old, new)), list(differences(new, old))
    entry = forwards[0].new if isinstance(forwards[0], Added) else None
    assert entry is not None
    assert stat.S_ISREG(entry.mode)
    assert forwards == [Added(b"/f", entry)]
    assert backwards == [Removed(b"/f", entry)]


def test_what_is_equal_in_a_changed_catalog_is_not_looked_at(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first(tx: Transaction, staging: Staging) -> None:
        stored = staging.write_file([b"x"])
        for number in range(200):
            tx.add_file(f"/{number % 10}/{number}", stored, 0o644, 1)

    workshop.publish(first)
    workshop.publish(add("/5/new"))
    made: list[bytes] = []
    entry_of = CatalogReader.entry_of

    def noting(reader: CatalogReader, *arguments: Any, **options: Any) -> Entry:
        made.append(arguments[0][11])
        return entry_of(reader, *arguments, **options)

    monkeypatch.setattr(CatalogReader, "entry_of", noting)
    assert [path for _, path, _ in changes(workshop)] == [b"/5/new"]
    assert set(made) == {b"", b"5", b"new"}
