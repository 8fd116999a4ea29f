"""Entries that decode their row when they are asked."""

import pickle
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import FrozenInstanceError, fields, replace

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format import catalog as catalog_module
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.catalog_writer import CatalogWriter, create_catalog, root_entry
from softman.cvmfs.format.entry import Chunk, Entry
from softman.cvmfs.format.hashes import HashAlgorithm, hash_bytes
from softman.cvmfs.format.rows import Order, RowEntry

RMD160 = hash_bytes(b"y", HashAlgorithm.RMD160)
CONTENT = [
    Entry(path=b"/d", mode=0o40755, size=4096, mtime=5, linkcount=2, flags=1),
    Entry(
        path=b"/d-e", mode=0o100644, size=1, mtime=5, mtime_ns=7, hash=hash_bytes(b"x"), xattrs={b"a": b"", b"b": b"c"}
    ),
    Entry(path=b"/d.e", mode=0o100600, size=1, mtime=-5, flags=0x104, uid=3, gid=4, hash=RMD160, xattrs={b"a": b"b"}),
    Entry(path=b"/da", mode=0o120777, size=1, mtime=5, flags=12, symlink=b"d"),
    Entry(path=b"/db", mode=0o100644, size=1, mtime=5, flags=68, chunks=(Chunk(0, 1, hash_bytes(b"x")),)),
]


@pytest.fixture
def writer() -> Iterator[CatalogWriter]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        writer = create_catalog(db, root_entry(5))
        for entry in CONTENT:
            writer.put(entry)
        yield writer


def test_what_is_listed_is_what_was_written(writer: CatalogWriter) -> None:
    found = list(writer.listdir(b""))
    assert found == CONTENT
    assert [type(entry) for entry in found] == [RowEntry, RowEntry, RowEntry, RowEntry, Entry]
    for entry, written in zip(found, CONTENT, strict=True):
        assert all(getattr(entry, field.name) == getattr(written, field.name) for field in fields(Entry))
        assert writer.lookup(entry.path) == entry


def test_copies_are_plain_entries(writer: CatalogWriter) -> None:
    entry = next(writer.listdir(b""))
    assert type(replace(entry, mtime=6)) is Entry
    assert replace(entry, mtime=6) == replace(CONTENT[0], mtime=6)
    assert pickle.loads(pickle.dumps(entry)) == CONTENT[0]  # noqa: S301 - our own
    with pytest.raises(FrozenInstanceError):
        entry.mtime = 6  # type: ignore[misc]


@pytest.mark.parametrize("batch", [2, 3, 100])
def test_the_order_of_keys_has_a_directory_where_its_content_is(
    writer: CatalogWriter, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "_BATCH", batch)
    assert [entry.path for entry in writer.listdir(b"")] == [b"/d", b"/d-e", b"/d.e", b"/da", b"/db"]
    assert [entry.path for entry in writer.listdir(b"", Order.KEY)] == [b"/d-e", b"/d.e", b"/d", b"/da", b"/db"]


@pytest.mark.parametrize("batch", [2, 100])
def test_one_bad_row_among_good_ones_is_found(
    writer: CatalogWriter, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "_BATCH", batch)
    writer.connection.execute("UPDATE catalog SET md5path_2=md5path_2+1 WHERE name='da'")
    with pytest.raises(FormatError, match=r"b'/da'.*own path"):
        list(CatalogReader(writer.connection).listdir(b""))
