"""Nested catalogs: opened, changed, split, merged, balanced; on repositories that the stock tools made."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import CvmfsError, FormatError, PathError
from softman.cvmfs.format.catalog_writer import CatalogWriter
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.staging import Staging, StoredObject, staged_name
from softman.cvmfs.transaction import Balance, Transaction
from tests.support.catalogs import Catalogs, read_catalogs, stored_catalogs
from tests.support.writing import Workshop

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

CONTENT = StoredObject(hash_bytes(b"x"), 1, 9)
LIMITS = Balance(200, 20)
Change = Callable[[Transaction], object]


@dataclass(frozen=True)
class Result:
    before: Catalogs
    after: Catalogs

    @property
    def written(self) -> set[bytes]:
        return {path for path, content in self.after.hashes.items() if self.before.hashes.get(path) != content}

    @property
    def gone(self) -> set[bytes]:
        return self.before.paths - self.after.paths


@pytest.fixture
def change(
    load_repository: Callable[[str], "FixtureRepository"], tmp_path: Path
) -> Callable[[str, Change, Balance | None], Result]:
    """Does something in a fixture repository, seals it, and checks all catalogs."""

    def change(folder: str, do: Change, balance: Balance | None) -> Result:
        repository = load_repository(folder)
        store = repository.unpack(tmp_path)
        staging = Staging.create(store.root)

        def fetch(content: ContentHash) -> bytes:
            staged = staging.directory / staged_name(content, ObjectKind.CATALOG)
            place = staged if staged.exists() else store.root / content.object_path(ObjectKind.CATALOG)
            return decompress(place.read_bytes(), max_size=2**28)

        work = tmp_path / "work"
        work.mkdir()
        with repository.reader(store).snapshot() as base:
            before = stored_catalogs(base.manifest.root_hash, store)
            with Transaction(base, staging, now=lambda: repository.now, balance=balance, work_dir=work) as transaction:
                do(transaction)
                candidate = transaction.seal()
            assert list(work.iterdir()) == []
        assert candidate is not None
        after = read_catalogs(candidate.root_hash, fetch)
        assert after.problems == []
        return Result(before, after)

    return change


@pytest.fixture
def basic(change: Callable[[str, Change, Balance | None], Result]) -> Callable[[Change], Result]:
    return lambda do: change("basic", do, None)


@pytest.fixture
def auto(change: Callable[[str, Change, Balance | None], Result]) -> Callable[..., Result]:
    return lambda do, balance=LIMITS: change("autocatalog", do, balance)


def test_one_change_writes_the_catalogs_on_its_path(auto: Callable[..., Result]) -> None:
    result = auto(lambda tx: tx.add_file("/tree/a2/b2/c1/added", CONTENT, 0o644, 5))
    assert result.written == {b"", b"/tree", b"/tree/a2", b"/tree/a2/b2"}
    for path in result.written:
        new, old = result.after.properties[path], result.before.properties[path]
        assert (new.revision, new.previous_revision) == (old.revision + 1, result.before.hashes[path])
        assert new.ttl == old.ttl
    assert result.after.counters[b""].total.regular == result.before.counters[b""].total.regular + 1
    assert result.after.entries.keys() - result.before.entries.keys() == {b"/tree/a2/b2/c1/added"}


def test_what_is_undone_in_nested_catalogs_is_no_change(
    load_repository: Callable[[str], "FixtureRepository"], tmp_path: Path
) -> None:
    repository = load_repository("autocatalog")
    store = repository.unpack(tmp_path)
    with (
        repository.reader(store).snapshot() as base,
        Transaction(base, Staging.create(store.root), now=lambda: repository.now, balance=LIMITS) as transaction,
    ):
        assert len(list(transaction.walk())) == len(list(base.walk()))  # more catalogs than are open at a time
        transaction.add_file("/tree/a2/b2/c1/d/f", CONTENT, 0o644, 5)
        transaction.add_file("/flat-big/.cvmfsbundle", CONTENT, 0o644, 5)
        list(transaction.walk())
        transaction.remove("/tree/a2/b2/c1/d")
        transaction.remove("/flat-big/.cvmfsbundle")
        assert transaction.seal() is None
        assert [e.path for e in transaction.walk()] == [e.path for e in base.walk()]


def test_directories_with_nested_catalogs_go(basic: Callable[[Change], Result]) -> None:
    def do(tx: Transaction) -> None:
        tx.remove("/nested")
        tx.add_symlink("/soft", "x", 5)

    result = basic(do)
    assert result.gone == {
        b"/nested",
        b"/nested/deep-renamed",
        b"/nested/ingested-nested",
        b"/soft/appA/1",
        b"/soft/appA/2",
        b"/soft/appB/1",
    }
    assert result.written == {b""}


def test_a_marker_splits(basic: Callable[[Change], Result]) -> None:
    def do(tx: Transaction) -> None:
        for path in ("/files", "/files/sub", "/hardlinks", "/new/x"):  # one in another, one with hard links
            tx.add_file(path + "/.cvmfscatalog", CONTENT, 0o644, 5)

    result = basic(do)
    assert result.written == {b"", b"/files", b"/files/sub", b"/hardlinks", b"/new/x"}
    assert result.after.properties[b"/files"].previous_revision is None
    assert result.after.properties[b"/files"].revision == 1


def test_a_marker_above_nested_catalogs(basic: Callable[[Change], Result]) -> None:
    result = basic(lambda tx: tx.add_file("/soft/.cvmfscatalog", CONTENT, 0o644, 5))
    assert result.written == {b"", b"/soft"}
    assert result.after.counters[b"/soft"].own.nested == 3
    assert result.after.counters[b"/soft"].subtree.entries > 0


def test_no_marker_merges(basic: Callable[[Change], Result]) -> None:
    def do(tx: Transaction) -> None:
        tx.add_file("/nested/also/new", CONTENT, 0o644, 5)
        tx.add_file("/nested/one", CONTENT, 0o644, 5)
        tx.add_hardlink("/nested/two", "/nested/one")
        tx.remove("/nested/.cvmfscatalog")
        tx.remove("/nested/deep-renamed/.cvmfscatalog")

    result = basic(do)
    assert result.gone == {b"/nested", b"/nested/deep-renamed"}
    assert result.written == {b""}
    group = result.after.entries[b"/nested/one"].hardlink_group
    assert [p for p, e in result.after.entries.items() if e.hardlink_group == group] == [b"/nested/one", b"/nested/two"]


def test_attributes_of_a_nested_root(basic: Callable[[Change], Result]) -> None:
    def do(tx: Transaction) -> None:
        tx.add_directory("/pkg/app", 0o700, 6, {b"user.a": b"b"}, mtime_ns=8)
        tx.add_directory("/pkg/app/more/dirs")
        entry = tx.lookup("/pkg/app")
        assert entry is not None
        assert (entry.permissions, entry.is_mountpoint) == (0o700, True)
        assert entry.linkcount == 2 + sum(child.is_dir for child in tx.listdir("/pkg/app"))

    result = basic(do)
    assert result.written == {b"", b"/pkg", b"/pkg/app"}
    assert result.after.entries[b"/pkg/app"].xattrs == {b"user.a": b"b"}


def test_moving_catalogs(basic: Callable[[Change], Result]) -> None:
    def do(tx: Transaction) -> None:
        tx.rename("/pkg", "/nested/p/pkg")
        tx.rename("/soft/appA", "/appA")

    result = basic(do)
    assert result.gone == {b"/pkg", b"/pkg/app", b"/pkg/empty-nested", b"/soft/appA/1", b"/soft/appA/2"}
    new = {b"/nested/p/pkg", b"/nested/p/pkg/app", b"/nested/p/pkg/empty-nested", b"/appA/1", b"/appA/2"}
    assert result.after.paths - result.before.paths == new
    for path in (b"/pkg", b"/soft/appA"):
        assert not [p for p in result.after.entries if (p + b"/").startswith(path + b"/")]


def test_what_cannot_be_moved(load_repository: Callable[[str], "FixtureRepository"], tmp_path: Path) -> None:
    repository = load_repository("basic")
    store = repository.unpack(tmp_path)
    with (
        repository.reader(store).snapshot() as base,
        Transaction(base, Staging.create(store.root), now=lambda: repository.now) as transaction,
    ):
        for path in ("/special", "/nested"):  # special files; a set-id directory deep in it
            with pytest.raises(PathError):
                transaction.rename(path, "/elsewhere")
        assert transaction.seal() is None


def test_balancing_splits_and_merges(auto: Callable[..., Result]) -> None:
    def do(tx: Transaction) -> None:
        for number in range(600):
            tx.add_file(f"/tree/a2/b2/c1/many/{number % 7}/{number}", CONTENT, 0o644, 5)
        for entry in list(tx.listdir("/wide/d8")):
            if not entry.name.startswith(b".cvmfs"):
                tx.remove(entry.path)
        tx.remove("/manual/m0") if tx.lookup("/manual/m0") else None

    result = auto(do)
    assert result.gone == {b"/wide/d8"}
    assert b"/wide/d8/.cvmfscatalog" not in result.after.entries
    new = result.after.paths - result.before.paths
    assert len(new) >= 3
    assert all(20 <= result.after.counters[path].own.entries <= 200 for path in new)
    for path in new:
        for name in (b"/.cvmfscatalog", b"/.cvmfsautocatalog"):
            marker = result.after.entries[path + name]
            assert (marker.mode, marker.size) == (0o100600, 0)


def test_catalogs_of_the_user_are_not_merged(auto: Callable[..., Result]) -> None:
    def do(tx: Transaction) -> None:
        for entry in list(tx.listdir("/manual")):
            if entry.name != b".cvmfscatalog":
                tx.remove(entry.path)

    result = auto(do)
    assert result.after.counters[b"/manual"].own.entries == 2
    assert result.gone == set()


def test_hidden_directories_and_bind_mountpoints_stay_so(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    with workshop.reader().snapshot() as base:
        with closing(sqlite3.connect(base.catalog_path, isolation_level=None)) as db:
            writer = CatalogWriter(db)
            for path, flags in ((b"/hidden", 0x8001), (b"/hidden/bind", 0x4001), (b"/hidden/nested", 1)):
                writer.put(Entry(path=path, mode=0o40755, size=4096, mtime=5, linkcount=2, flags=flags))
            db.execute("INSERT INTO bind_mountpoints VALUES ('/hidden/bind', ?, 5)", (str(base.manifest.root_hash),))
            writer.save_counters()
        staging = workshop.staging()
        with Transaction(base, staging, now=workshop.now) as transaction:
            transaction.add_directory("/hidden", 0o700, 9)
            transaction.set_xattrs("/hidden", {b"user.a": b"b"})
            for refused in (
                lambda: transaction.add_file("/hidden/bind/x", CONTENT, 0o644, 5),
                lambda: transaction.add_directory("/hidden/bind", 0o700, 9),
                lambda: transaction.set_xattrs("/hidden/bind", {b"user.a": b"b"}),
                lambda: transaction.remove("/hidden"),
                lambda: transaction.remove("/hidden/bind"),
                lambda: transaction.rename("/hidden", "/shown"),
                lambda: transaction.listdir("/hidden/bind"),
            ):
                with pytest.raises(CvmfsError, match="bind mountpoint"):
                    refused()
            assert [entry.path for entry in transaction.walk()] == [b"/hidden", b"/hidden/bind", b"/hidden/nested"]
            transaction.add_file("/hidden/.cvmfscatalog", CONTENT, 0o644, 5)  # the bind mountpoint comes along
            candidate = transaction.seal()
    assert candidate is not None

    def fetch(content: ContentHash) -> bytes:
        staged = staging.directory / staged_name(content, ObjectKind.CATALOG)
        return decompress(staged.read_bytes(), max_size=2**28)

    catalogs = read_catalogs(candidate.root_hash, fetch)
    assert (catalogs.problems, catalogs.paths) == ([], {b"", b"/hidden"})
    assert catalogs.entries[b"/hidden"].is_hidden
    assert catalogs.entries[b"/hidden/bind"].is_bind_mountpoint


def test_without_balancing_everything_stays(auto: Callable[..., Result]) -> None:
    def do(tx: Transaction) -> None:
        for entry in list(tx.walk("/flat-big")):
            if not entry.name.startswith(b".cvmfs"):
                tx.remove(entry.path)

    assert auto(do, None).gone == set()


def test_one_huge_directory_stays_whole(auto: Callable[..., Result]) -> None:
    result = auto(lambda tx: [tx.add_file(f"/huge/{number}", CONTENT, 0o644, 5) for number in range(500)])
    assert result.after.paths - result.before.paths == {b"/huge"}
    assert result.after.counters[b"/huge"].own.entries == 503


def test_an_automatic_catalog_that_is_empty_goes_with_its_last_file(auto: Callable[..., Result]) -> None:
    def do(tx: Transaction) -> None:
        for entry in list(tx.walk("/wide/d8")):
            if not entry.name.startswith(b".cvmfs"):
                tx.remove(entry.path)
                tx.remove_empty_parents(entry.path, lambda _: False)

    result = auto(do)
    assert b"/wide/d8" not in result.after.entries
    assert result.gone == {b"/wide/d8"}


def test_dirtab(auto: Callable[..., Result]) -> None:
    def do(tx: Transaction) -> None:
        tx.set_dirtab(b"# what\n/tree/*/b?\n\n ! *b1\n/new/*\n", 7)
        tx.add_file("/new/one/f", CONTENT, 0o644, 5)
        tx.add_file("/new/file", CONTENT, 0o644, 5)

    result = auto(do, None)
    assert result.after.paths - result.before.paths == {b"/tree/a0/b0", b"/tree/a2/b0", b"/new/one"}
    assert result.after.entries[b"/.cvmfsdirtab"].is_file


def test_wrong_rules(auto: Callable[..., Result]) -> None:
    with pytest.raises(FormatError, match="line 2"):
        auto(lambda tx: tx.set_dirtab(b"/ok\nrelative\n", 7))


@pytest.mark.parametrize(("least", "most"), [(2, 100), (60, 100)])
def test_limits_that_cannot_be_kept_to(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="cannot be kept"):
        Balance(most, least)
