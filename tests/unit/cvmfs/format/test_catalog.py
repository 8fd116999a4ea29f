"""Catalogs of the stock tools, read; and rows that no tool should write."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.catalog_writer import create_catalog, root_entry
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import hash_bytes, parent_hash, path_hash
from softman.cvmfs.format.objects import decompress

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository


def opened(database: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.deserialize(database)
    return connection


def test_rows_of_every_stock_catalog(any_repository: "FixtureRepository") -> None:
    files = any_repository.files
    seen = 0
    for step in any_repository.truth["steps"]:
        for described in step.get("catalogs", ()):
            if described["object"] not in files:
                continue
            with closing(opened(decompress(files[described["object"]], max_size=described["size"]))) as connection:
                reader = CatalogReader(connection)
                counters = {str(name): value for name, value in reader.counters.rows()}
                assert counters == described["counters"]
                assert reader.row_count() == described["rows"]
                assert str(reader.properties.revision) == str(described["properties"]["revision"])
                assert [n.path.decode() for n in reader.nested()] == sorted(n["path"] for n in described["nested"])
                seen += 1
    assert seen


def test_entries_as_the_truth_has_them(basic_repository: "FixtureRepository") -> None:
    files = basic_repository.files
    step = next(step for step in reversed(basic_repository.truth["steps"]) if "entries" in step)
    catalogs = {c["path"]: c["object"] for c in step["catalogs"]}
    for path, name in catalogs.items():
        with closing(opened(decompress(files[name], max_size=10**7))) as connection:
            reader = CatalogReader(connection)
            for described in (e for e in step["entries"] if e["catalog"]["in"] == path):
                raw = described["path"].encode("utf-8", "surrogateescape")
                entry = reader.lookup(b"" if raw == b"/" else raw)
                assert entry is not None, described["path"]
                assert _row(entry) == _described(described), described["path"]


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "flags": entry.flags,
        "hardlinks": entry.hardlink_group << 32 | entry.linkcount,
        "size": entry.size,
        "mode": entry.mode,
        "mtime": entry.mtime,
        "hash": entry.hash and entry.hash.digest.hex(),
        "chunks": [{"offset": c.offset, "size": c.size, "hash": c.hash.digest.hex()} for c in entry.chunks],
        "owner": (entry.uid, entry.gid),
        "symlink": entry.symlink.decode("utf-8", "surrogateescape") or None,
        "mtime_ns": entry.mtime_ns,
    }


def _described(truth: dict[str, Any]) -> dict[str, Any]:
    row = truth["catalog"]
    columns: dict[str, Any] = {name: row[name] for name in ("flags", "hardlinks", "size", "mode", "mtime")}
    return columns | {
        "hash": row.get("hash"),
        "chunks": row.get("chunks") or [],
        "owner": (truth["uid"], truth["gid"]),
        "symlink": truth.get("symlink"),
        "mtime_ns": truth.get("mtime_ns"),
    }


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    """A small catalog: /d, /d/f."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        writer = create_catalog(db, root_entry(5))
        writer.put(Entry(path=b"/d", mode=0o40755, size=4096, mtime=5, linkcount=2, flags=1))
        writer.put(Entry(path=b"/d/f", mode=0o100644, size=1, mtime=5, hash=hash_bytes(b"x")))
        writer.finish(revision=1, last_modified=5, previous=None, ttl=60)
        yield db


def test_lookup_by_path_hash(connection: sqlite3.Connection) -> None:
    reader = CatalogReader(connection)
    entry = reader.lookup(b"/d/f")
    assert entry is not None
    assert (entry.path, entry.is_file, entry.hash) == (b"/d/f", True, hash_bytes(b"x"))
    assert reader.lookup(b"/d/g") is None
    root = reader.lookup(b"")
    assert root is not None
    assert (root.is_dir, root.linkcount) == (True, 3)
    assert [e.path for e in reader.listdir(b"")] == [b"/d"]
    assert [e.path for e in reader.listdir(b"/none")] == []
    assert (reader.has_children(b"/d"), reader.has_children(b"/d/f")) == (True, False)


def test_path_hashes_of_the_reference(connection: sqlite3.Connection) -> None:
    del connection
    assert path_hash(b"") == (338333539836370388, 9098107892288553193)
    assert path_hash(b"/foo/bar") == (-2822516800166431715, 9048809318629099454)
    assert parent_hash(b"/foo") == path_hash(b"")
    assert parent_hash(b"") == (0, 0)


FORGED = {
    "name with slash": "UPDATE catalog SET name='../f' WHERE name='f'",
    "name dot dot": "UPDATE catalog SET name='..' WHERE name='f'",
    "name null": "UPDATE catalog SET name=NULL WHERE name='f'",
    "name number": "UPDATE catalog SET name=5 WHERE name='f'",
    "other name": "UPDATE catalog SET name='g' WHERE name='f'",
    "symlink null": "UPDATE catalog SET symlink=NULL WHERE name='f'",
    "size text": "UPDATE catalog SET size='big' WHERE name='f'",
    "size negative": "UPDATE catalog SET size=-1 WHERE name='f'",
    "mode null": "UPDATE catalog SET mode=NULL WHERE name='f'",
    "nanoseconds": "UPDATE catalog SET mtimens=1000000000 WHERE name='f'",
    "nanoseconds text": "UPDATE catalog SET mtimens=x'00' WHERE name='f'",
    "hash short": "UPDATE catalog SET hash=x'abcd' WHERE name='f'",
    "hash text": "UPDATE catalog SET hash=5 WHERE name='f'",
    "algorithm": "UPDATE catalog SET flags=flags|0x700 WHERE name='f'",
    "xattr": "UPDATE catalog SET xattr=x'09' WHERE name='f'",
    "xattr text": "UPDATE catalog SET xattr='a' WHERE name='f'",
    "xattr too long": "UPDATE catalog SET xattr=x'010101026162' WHERE name='f'",
    "xattr without a name": "UPDATE catalog SET xattr=x'0101000162' WHERE name='f'",
    "xattr twice": "UPDATE catalog SET xattr=x'01020100610100' || x'61' WHERE name='f'",
    "elsewhere": "UPDATE catalog SET md5path_1=md5path_1+1 WHERE name='f'",
    "no catalog table": "DROP TABLE catalog",
}


@pytest.mark.parametrize("sql", FORGED.values(), ids=FORGED)
def test_rows_that_break_the_format(connection: sqlite3.Connection, sql: str) -> None:
    reader = CatalogReader(connection)
    connection.execute(sql)
    with pytest.raises(FormatError):
        list(reader.listdir(b"/d"))


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE properties SET value='3.0' WHERE key='schema'",
        "DELETE FROM properties",
        "UPDATE properties SET value='x' WHERE key='revision'",
        "INSERT INTO properties VALUES ('previous_revision', 'abc')",
        "DROP TABLE properties",
    ],
)
def test_properties_that_break_the_format(connection: sqlite3.Connection, sql: str) -> None:
    connection.execute(sql)
    with pytest.raises(FormatError):
        CatalogReader(connection)


def test_missing_and_wrong_counters(connection: sqlite3.Connection) -> None:
    reader = CatalogReader(connection)
    connection.execute("UPDATE statistics SET value='many' WHERE counter='self_dir'")
    with pytest.raises(FormatError):
        _ = reader.counters
    connection.execute("DELETE FROM statistics WHERE counter='self_dir'")
    with pytest.raises(FormatError, match="self_dir"):
        _ = reader.counters


def test_no_database() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(b"not a database at all" * 100)
        with pytest.raises(FormatError):
            CatalogReader(connection)


def test_nested_catalogs_by_component(connection: sqlite3.Connection) -> None:
    connection.execute("INSERT INTO nested_catalogs VALUES ('/d', ?, 5)", ("a" * 40,))
    reader = CatalogReader(connection)
    nested = reader.nested_above(b"/d/f/g")
    assert nested is not None
    assert (nested.path, str(nested.hash), nested.size) == (b"/d", "a" * 40, 5)
    assert reader.nested_above(b"/dd") is None
    assert reader.nested_above(b"") is None
    assert [n.path for n in reader.nested()] == [b"/d"]
