"""Reading one file catalog, on an SQLite connection handed in. ``catalog_writer`` changes them.

Source: ``cvmfs/catalog_sql.cc``, ``catalog.cc`` and ``sql_impl.h`` of CernVM-FS 2.12. A catalog is untrusted until its
hash is verified, and its rows are checked even then: names, types and lengths that the format does not allow raise
``FormatError`` and never reach a path.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.format import xattrs
from softman.cvmfs.format.counters import ROW_SUMS, CatalogCounters, Counters
from softman.cvmfs.format.entry import Chunk, Entry, Flag, check_name
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, PathHash, parent_hash, path_hash
from softman.cvmfs.format.rows import MAX_NS, Order, Row, entries_of
from softman.cvmfs.format.schema import SCHEMA

_GROUP_SHIFT = 32
_COUNT_MASK = 0xFFFFFFFF
_BATCH = 2000
_INTEGERS = ("hardlinks", "size", "mode", "mtime", "flags", "uid", "gid")
_REVISION_XATTR = 2
_REVISION_COUNTERS = 5
_REVISION_BIND = 4
_REVISION_MTIMENS = 7


@dataclass(frozen=True, slots=True)
class NestedCatalog:
    """A catalog that continues this one below ``path``. ``size`` is that of its database, 0 when not recorded."""

    path: bytes
    hash: ContentHash
    size: int


@dataclass(frozen=True, slots=True)
class Properties:
    """Table ``properties``. Times are Unix seconds, ``ttl`` is seconds."""

    schema_revision: int
    revision: int
    last_modified: int
    previous_revision: ContentHash | None = None
    root_prefix: bytes = b""
    ttl: int | None = None


@contextmanager
def sqlite_errors() -> Iterator[None]:
    """Turn what SQLite says about a damaged database into ``FormatError``."""
    try:
        yield
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM}:
            raise  # the machine's fault, not the catalog's
        raise FormatError(f"the catalog cannot be read: {exc}") from exc
    except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as exc:  # the last one: in SQLite's message
        raise FormatError(f"the catalog cannot be read: {exc}") from exc


_AT = "WHERE md5path_1=? AND md5path_2=?"


class CatalogReader:
    """One catalog, read only.

    Args:
        connection: on the catalog's database. Its ``text_factory`` is set to bytes: names need not be UTF-8.

    Raises:
        FormatError: no SQLite database, another schema than 2.5, or properties that cannot be read.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.text_factory = bytes
        self.properties = self._read_properties()
        mtimens = "mtimens" if self.properties.schema_revision >= _REVISION_MTIMENS else "NULL"
        xattr = "xattr" if self.properties.schema_revision >= _REVISION_XATTR else "NULL"
        self._select = (
            f"SELECT md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime, {mtimens}, flags, "  # noqa: S608 - two constants
            f"name, symlink, uid, gid, {xattr} FROM catalog "
        )

    @property
    def _db(self) -> sqlite3.Connection:
        """What statements are executed on."""
        return self._connection

    @property
    def root_path(self) -> bytes:
        """Where the catalog is mounted; ``b""`` for the root catalog."""
        return self.properties.root_prefix

    def lookup(self, path: bytes) -> Entry | None:
        """The entry at ``path``, or None when this catalog has no row for it (a nested one may).

        Raises:
            FormatError: the row breaks the format.
        """
        with sqlite_errors():
            row = self._connection.execute(self._select + _AT, path_hash(path)).fetchone()
        return None if row is None else self.entry_of(row, path.rpartition(b"/")[0] if path else None)

    def listdir(self, path: bytes, order: Order = Order.NAME) -> Iterator[Entry]:
        """The entries of directory ``path`` in order.

        Empty when the catalog knows no such directory, or its content lies in a nested catalog.

        Raises:
            FormatError: a row breaks the format.
        """
        return chain.from_iterable(self._batches(path, order))

    def _batches(self, path: bytes, order: Order) -> Iterator[list[Entry]]:
        sql = self._select + "WHERE parent_1=? AND parent_2=?"
        with sqlite_errors():
            rows = self._db.execute(f"{sql} LIMIT {_BATCH}", path_hash(path)).fetchall()
        if len(rows) < _BATCH:
            if rows:
                yield self._entries(rows, path, order)
            return
        with sqlite_errors():  # too many to be sorted here
            cursor = self._db.execute(f"{sql} ORDER BY {order.value}", path_hash(path))
        while True:
            with sqlite_errors():
                rows = cursor.fetchmany(_BATCH)
            if not rows:
                return
            yield self._entries(rows, path, None)

    def _entries(self, rows: list[Row], path: bytes, order: Order | None) -> list[Entry]:
        entries = entries_of(rows, path, order, lambda row: self.entry_of(row, path))
        if entries is None:  # one of these says why
            entries = [self.entry_of(row, path) for row in rows]
        return entries

    def children_after(self, path: bytes, after: bytes, limit: int) -> list[Entry]:
        """Up to ``limit`` entries of directory ``path`` by the bytes of their names: those that come after a name.

        Raises:
            FormatError: a row breaks the format.
        """
        sql = "WHERE parent_1=? AND parent_2=? AND CAST(name AS BLOB) > ? ORDER BY CAST(name AS BLOB) LIMIT ?"
        with sqlite_errors():
            rows = self._db.execute(self._select + sql, (*path_hash(path), after, limit)).fetchall()
        return self._entries(rows, path, None) if rows else []

    def has_children(self, path: bytes) -> bool:
        """Whether directory ``path`` has entries in this catalog."""
        with sqlite_errors():
            sql = "SELECT 1 FROM catalog WHERE parent_1=? AND parent_2=? LIMIT 1"
            return self._db.execute(sql, path_hash(path)).fetchone() is not None

    def some_children(self, path: bytes, limit: int) -> list[Entry]:
        """Up to ``limit`` entries of directory ``path`` in no order: for taking a huge directory apart piece by piece.

        Raises:
            FormatError: a row breaks the format.
        """
        sql = self._select + "WHERE parent_1=? AND parent_2=? LIMIT ?"
        with sqlite_errors():
            rows = self._db.execute(sql, (*path_hash(path), limit)).fetchall()
        return self._entries(rows, path, None) if rows else []

    def row_count(self) -> int:
        """How many entries this catalog has."""
        with sqlite_errors():
            return int(self._db.execute("SELECT count(*) FROM catalog").fetchone()[0])

    def nested(self) -> Iterator[NestedCatalog]:
        """The nested catalogs right below this one, in the order of their paths' bytes."""
        yield from self._catalogs("nested_catalogs", "ORDER BY path")

    def bind_mountpoints(self) -> Iterator[NestedCatalog]:
        """The bind mountpoints of this catalog, in the order of their paths' bytes."""
        if self.properties.schema_revision >= _REVISION_BIND:
            yield from self._catalogs("bind_mountpoints", "ORDER BY path")

    def nested_at(self, path: bytes) -> NestedCatalog | None:
        """The nested catalog mounted at ``path`` itself, or None."""
        return next(self._catalogs("nested_catalogs", "WHERE path=CAST(? AS TEXT)", path), None)

    def nested_above(self, path: bytes) -> NestedCatalog | None:
        """The nested catalog whose mountpoint is ``path`` or one of its parents, or None."""
        while path != self.root_path and path:
            nested = self.nested_at(path)
            if nested is not None:
                return nested
            path = path.rpartition(b"/")[0]
        return None

    @property
    def counters(self) -> CatalogCounters:
        """The stored statistics counters.

        Raises:
            FormatError: one is missing or no number.
        """
        with sqlite_errors():
            rows = dict(self._db.execute("SELECT counter, value FROM statistics").fetchall())
        named = {str(name, "ascii", "replace"): value for name, value in rows.items() if isinstance(name, bytes)}
        if not all(isinstance(value, int) for value in named.values()):
            raise FormatError("a statistics counter of the catalog is no number")
        return CatalogCounters.from_rows(named, complete=self.properties.schema_revision >= _REVISION_COUNTERS)

    def row_sums(self) -> Counters:
        """What the rows add up to, whatever the stored counters say.

        Raises:
            FormatError: the database is damaged.
        """
        has_xattrs = self.properties.schema_revision >= _REVISION_XATTR
        sql = ROW_SUMS if has_xattrs else ROW_SUMS.replace("xattr IS NOT NULL", "0")
        with sqlite_errors():
            values = self._db.execute(sql).fetchone()
        if not all(isinstance(value, int | None) for value in values):
            raise FormatError("a size in the catalog is no number")
        return Counters(*(value or 0 for value in values))

    def _catalogs(self, table: str, condition: str, *arguments: bytes) -> Iterator[NestedCatalog]:
        with sqlite_errors():
            rows = self._db.execute(f"SELECT path, sha1, size FROM {table} {condition}", arguments)  # noqa: S608 - constants
            for path, text, size in rows:
                if not (isinstance(path, bytes) and isinstance(text, bytes) and isinstance(size, int | None)):
                    raise FormatError(f"a row of {table} has values of the wrong type")
                yield NestedCatalog(path, ContentHash.parse(text.decode("ascii", "replace")), size or 0)

    def _read_properties(self) -> Properties:
        with sqlite_errors():
            rows = self._db.execute("SELECT key, value FROM properties").fetchall()
        values = {key: _text(value) for key, value in rows if isinstance(key, bytes)}
        schema = values.get(b"schema", b"").decode("ascii", "replace")
        if schema != SCHEMA:
            raise FormatError(f"catalog schema {schema!r} is not supported; {SCHEMA} is")
        previous = values.get(b"previous_revision", b"").decode("ascii", "replace")
        return Properties(
            schema_revision=_number(values, b"schema_revision", 0),
            revision=_number(values, b"revision", 0),
            last_modified=_number(values, b"last_modified", 0),
            previous_revision=ContentHash.parse(previous) if previous else None,
            root_prefix=values.get(b"root_prefix", b""),
            ttl=_number(values, b"TTL", 0) if b"TTL" in values else None,
        )

    def entry_of(self, row: tuple[Any, ...], parent: bytes | None, *, chunks: bool = True) -> Entry:
        """The entry of a row of table ``catalog``.

        Args:
            row: all columns in the order of the schema.
            parent: the path of its directory, None for the root of the repository.
            chunks: read the chunks of a chunked file, too.

        Raises:
            FormatError: the row breaks the format, or is filed under another path's hash.
        """
        path, key = _row_path(row, parent)
        hardlinks, digest, size, mode, mtime, mtimens, flags = row[4:11]
        symlink, uid, gid, blob = row[12:16]
        for column, value in zip(_INTEGERS, (hardlinks, size, mode, mtime, flags, uid, gid), strict=True):
            if not isinstance(value, int):
                raise FormatError(f"{path!r}: column {column} of the catalog is no number")
        if not isinstance(mtimens, int | None) or size < 0 or not 0 <= (mtimens or 0) <= MAX_NS:
            raise FormatError(f"{path!r}: size or nanoseconds of the catalog are out of range")
        if not isinstance(symlink, bytes) or not isinstance(blob, bytes | None):
            raise FormatError(f"{path!r}: symlink or xattr has the wrong type in the catalog")
        algorithm = HashAlgorithm.from_flag_bits(flags)
        return Entry(
            path=path,
            mode=mode,
            size=size,
            mtime=mtime,
            mtime_ns=mtimens,
            uid=uid,
            gid=gid,
            linkcount=hardlinks & _COUNT_MASK,
            hardlink_group=(hardlinks >> _GROUP_SHIFT) & _COUNT_MASK,
            flags=flags,
            hash=None if digest is None else _digest(path, digest, algorithm),
            symlink=symlink,
            xattrs=xattrs.decode(blob),
            chunks=tuple(self._chunks(path, key, algorithm)) if chunks and flags & Flag.CHUNKED.value else (),
        )

    def _chunks(self, path: bytes, key: PathHash, algorithm: HashAlgorithm) -> Iterator[Chunk]:
        sql = "SELECT offset, size, hash FROM chunks WHERE md5path_1=? AND md5path_2=? ORDER BY offset, size"
        for offset, size, digest in self._db.execute(sql, key):
            if not (isinstance(offset, int) and isinstance(size, int)):
                raise FormatError(f"{path!r}: a chunk's offset or size is no number")
            yield Chunk(offset, size, _digest(path, digest, algorithm))


def _row_path(row: tuple[Any, ...], parent: bytes | None) -> tuple[bytes, PathHash]:
    """The path and key of a row, after its name and both of its path hashes were compared with its place."""
    name = row[11]
    if not isinstance(name, bytes):
        raise FormatError("a name in the catalog is no text")
    if parent is None:
        path = name
        if name:
            raise FormatError(f"the root of the catalog has the name {name[:80]!r}")
    else:
        try:
            check_name(name)
        except PathError as exc:
            raise FormatError(f"below {parent!r} in the catalog: {exc}") from exc
        path = parent + b"/" + name
    key = path_hash(path)
    if row[:4] != key + parent_hash(path):
        raise FormatError(f"{path!r}: the row is not filed under its own path")
    return path, key


def _digest(path: bytes, digest: object, algorithm: HashAlgorithm) -> ContentHash:
    if not isinstance(digest, bytes):
        raise FormatError(f"{path!r}: a content hash is no blob")
    try:
        return ContentHash(digest, algorithm)
    except FormatError as exc:
        raise FormatError(f"{path!r}: {exc}") from exc


def _text(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _number(values: dict[bytes, bytes], key: bytes, default: int) -> int:
    try:
        return int(values[key]) if key in values else default
    except ValueError:
        raise FormatError(f"property {key.decode()} of the catalog is no number: {values[key][:80]!r}") from None
