"""Catalogs as files: fetched, verified, opened so that a hostile one does no harm, and closed again in time."""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Final
from urllib.parse import quote

from softman.cvmfs.errors import FormatError
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.catalog import CatalogReader, NestedCatalog, sqlite_errors
from softman.cvmfs.format.entry import Flag
from softman.cvmfs.format.hashes import ObjectKind

MAX_CATALOG_SIZE: Final = 2 * 1024**3
"""Bytes of a catalog's database, uncompressed; stock tools warn far below, at half a million entries."""

MAX_OPEN_CATALOGS: Final = 64

_MAGIC = b"SQLite format 3\0"
_FORMAT_BYTES = slice(18, 20)
_ROLLBACK_JOURNAL = b"\1\1"
# A view, a trigger or a virtual table could make a plain SELECT run for ever, or do something else than read.
_UNEXPECTED = "SELECT 1 FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1"


def connect_read_only(database: Path) -> sqlite3.Connection:
    """Open a catalog's database for reading, trusting nothing in it.

    The connection may be used by many threads.

    Raises:
        FormatError: it is no SQLite database, is in WAL mode, which stock clients cannot read (``sqlitevfs.cc``), or
            holds views, triggers or virtual tables.
    """
    with database.open("rb") as file:
        header = file.read(_FORMAT_BYTES.stop)
    if not header.startswith(_MAGIC):
        raise FormatError("the catalog is not an SQLite database")
    if header[_FORMAT_BYTES] != _ROLLBACK_JOURNAL:
        raise FormatError("the catalog is in WAL mode, which clients cannot read")
    address = f"file:{quote(str(database.absolute()))}?mode=ro&immutable=1"
    with sqlite_errors():
        connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
    with ExitStack() as on_error:
        on_error.callback(connection.close)
        with sqlite_errors():
            for pragma in (
                "trusted_schema=OFF",
                "query_only=ON",
                "cell_size_check=ON",
                "mmap_size=0",
                "cache_size=-512",
            ):
                connection.execute(f"PRAGMA {pragma}")
            unexpected = connection.execute(_UNEXPECTED).fetchone()
        if unexpected is not None:
            raise FormatError("the catalog holds something other than tables and indexes")
        on_error.pop_all()
    return connection


@dataclass(slots=True)
class OpenCatalog:
    """A catalog on disk, open. ``users`` counts who must not see it closed."""

    database: Path
    connection: sqlite3.Connection
    reader: CatalogReader
    users: int = 0

    def close(self) -> None:
        """Close it and remove its file."""
        self.connection.close()
        self.database.unlink(missing_ok=True)


class CatalogCache:
    """The catalogs of one revision, fetched when they are needed.

    At most ``MAX_OPEN_CATALOGS`` stay open beyond those in use; the least recently used go first.

    Args:
        fetcher: gets their objects.
        directory: for their databases; must exist, and belong to this cache alone.
        max_size: bytes of a database to accept.
    """

    def __init__(self, fetcher: ObjectFetcher, directory: Path, *, max_size: int = MAX_CATALOG_SIZE) -> None:
        self._fetcher = fetcher
        self._directory = directory
        self._max_size = max_size
        self._open: OrderedDict[bytes, OpenCatalog] = OrderedDict()
        self._guard = RLock()
        self._count = 0

    def close(self) -> None:
        """Close all catalogs and remove their files."""
        with self._guard:
            for catalog in self._open.values():
                catalog.close()
            self._open.clear()

    def load(self, wanted: NestedCatalog) -> OpenCatalog:
        """Fetch, verify and open a catalog; the caller closes it.

        Args:
            wanted: its place, hash and database size (0: not known).

        Raises:
            ObjectMissing: its object is not in the store.
            StoreUnavailable: the store does not answer.
            HashMismatch: the object does not have its hash.
            TooLarge: the database is larger than ``wanted`` says, or than is accepted.
            FormatError: it is no catalog, belongs to another place, or is smaller than ``wanted`` says.
        """
        where = wanted.path.decode(errors="replace") or "/"
        if wanted.size > self._max_size:
            raise FormatError(
                f"the catalog of {where} is said to have {wanted.size} bytes; {self._max_size} are accepted"
            )
        with self._guard:
            self._count += 1
            database = self._directory / f"{self._count}.db"
        with ExitStack() as on_error:
            on_error.callback(database.unlink, missing_ok=True)
            limit = wanted.size or self._max_size
            size = self._fetcher.inflate_to(database, wanted.hash, ObjectKind.CATALOG, max_size=limit)
            if wanted.size not in {0, size}:
                raise FormatError(f"the catalog of {where} has {size} bytes, not the {wanted.size} announced")
            connection = connect_read_only(database)
            on_error.callback(connection.close)
            reader = CatalogReader(connection)
            _check_place(reader, wanted.path)
            on_error.pop_all()
        return OpenCatalog(database, connection, reader)

    @contextmanager
    def use(self, parent: CatalogReader, nested: NestedCatalog) -> Iterator[OpenCatalog]:
        """A nested catalog, open as long as the context lasts.

        Raises:
            FormatError: as ``load``; or ``parent`` has no mountpoint for it.
        """
        with self._guard:
            catalog = self._open.get(nested.path)
            if catalog is None:
                mountpoint = parent.lookup(nested.path)
                if mountpoint is None or not mountpoint.flags & Flag.NESTED_MOUNTPOINT.value:
                    raise FormatError(f"the nested catalog at {nested.path!r} has no mountpoint")
                catalog = self._open[nested.path] = self.load(nested)
            self._open.move_to_end(nested.path)
            catalog.users += 1
            self._evict()
        try:
            yield catalog
        finally:
            with self._guard:
                catalog.users -= 1

    def _evict(self) -> None:
        idle = [path for path, catalog in self._open.items() if not catalog.users]
        for path in idle[: max(0, len(self._open) - MAX_OPEN_CATALOGS)]:
            self._open.pop(path).close()


def _check_place(reader: CatalogReader, path: bytes) -> None:
    """Make sure that a catalog belongs where it is mounted; that also keeps catalogs from nesting in a loop."""
    if reader.root_path != path:
        raise FormatError(
            f"the catalog mounted at {path!r} belongs to another path: its root_prefix is {reader.root_path!r}"
        )
    root = reader.lookup(path)
    if root is None or not root.is_dir:
        raise FormatError(f"the catalog of {path!r} has no entry for its own root")
