"""A repository with a great many entries, written straight into its catalogs: publishing them is what others measure.

As automatic balancing leaves it: 97 directories of 103 directories each, of which all but four are nested catalogs, so
that the root catalog has a 25th of all entries. Every file has the mark that a synchronised one has.
"""

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from softman.cli.repo.keyfiles import KeyFiles
from softman.cvmfs.format import xattrs
from softman.cvmfs.format.catalog import NestedCatalog
from softman.cvmfs.format.catalog_writer import CatalogWriter, create_catalog, root_entry
from softman.cvmfs.format.counters import ROW_SUMS, Counters
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes, path_hash
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.objects import compress
from softman.cvmfs.head import Head
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.store.local import LocalStore

NAME = "bench.example.org"
MARKERS = (b".cvmfsautocatalog", b".cvmfscatalog")
_TOPS = 97
_FOLDERS = 103
_IN_ROOT = 4
_TIME = 1_700_000_000
_INSERT = f"INSERT INTO catalog VALUES ({', '.join('?' * 16)})"  # noqa: S608 - question marks


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class LargeRepository:
    """Where it is, and what opens it."""

    root: Path
    keys: RepositoryKeys

    @classmethod
    def opened(cls, root: Path) -> "LargeRepository":
        """One that another process made."""
        return cls(root, KeyFiles(_key_directory(root), NAME).load(with_master=True))

    @property
    def key_directory(self) -> Path:
        return _key_directory(self.root)

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.root)

    @property
    def repository(self) -> Repository:
        return Repository(self.store, NAME, self.keys, now=now)

    @property
    def reader(self) -> RepositoryReader:
        return RepositoryReader(self.store, NAME, [self.keys.public_key], now=now)


def say(name: str, value: float, unit: str, peer: float | None = None, peer_name: str = "") -> None:
    """One figure. ``ratio`` above 1 says how much better than the peer it is."""
    row: dict[str, object] = {"name": name, "value": round(value, 3), "unit": unit}
    if peer is not None:
        ratio = value / peer if unit.endswith("/s") else peer / value
        row |= {"peer": peer, "ratio": round(ratio, 3), "peer_name": peer_name}
    print(json.dumps(row), flush=True)


def memory_directory() -> Path | None:
    """Where nothing waits for a disk, if there is such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - what is measured must not be the disk
    return memory if memory.is_dir() else None


def _key_directory(root: Path) -> Path:
    return root.parent / "keys"


def make(root: Path, entries: int, *, catalogs_of: int | None = None) -> LargeRepository:
    """Make it in the new directory ``root``, with about so many entries.

    In another process: what this one holds at most would count as memory of the processes that it starts.

    Args:
        root: its directory.
        entries: how many.
        catalogs_of: have each catalog as large as in a repository of so many entries, and fewer of them.
    """
    of = catalogs_of or entries
    tops = max(_IN_ROOT + 1, round(_TOPS * entries / of))
    subprocess.run([sys.executable, "-E", __file__, str(root), str(of), str(tops)], check=True)
    return LargeRepository.opened(root)


def _make(root: Path, entries: int, tops: int) -> None:
    made = LargeRepository(root, KeyFiles(_key_directory(root), NAME).make(now()))
    made.repository.create(ttl=60, whitelist_days=30)
    store = made.store
    content = _put(store, b"content", ObjectKind.FILE)
    empty = _put(store, b"", ObjectKind.FILE)
    with tempfile.TemporaryDirectory(dir=root.parent) as work:
        mounted = [_nested(store, Path(work), top, entries, (content, empty)) for top in range(_IN_ROOT, tops)]
        database = Path(work) / "root.db"
        with closing(_new(database, replace(root_entry(_TIME), linkcount=2 + tops))) as connection:
            for top in range(_IN_ROOT):
                _fill(connection, _subtree(top, entries, content))
            writer = CatalogWriter(connection)
            for nested, own in mounted:
                _fill(connection, [_directory(nested.path, Flag.NESTED_MOUNTPOINT.value)])
                writer.mount(nested)
                writer.set_subtree_counters(writer.counters.subtree + own)
            _finish(writer, 60)
        root_hash, size = _put(store, database.read_bytes(), ObjectKind.CATALOG), database.stat().st_size
    head = Head(store, NAME, made.keys, now=now, work_dir=None)
    head.publish(replace(head.manifest(), root_hash=root_hash, root_size=size, revision=2))


def _nested(
    store: LocalStore, work: Path, top: int, entries: int, contents: tuple[ContentHash, ContentHash]
) -> tuple[NestedCatalog, Counters]:
    content, empty = contents
    path, database = b"/%d" % top, work / f"{top}.db"
    with closing(_new(database, _directory(path, Flag.NESTED_ROOT.value))) as connection:
        _fill(connection, islice(_subtree(top, entries, content), 1, None))
        _fill(connection, (Entry(path + b"/" + name, 0o100644, 0, _TIME, hash=empty) for name in MARKERS))
        own = _finish(CatalogWriter(connection), None)
    data = database.read_bytes()
    database.unlink()
    return NestedCatalog(path, _put(store, data, ObjectKind.CATALOG), len(data)), own


def _put(store: LocalStore, data: bytes, kind: ObjectKind) -> ContentHash:
    stored = compress(data)
    content = hash_bytes(stored)
    store.put(content.object_path(kind), stored)
    return content


def _new(database: Path, root: Entry) -> sqlite3.Connection:
    connection = sqlite3.connect(database, isolation_level=None)
    connection.execute("PRAGMA synchronous=OFF")
    create_catalog(connection, root)
    connection.execute("BEGIN")
    return connection


def _finish(writer: CatalogWriter, ttl: int | None) -> Counters:
    own = Counters(*(value or 0 for value in writer.connection.execute(ROW_SUMS).fetchone()))
    writer.set_own_counters(own)
    writer.finish(revision=2 if ttl else 1, last_modified=_TIME, previous=None, ttl=ttl)
    if writer.connection.in_transaction:
        writer.connection.execute("COMMIT")
    return own


def _directory(path: bytes, flags: int = 0) -> Entry:
    return Entry(path, 0o40755, 4096, _TIME, linkcount=2 + _FOLDERS, flags=Flag.DIRECTORY.value | flags)


def _subtree(top: int, entries: int, content: ContentHash) -> Iterator[Entry]:
    """One of the directories, and its folders, each with its files."""
    mark = {b"user.softman.source": b"1 d41d8cd98f00b204e9800998ecf8427e 1700000000"}
    yield _directory(b"/%d" % top)
    for folder in range(_FOLDERS):
        path = b"/%d/%d" % (top, folder)
        yield replace(_directory(path), linkcount=2)
        for number in range(top + folder * _TOPS, entries, _TOPS * _FOLDERS):
            yield Entry(path + b"/%d" % number, 0o100644, 7, _TIME, hash=content, xattrs=mark)


def _fill(connection: sqlite3.Connection, entries: Iterable[Entry]) -> None:
    connection.executemany(_INSERT, map(_row, entries))


def _row(entry: Entry) -> tuple[object, ...]:
    return (
        *path_hash(entry.path),
        *path_hash(entry.parent),
        entry.linkcount,
        entry.hash.digest if entry.hash else None,
        entry.size,
        entry.mode,
        entry.mtime,
        None,
        entry.flags,
        entry.name.decode(),
        "",
        0,
        0,
        xattrs.encode(entry.xattrs),
    )


if __name__ == "__main__" and len(sys.argv) > 1:
    _make(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
