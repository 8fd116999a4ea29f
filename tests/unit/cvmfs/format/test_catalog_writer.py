"""Catalogs of ours: the empty one, and what every change keeps in step."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from softman.cvmfs.check import catalog_problems
from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.catalog_rows import INSERT_ROW
from softman.cvmfs.format.catalog_writer import CatalogWriter, create_catalog, root_entry
from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Chunk, Entry, Flag
from softman.cvmfs.format.hashes import hash_bytes, path_hash


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        yield db


@pytest.fixture
def writer(connection: sqlite3.Connection) -> CatalogWriter:
    return create_catalog(connection, root_entry(7))


def directory(path: bytes) -> Entry:
    return Entry(path=path, mode=0o40755, size=4096, mtime=7, linkcount=2, flags=1)


def file(path: bytes, content: bytes = b"x", *, linkcount: int = 1, hardlink_group: int = 0) -> Entry:
    return Entry(
        path=path,
        mode=0o100644,
        size=len(content),
        mtime=7,
        hash=hash_bytes(content),
        linkcount=linkcount,
        hardlink_group=hardlink_group,
    )


def finish(writer: CatalogWriter) -> None:
    writer.finish(revision=1, last_modified=7, previous=None, ttl=60)


def test_the_empty_root_catalog_is_that_of_the_stock_tools(tmp_path: Path) -> None:
    path = tmp_path / "root.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        finish(create_catalog(db, root_entry(7)))
        assert db.execute("SELECT * FROM catalog").fetchall() == [
            (338333539836370388, 9098107892288553193, 0, 0, 2, None, 4096, 16877, 7, None, 1, b"", b"", 0, 0, None)
        ]
        assert dict(db.execute("SELECT key, value FROM properties")) == {
            b"schema": b"2.5",
            b"schema_revision": b"7",
            b"revision": b"1",
            b"last_modified": b"7",
            b"TTL": b"60",
        }
        counters = dict(db.execute("SELECT counter, value FROM statistics").fetchall())
        assert len(counters) == 24
        assert {name for name, value in counters.items() if value} == {b"self_dir"}
        columns = [(row[1], row[2]) for row in db.execute("PRAGMA table_info(catalog)")]
        assert [name for name, _ in columns][:6] == [
            b"md5path_1",
            b"md5path_2",
            b"parent_1",
            b"parent_2",
            b"hardlinks",
            b"hash",
        ]
    data = path.read_bytes()
    assert len(data) == 16384
    assert data[16:20] == b"\x04\x00\x01\x01"  # page size 1024, rollback journal
    assert list(tmp_path.iterdir()) == [path]


def test_names_are_text_whatever_their_bytes(writer: CatalogWriter) -> None:
    writer.put(file(b"/\xe9\xff"))
    sql = "SELECT typeof(name), typeof(symlink) FROM catalog WHERE mode=33188"
    assert writer.connection.execute(sql).fetchall() == [(b"text", b"text")]
    assert [entry.path for entry in writer.listdir(b"")] == [b"/\xe9\xff"]


def test_children_come_in_the_order_of_bytes(writer: CatalogWriter) -> None:
    names = [b"b", b"a", b"a-b", b"a.b", b"B", b"\xff", b"\xc3\xa9", b"10", b"9"]
    for name in names:
        writer.put(file(b"/" + name))
    assert [entry.name for entry in writer.listdir(b"")] == sorted(names)


def test_counters_and_link_counts_follow(writer: CatalogWriter) -> None:
    writer.put(directory(b"/d"))
    writer.put(directory(b"/d/e"))
    chunks = (Chunk(0, 5, hash_bytes(b"1")), Chunk(5, 5, hash_bytes(b"2")))
    writer.put(Entry(path=b"/d/big", mode=0o100644, size=10, mtime=7, flags=68, chunks=chunks, xattrs={b"a": b"b"}))
    writer.put(Entry(path=b"/d/l", mode=0o120777, size=1, mtime=7, flags=12, symlink=b"x"))
    writer.put(file(b"/d/f", b"12345"))
    assert writer.counters.own == Counters(
        regular=2, symlink=1, dir=3, chunked=1, chunks=2, file_size=15, chunked_size=10, xattr=1
    )
    writer.put(file(b"/d/big", b"1"))  # chunked no more
    entry = writer.lookup(b"/d/e")
    assert entry is not None
    writer.delete(entry)
    assert writer.counters.own == Counters(regular=2, symlink=1, dir=2, file_size=6)
    links = {path: entry.linkcount for path in (b"", b"/d") if (entry := writer.lookup(path))}
    assert links == {b"": 3, b"/d": 2}
    finish(writer)
    assert list(catalog_problems(writer)) == []


def test_a_directory_replaced_by_a_directory_keeps_its_links(writer: CatalogWriter) -> None:
    writer.put(directory(b"/d"))
    writer.put(directory(b"/d/e"))
    writer.put(Entry(path=b"/d", mode=0o40700, size=4096, mtime=9, linkcount=2, flags=1))
    entry = writer.lookup(b"/d")
    assert entry is not None
    assert (entry.linkcount, entry.permissions, entry.mtime) == (3, 0o700, 9)


@pytest.mark.parametrize("leave", ["delete", "replace"])
def test_hard_link_groups_shrink(writer: CatalogWriter, leave: str) -> None:
    for name in (b"/a", b"/b", b"/c"):
        writer.put(file(name, linkcount=3, hardlink_group=7))
    writer.put(file(b"/other", linkcount=1))
    finish(writer)
    assert list(catalog_problems(writer)) == []
    for name, left in ((b"/a", 2), (b"/b", 1)):
        entry = writer.lookup(name)
        assert entry is not None
        if leave == "delete":
            writer.delete(entry)
        else:
            writer.put(file(name, b"new"))
        last = writer.lookup(b"/c")
        assert last is not None
        assert (last.linkcount, last.hardlink_group) == (left, 7 if left > 1 else 0)
    finish(writer)
    assert list(catalog_problems(writer)) == []


def test_row_ids_stay_dense(writer: CatalogWriter, connection: sqlite3.Connection) -> None:
    for number in range(1000):
        writer.put(file(b"/%d" % number, b"%d" % number))
    for number in range(800):
        entry = writer.lookup(b"/%d" % number)
        assert entry is not None
        writer.delete(entry)
    finish(writer)
    before = connection.execute("PRAGMA page_count").fetchone()[0]
    writer.compact()
    assert connection.execute("SELECT max(rowid), count(*) FROM catalog").fetchone() == (201, 201)
    assert connection.execute("PRAGMA page_count").fetchone()[0] < before / 2
    assert connection.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
    assert list(catalog_problems(writer)) == []


def test_a_nested_catalog_knows_its_place(connection: sqlite3.Connection) -> None:
    root = Entry(
        path=b"/a/b", mode=0o40755, size=4096, mtime=7, linkcount=2, flags=(Flag.DIRECTORY | Flag.NESTED_ROOT).value
    )
    writer = create_catalog(connection, root)
    writer.put(file(b"/a/b/.cvmfscatalog", b""))
    writer.finish(revision=1, last_modified=7, previous=hash_bytes(b"before"), ttl=None)
    reader = CatalogWriter(connection)
    assert (reader.root_path, reader.properties.ttl) == (b"/a/b", None)
    assert reader.properties.previous_revision == hash_bytes(b"before")
    assert list(catalog_problems(reader)) == []


def test_older_schema_revisions_are_not_written(writer: CatalogWriter, connection: sqlite3.Connection) -> None:
    finish(writer)
    connection.execute("UPDATE properties SET value=6 WHERE key='schema_revision'")
    with pytest.raises(FormatError, match="revision 6"):
        CatalogWriter(connection)


def test_rows_that_wait_to_be_entered_are_there_for_everybody(
    writer: CatalogWriter, connection: sqlite3.Connection
) -> None:
    assert writer.lookup(b"/a") is None
    writer.put(file(b"/a"))
    assert writer.lookup(b"/a") == file(b"/a")
    assert connection.execute("SELECT count(*) FROM catalog").fetchone() == (1,)  # or nothing waits here
    assert [entry.name for entry in writer.listdir(b"")] == [b"a"]
    writer.put(file(b"/b"))
    writer.put(file(b"/b", b"other"))
    assert writer.lookup(b"/b") == file(b"/b", b"other")
    writer.put(file(b"/c"))
    writer.delete(file(b"/c"))
    assert writer.lookup(b"/c") is None
    writer.put(file(b"/d"))
    assert writer.connection.execute("SELECT count(*) FROM catalog").fetchone() == (4,)
    finish(writer)
    assert list(catalog_problems(writer)) == []


def test_a_row_that_came_by_the_connection_is_found_though_it_was_absent(writer: CatalogWriter) -> None:
    assert writer.lookup(b"/a") is None
    writer.put(file(b"/a"))
    writer.put(file(b"/b"))
    writer.delete(file(b"/b"))
    assert writer.lookup(b"/b") is None
    row = list(writer.connection.execute("SELECT * FROM catalog WHERE name = CAST(? AS TEXT)", (b"a",)).fetchone())
    row[:2], row[11] = path_hash(b"/b"), b"b"
    writer.connection.execute(INSERT_ROW, row)
    assert writer.lookup(b"/b") is not None


def test_many_rows_are_entered_without_being_asked_for(writer: CatalogWriter, connection: sqlite3.Connection) -> None:
    for number in range(2000):
        writer.put(file(b"/%d" % number))
    (entered,) = connection.execute("SELECT count(*) FROM catalog").fetchone()
    assert 1000 < entered < 2000
