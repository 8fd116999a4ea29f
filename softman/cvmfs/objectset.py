"""Sets of objects that may be larger than memory: what is referenced, what is to go.

A set is a table in an SQLite file without journal, keyed by digest and kind. Catalogs are added by SQLite itself, one
statement a catalog, which is several times faster than reading their rows here. Memory is bounded by the page cache.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.catalog import sqlite_errors
from softman.cvmfs.format.entry import Flag
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind
from softman.cvmfs.store.base import StoredFile
from softman.cvmfs.trees import TreeCatalog

CACHE_SIZE: Final = 64 * 1024 * 1024
"""Bytes of memory for the sets of one ``ObjectSets``."""

_KINDS = tuple(ObjectKind)
_KIND_MASK = 0xFF
_ALGORITHM_MASK = 0x700
_EXTERNAL = Flag.EXTERNAL.value
_NAME_PARTS = 3
# Content on other servers is no object of ours. What has no hash of the right length is not stored at all.
_CONTENT = f"""
SELECT hash AS digest, flags & {_ALGORITHM_MASK} | {_KINDS.index(ObjectKind.FILE)} AS kind FROM added.catalog
WHERE typeof(hash)='blob' AND length(hash)=20 AND flags & {_EXTERNAL} = 0
UNION ALL
SELECT k.hash, c.flags & {_ALGORITHM_MASK} | {_KINDS.index(ObjectKind.CHUNK)} FROM added.chunks k
JOIN added.catalog c ON c.md5path_1=k.md5path_1 AND c.md5path_2=k.md5path_2
WHERE typeof(k.hash)='blob' AND length(k.hash)=20 AND c.flags & {_EXTERNAL} = 0
"""  # noqa: S608 - numbers


class ObjectSet:
    """One set; make it with ``ObjectSets``."""

    def __init__(self, connection: sqlite3.Connection, table: str) -> None:
        self._db = connection
        self._table = table
        self._db.execute(
            f"CREATE TABLE {table} (digest BLOB, kind INTEGER, place INTEGER, PRIMARY KEY (digest, kind)) WITHOUT ROWID"
        )
        self._places = 0

    def __contains__(self, item: tuple[ContentHash, ObjectKind]) -> bool:
        sql = f"SELECT 1 FROM {self._table} WHERE digest=? AND kind=?"  # noqa: S608 - our own name
        return self._db.execute(sql, _key(*item)).fetchone() is not None

    def __len__(self) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {self._table}").fetchone()[0])  # noqa: S608 - our own name

    def __iter__(self) -> Iterator[tuple[ContentHash, ObjectKind]]:
        """All objects, in the order of their digests."""
        sql = f"SELECT digest, kind FROM {self._table} ORDER BY digest, kind"  # noqa: S608 - our own name
        for digest, kind in self._db.execute(sql):
            yield _object(digest, kind)

    def add(self, content: ContentHash, kind: ObjectKind) -> bool:
        """Add one object; whether it is new."""
        self._places += 1
        sql = f"INSERT OR IGNORE INTO {self._table} (digest, kind, place) VALUES (?, ?, ?)"  # noqa: S608 - our own name
        return self._db.execute(sql, (*_key(content, kind), self._places)).rowcount == 1

    def holds_catalog(self, content: ContentHash) -> bool:
        """Whether a catalog is in the set."""
        return (content, ObjectKind.CATALOG) in self

    def add_catalog(self, catalog: TreeCatalog, *, unless: "ObjectSet | None" = None) -> None:
        """Add a catalog and all objects that its rows refer to; nested catalogs are not looked at.

        Args:
            catalog: on disk.
            unless: leave out what is in this set.

        Raises:
            FormatError: the catalog cannot be read.
        """
        self.add(catalog.hash, ObjectKind.CATALOG)
        condition = ""
        if unless is not None:
            condition = (
                f"WHERE NOT EXISTS (SELECT 1 FROM {unless._table} u "  # noqa: S608, SLF001 - our own name and class
                "WHERE u.digest=x.digest AND u.kind=x.kind)"
            )
        with sqlite_errors():
            self._db.execute("ATTACH ? AS added", (f"file:{quote(str(catalog.database))}?mode=ro&immutable=1",))
            try:
                # In the order of the key: pages of the table are then filled one after the other.
                self._db.execute(
                    f"INSERT OR IGNORE INTO {self._table} (digest, kind, place) "  # noqa: S608 - our own names
                    f"SELECT digest, kind, 0 FROM ({_CONTENT}) x {condition} ORDER BY 1, 2"
                )
            finally:
                self._db.execute("DETACH added")

    def prefixes(self) -> list[str]:
        """The directories ``data/ab/`` in which objects of the set lie, sorted."""
        sql = f"SELECT DISTINCT substr(digest, 1, 1) FROM {self._table} ORDER BY 1"  # noqa: S608 - our own name
        return [f"data/{first.hex()}/" for (first,) in self._db.execute(sql).fetchall()]

    def catalogs_backwards(self) -> Iterator[ContentHash]:
        """The catalogs in the reverse of the order in which they were added."""
        sql = f"SELECT digest, kind FROM {self._table} WHERE place > 0 ORDER BY place DESC"  # noqa: S608 - our own name
        for digest, kind in self._db.execute(sql).fetchall():
            content, what = _object(digest, kind)
            if what is ObjectKind.CATALOG:
                yield content


class ObjectSets:
    """Two sets in one file, ``marked`` and ``condemned``. A context manager.

    Args:
        directory: for the file.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "objects.db"
        self._db = sqlite3.connect(f"file:{quote(str(path))}", uri=True, isolation_level=None)
        pragmas = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "trusted_schema=OFF")
        for pragma in (*pragmas, f"cache_size=-{CACHE_SIZE // 1024}", "temp_store=FILE"):
            self._db.execute(f"PRAGMA {pragma}")
        self.marked = ObjectSet(self._db, "marked")
        self.condemned = ObjectSet(self._db, "condemned")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._db.close()

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Many single additions in one SQLite transaction, which makes them quick."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.execute("COMMIT")


def object_of(file: StoredFile) -> tuple[ContentHash, ObjectKind] | None:
    """Which object a stored file is, or None."""
    parts = file.name.split("/")
    if len(parts) != _NAME_PARTS or parts[0] != "data":
        return None
    text = parts[1] + parts[2]
    letter = text[-1] if text[-1].isupper() else ""
    try:
        return ContentHash.parse(text.removesuffix(letter)), ObjectKind(letter)
    except (FormatError, ValueError):
        return None


def _key(content: ContentHash, kind: ObjectKind) -> tuple[bytes, int]:
    return content.digest, content.algorithm.flag_bits | _KINDS.index(kind)


def _object(digest: bytes, kind: int) -> tuple[ContentHash, ObjectKind]:
    return ContentHash(digest, HashAlgorithm.from_flag_bits(kind)), _KINDS[kind & _KIND_MASK]
