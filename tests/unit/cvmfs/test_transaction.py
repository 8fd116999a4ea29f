"""Transactions: what is refused, what is replaced, what the sealed catalog says. The rest is in ``tests/property``."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from softman.cvmfs.check import catalog_problems
from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.entry import Chunk, Compression, Entry
from softman.cvmfs.format.hashes import HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject, staged_name
from softman.cvmfs.transaction import Candidate, Transaction
from tests.support.writing import START, Workshop

CONTENT = StoredObject(hash_bytes(b"x"), 1, 9)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    return workshop


@pytest.fixture
def transaction(workshop: Workshop) -> Iterator[Transaction]:
    with (
        workshop.reader().snapshot() as snapshot,
        Transaction(snapshot, workshop.staging(), now=workshop.now) as transaction,
    ):
        yield transaction


def sealed(staging: Staging, candidate: Candidate) -> sqlite3.Connection:
    """The candidate's database."""
    stored = (staging.directory / staged_name(candidate.root_hash, ObjectKind.CATALOG)).read_bytes()
    database = decompress(stored, max_size=candidate.root_size)
    assert len(database) == candidate.root_size
    assert database[18:20] == b"\1\1"
    connection = sqlite3.connect(":memory:")
    connection.deserialize(database)
    return connection


def there(transaction: Transaction, path: str) -> Entry:
    entry = transaction.lookup(path)
    assert entry is not None
    return entry


def test_what_is_sealed(workshop: Workshop) -> None:
    base = workshop.repository.manifest()
    workshop.time += timedelta(hours=1)

    def change(transaction: Transaction, staging: Staging) -> None:
        stored = staging.write_file([b"hello\n"], compression=Compression.NONE)
        transaction.add_file("/a/b/f", stored, 0o100755, -5, mtime_ns=7, xattrs={b"user.etag": b"e"})
        transaction.add_symlink(b"/l", "a/b/f", 6)

    candidate, staging = workshop.candidate(change)
    assert (candidate.base_revision, candidate.base_root_hash) == (1, base.root_hash)
    with closing(sealed(staging, candidate)) as connection:
        catalog = CatalogReader(connection)
        assert list(catalog_problems(catalog)) == []
        properties = catalog.properties
        assert (properties.revision, properties.previous_revision, properties.ttl) == (2, base.root_hash, 60)
        assert properties.last_modified == workshop.time.timestamp()
        assert properties.root_prefix == b""
        entry = catalog.lookup(b"/a/b/f")
        assert entry is not None
        assert (entry.mode, entry.mtime, entry.mtime_ns, entry.size) == (0o100755, -5, 7, 6)
        assert (entry.flags, entry.hash, entry.xattrs) == (2052, hash_bytes(b"hello\n"), {b"user.etag": b"e"})
        parent = catalog.lookup(b"/a")
        assert parent is not None
        assert (parent.mode, parent.linkcount, parent.size) == (0o040755, 3, 4096)
        assert parent.mtime == workshop.time.timestamp()
        link = catalog.lookup(b"/l")
        assert link is not None
        assert (link.mode, link.flags, link.symlink, link.size, link.hash) == (0o120777, 12, b"a/b/f", 5, None)


def test_time_does_not_go_back(workshop: Workshop) -> None:
    workshop.time = START - timedelta(days=1)
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.add_directory("/d"))
    with closing(sealed(staging, candidate)) as connection:
        assert CatalogReader(connection).properties.last_modified == START.timestamp()


def test_no_change_makes_no_candidate(transaction: Transaction) -> None:
    assert transaction.seal() is None
    transaction.add_file("/d/f", CONTENT, 0o644, 5)
    transaction.set_xattrs("", {b"user.a": b"b"})
    transaction.remove("/d")
    transaction.set_xattrs("", {})
    assert transaction.seal() is None
    transaction.add_directory("/e")
    assert transaction.seal() is not None


def test_the_same_again_is_no_change(workshop: Workshop) -> None:
    def change(transaction: Transaction, _: Staging) -> None:
        transaction.add_file("/d/f", CONTENT, 0o644, 5, xattrs={b"user.a": b"b"})
        transaction.add_directory("/d", 0o755, 5)
        transaction.add_symlink("/l", "d", 5)

    candidate, staging = workshop.candidate(change)
    (staging.directory / staged_name(CONTENT.hash, ObjectKind.FILE)).write_bytes(b"x")
    workshop.commit(candidate, staging)
    with (
        workshop.reader().snapshot() as snapshot,
        Transaction(snapshot, workshop.staging(), now=workshop.now) as transaction,
    ):
        change(transaction, staging)
        assert transaction.seal() is None


def test_files_and_directories_replace_each_other(transaction: Transaction) -> None:
    transaction.add_file("/x/a/b/c", CONTENT, 0o644, 5)
    transaction.add_file("/x", CONTENT, 0o644, 5)
    assert [entry.path for entry in transaction.walk()] == [b"/x"]
    transaction.add_directory("/x", 0o700, 5)
    assert (there(transaction, "/x").is_dir, there(transaction, "/x").linkcount) == (True, 2)
    assert there(transaction, "/").linkcount == 3
    transaction.add_symlink("/x", "y", 5)
    assert there(transaction, "/x").is_symlink
    assert there(transaction, "/").linkcount == 2


def test_a_file_is_in_the_way(transaction: Transaction) -> None:
    transaction.add_file("/x", CONTENT, 0o644, 5)
    with pytest.raises(PathError, match="no directory"):
        transaction.add_file("/x/y/z", CONTENT, 0o644, 5)
    assert [entry.path for entry in transaction.walk()] == [b"/x"]


def test_huge_and_deep_directories_are_removed(transaction: Transaction) -> None:
    for number in range(2500):
        transaction.add_file(f"/d/{number % 3}/{number}", CONTENT, 0o644, 5)
    deep = "/d" + "/x" * 2000
    transaction.add_file(deep + "/f", CONTENT, 0o644, 5)
    transaction.remove("/d")
    assert list(transaction.walk()) == []
    assert transaction.counters.own.entries == 1


def test_removing_empty_parents(transaction: Transaction) -> None:
    transaction.add_file("/a/b/c/f", CONTENT, 0o644, 5)
    transaction.add_file("/a/other", CONTENT, 0o644, 5)
    transaction.remove("/a/b/c/f")
    transaction.remove_empty_parents("/a/b/c/f", lambda entry: entry.name == b"b")
    assert transaction.lookup("/a/b/c") is None
    assert transaction.lookup("/a/b") is not None
    transaction.remove_empty_parents("/a/b/c/f", lambda _: False)  # /a/b/c is gone already
    assert [entry.path for entry in transaction.walk()] == [b"/a", b"/a/other"]
    transaction.remove("/a/other")
    transaction.remove_empty_parents("/a/other", lambda _: False)
    assert list(transaction.walk()) == []


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "relative",
        "/a/",
        "//a",
        "/a//b",
        "/a/../b",
        "/.",
        "/a\0b",
        "/" + "n" * 256,
        "/" + "/".join(["n" * 200] * 21),
        "/.cvmfsdirtab",
        "/.cvmfs/x",
        "/.cvmfscatalog",
        "/d/.cvmfscatalog/x",
        "/d/.cvmfsautocatalog/x",
    ],
)
def test_impossible_paths(transaction: Transaction, path: str) -> None:
    with pytest.raises(PathError):
        transaction.add_file(path, CONTENT, 0o644, 5)
    with pytest.raises(PathError):
        transaction.add_directory(path)
    with pytest.raises(PathError):
        transaction.add_symlink(path, "x", 5)
    assert list(transaction.walk()) == []


def test_possible_paths(transaction: Transaction) -> None:
    for path in (b"/\xff\xfe", b"/d/.cvmfsdirtab", b"/ ", b"/" + b"n" * 255, "/\udce9", "/käse"):
        transaction.add_file(path, CONTENT, 0o644, 5)
        assert there(transaction, os.fsdecode(path)).is_file


def test_other_refusals(transaction: Transaction) -> None:
    for mode in (0o4755, 0o2755, 0o1777):
        with pytest.raises(PathError, match="set-id"):
            transaction.add_file("/f", CONTENT, mode, 5)
    for target in ("", "a\0b", "x" * 5000):
        with pytest.raises(PathError):
            transaction.add_symlink("/l", target, 5)
    for mtime, nanoseconds in ((2**63, None), (5, -1), (5, 10**9)):
        with pytest.raises(FormatError, match="/f"):
            transaction.add_file("/f", CONTENT, 0o644, mtime, mtime_ns=nanoseconds)
    with pytest.raises(FormatError, match="/f"):
        transaction.add_file("/f", CONTENT, 0o644, 5, xattrs={b"a": b"v" * 256})
    for call in (transaction.remove, lambda path: transaction.set_xattrs(path, {}), transaction.listdir):
        with pytest.raises(PathError):
            call("/missing")
    with pytest.raises(PathError):
        transaction.remove("/")
    assert transaction.seal() is None


def test_changed_chunks_are_a_change(workshop: Workshop) -> None:
    def big(content: bytes) -> Candidate:
        candidate, staging = workshop.candidate(
            lambda transaction, staging: transaction.add_file(
                "/big", staging.write_file([content], threshold=10, chunk_size=10), 0o644, 5
            )
        )
        workshop.commit(candidate, staging)
        return candidate

    assert isinstance(workshop.staging().write_file([b"x" * 30], threshold=10, chunk_size=10), ChunkedContent)
    big(b"a" * 30)
    big(b"a" * 20 + b"b" * 10)  # the row in the catalog stays the same
    with workshop.reader().snapshot() as snapshot:
        assert b"".join(snapshot.read_file("/big")) == b"a" * 20 + b"b" * 10


def test_markers_are_files(transaction: Transaction) -> None:
    with pytest.raises(PathError, match="regular"):
        transaction.add_directory("/d/.cvmfscatalog")
    with pytest.raises(PathError, match="regular"):
        transaction.add_symlink("/d/.cvmfsautocatalog", "x", 5)
    assert list(transaction.walk()) == []


@pytest.mark.parametrize("mode", [0o010644, 0o140644, 0o020644, 0o060644])
def test_special_files_are_refused(transaction: Transaction, mode: int) -> None:
    with pytest.raises(PathError, match="special"):
        transaction.add_file("/f", CONTENT, mode, 5)


def test_links_keep_their_variables(transaction: Transaction) -> None:
    transaction.add_symlink("/l", "$(SITE:-/cvmfs/$(OTHER))/x", 5, mtime_ns=999_999_999)
    assert (there(transaction, "/l").symlink, there(transaction, "/l").mtime_ns) == (
        b"$(SITE:-/cvmfs/$(OTHER))/x",
        999_999_999,
    )


def test_hard_links(transaction: Transaction) -> None:
    transaction.add_file("/d/a", CONTENT, 0o644, 5, xattrs={b"user.a": b"1"})
    transaction.add_hardlink("/d/b", "/d/a")
    transaction.add_hardlink("/d/c", "/d/b")
    transaction.add_hardlink("/d/c", "/d/a")  # is there already
    members = [there(transaction, path) for path in ("/d/a", "/d/b", "/d/c")]
    assert {(m.linkcount, m.hardlink_group, m.xattrs[b"user.a"]) for m in members} == {(3, 1, b"1")}
    transaction.add_file("/d/b", CONTENT, 0o600, 5)
    assert [there(transaction, path).linkcount for path in ("/d/a", "/d/b", "/d/c")] == [2, 1, 2]
    transaction.remove("/d/a")
    assert (there(transaction, "/d/c").linkcount, there(transaction, "/d/c").hardlink_group) == (1, 0)
    for path, target in (("/other/a", "/d/b"), ("/d/x", "/d"), ("/d/x", "/d/missing")):
        with pytest.raises(PathError):
            transaction.add_hardlink(path, target)
    transaction.add_directory("/d/sub")
    with pytest.raises(PathError):
        transaction.add_hardlink("/d/sub", "/d/b")


def test_renaming(transaction: Transaction) -> None:
    transaction.add_file("/d/a", CONTENT, 0o644, 5)
    transaction.add_hardlink("/d/b", "/d/a")
    transaction.add_file("/d/sub/f", CONTENT, 0o600, 6)
    transaction.rename("/d/a", "/d/c")
    assert there(transaction, "/d/c").linkcount == 2
    transaction.rename("/d", "/e/f/d")
    assert [entry.path for entry in transaction.walk()] == [
        b"/e",
        b"/e/f",
        b"/e/f/d",
        b"/e/f/d/b",
        b"/e/f/d/c",
        b"/e/f/d/sub",
        b"/e/f/d/sub/f",
    ]
    assert there(transaction, "/e/f/d/c").linkcount == there(transaction, "/e/f/d").linkcount - 1 == 2
    transaction.rename("/e/f/d/c", "/x")
    assert (there(transaction, "/x").linkcount, there(transaction, "/e/f/d/b").linkcount) == (1, 1)
    transaction.rename("/e/f/d/b", "/x")
    transaction.rename("/x", "/x")
    for path, target in (
        ("/e", "/e/f/d/e"),
        ("/e", "/x"),
        ("/x", "/e"),
        ("/missing", "/y"),
        ("", "/y"),
        ("/x", "/x/y"),
        ("/e", "/" + "/".join(["n" * 255] * 15 + ["n" * 245])),  # what is in it would be too deep
        ("/x", "/.cvmfsdirtab"),
        ("/e", "/y/.cvmfscatalog"),
    ):
        with pytest.raises(PathError):
            transaction.rename(path, target)
    assert len(list(transaction.walk())) == 6


def test_grafts(transaction: Transaction) -> None:
    transaction.graft("/f", CONTENT.hash, 1, 0o755, 5, compression=Compression.NONE, mtime_ns=3)
    entry = there(transaction, "/f")
    assert (entry.hash, entry.size, entry.flags, entry.permissions, entry.mtime_ns) == (CONTENT.hash, 1, 2052, 0o755, 3)
    chunks = (Chunk(0, 5, hash_bytes(b"a")), Chunk(5, 6, hash_bytes(b"b")))
    transaction.graft("/big", chunks, 11, 0o644, 5)
    assert there(transaction, "/big").chunks == chunks
    for content, size in (
        (chunks, 12),
        (chunks[1:], 6),
        ((), 0),
        (CONTENT.hash, -1),
        (hash_bytes(b"x", HashAlgorithm.SHAKE128), 1),
    ):
        with pytest.raises(FormatError):
            transaction.graft("/g", content, size, 0o644, 5)


def test_scratch_files_go_away(workshop: Workshop, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with workshop.reader().snapshot() as snapshot:
        with Transaction(snapshot, workshop.staging(), now=workshop.now, work_dir=work) as transaction:
            transaction.add_directory("/d")
            assert list(work.iterdir())
        assert list(work.iterdir()) == []
