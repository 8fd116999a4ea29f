"""Changing one file catalog row by row, on an SQLite connection handed in.

The writer keeps what ``check`` recomputes in step with every change: the catalog's own counters, the link counts of
directories and those of hard-link groups. Nothing here knows about other catalogs; whoever changes a nested catalog
passes the difference of its counters up with ``set_counters``.

Source: ``cvmfs/catalog_rw.cc`` of CernVM-FS 2.12.
"""

import sqlite3

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format import xattrs
from softman.cvmfs.format.catalog import CatalogReader, sqlite_errors
from softman.cvmfs.format.counters import CatalogCounters, Counters
from softman.cvmfs.format.entry import DIRECTORY_SIZE, Entry, Flag
from softman.cvmfs.format.hashes import ContentHash, parent_hash, path_hash
from softman.cvmfs.format.schema import CATALOG_TABLES, PAGE_SIZE, SCHEMA, SCHEMA_REVISION

_UPSERT = """
INSERT INTO catalog (md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime, mtimens, flags,
                     name, symlink, uid, gid, xattr)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT), CAST(? AS TEXT), ?, ?, ?)
ON CONFLICT (md5path_1, md5path_2) DO UPDATE SET
  hardlinks=excluded.hardlinks, hash=excluded.hash, size=excluded.size, mode=excluded.mode, mtime=excluded.mtime,
  mtimens=excluded.mtimens, flags=excluded.flags, symlink=excluded.symlink, uid=excluded.uid, gid=excluded.gid,
  xattr=excluded.xattr
"""
_LEAVE_GROUP = """
UPDATE catalog SET hardlinks = CASE WHEN (hardlinks & 0xffffffff) <= 2 THEN 1 ELSE hardlinks - 1 END
WHERE parent_1=? AND parent_2=? AND (hardlinks >> 32)=? AND NOT (md5path_1=? AND md5path_2=?)
"""
_ROW_GAPS = 0.25
_FREE_PAGES = 0.20


class CatalogWriter(CatalogReader):
    """One catalog, changed in place.

    Args:
        connection: on the catalog's database, in autocommit mode (``isolation_level=None``); the caller begins and
            commits SQLite transactions.

    Raises:
        FormatError: as for ``CatalogReader``, or a schema revision other than 7.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        if self.properties.schema_revision != SCHEMA_REVISION:
            raise FormatError(
                f"catalogs of schema revision {self.properties.schema_revision} cannot be written; "
                f"{SCHEMA_REVISION} can"
            )
        stored = super().counters
        self._own = stored.own
        self._subtree = stored.subtree

    @property
    def counters(self) -> CatalogCounters:
        """The counters as of now; the table follows with ``finish``."""
        return CatalogCounters(self._own, self._subtree)

    def set_subtree_counters(self, subtree: Counters) -> None:
        """Replace the sums over the catalogs below this one."""
        self._subtree = subtree

    def put(self, entry: Entry) -> None:
        """Insert ``entry``, or replace the row at its path; the row id stays. Its directory must be there.

        The link count of a directory is kept when it replaces a directory. A row that leaves its hard-link group makes
        the group smaller.
        """
        old = self.lookup(entry.path)
        key, parent = path_hash(entry.path), parent_hash(entry.path)
        linkcount = old.linkcount if old is not None and old.is_dir and entry.is_dir else entry.linkcount
        with sqlite_errors():
            if old is not None and old.hardlink_group not in {0, entry.hardlink_group}:
                self._db.execute(_LEAVE_GROUP, (*parent, old.hardlink_group, *key))
            self._db.execute(_UPSERT, (*key, *parent, entry.hardlink_group << 32 | linkcount, *_columns(entry)))
            if entry.chunks or (old is not None and old.chunks):
                self._put_chunks(entry)
            self._count_subdirectory(entry.path, int(entry.is_dir) - int(old is not None and old.is_dir))
        self._own += Counters.of(entry)
        if old is not None:
            self._own -= Counters.of(old)

    def delete(self, entry: Entry) -> None:
        """Take out the row of ``entry``, which must be in the catalog and, if a directory, have no children."""
        key, parent = path_hash(entry.path), parent_hash(entry.path)
        with sqlite_errors():
            if entry.hardlink_group:
                self._db.execute(_LEAVE_GROUP, (*parent, entry.hardlink_group, *key))
            self._db.execute("DELETE FROM catalog WHERE md5path_1=? AND md5path_2=?", key)
            if entry.chunks:
                self._db.execute("DELETE FROM chunks WHERE md5path_1=? AND md5path_2=?", key)
            self._count_subdirectory(entry.path, -int(entry.is_dir))
        self._own -= Counters.of(entry)

    def finish(self, *, revision: int, last_modified: int, previous: ContentHash | None, ttl: int | None) -> None:
        """Write counters and properties.

        Args:
            revision: the catalog's own revision.
            last_modified: Unix time, seconds.
            previous: the catalog that this one replaces; None for a new one.
            ttl: seconds, for the root catalog; None for a nested one.
        """
        values: dict[str, str | int] = {"revision": revision, "last_modified": last_modified}
        if previous is not None:
            values["previous_revision"] = str(previous)
        if ttl is not None:
            values["TTL"] = ttl
        with sqlite_errors():
            self._db.executemany("INSERT OR REPLACE INTO properties (key, value) VALUES (?, ?)", values.items())
            self._db.executemany(
                "INSERT OR REPLACE INTO statistics (counter, value) VALUES (?, ?)", self.counters.rows()
            )

    def compact(self) -> None:
        """Close gaps in the row ids and give free pages back, when there are many (25 % and 20 %, as stock does).

        Clients derive inode numbers from row ids and reserve as many as the highest, so they must stay dense. Outside
        of SQLite transactions only.
        """
        with sqlite_errors():
            highest, rows = self._db.execute("SELECT coalesce(max(rowid), 0), count(*) FROM catalog").fetchone()
            if highest - rows > _ROW_GAPS * highest:
                # VACUUM keeps the row ids of tables that have an index, so the rows are filed anew.
                self._db.execute("BEGIN")
                self._db.execute("CREATE TEMP TABLE refiled AS SELECT * FROM main.catalog ORDER BY rowid")
                self._db.execute("DELETE FROM main.catalog")
                self._db.execute("INSERT INTO main.catalog SELECT * FROM temp.refiled ORDER BY rowid")
                self._db.execute("DROP TABLE temp.refiled")
                self._db.execute("COMMIT")
            pages = self._db.execute("PRAGMA main.page_count").fetchone()[0]
            free = self._db.execute("PRAGMA main.freelist_count").fetchone()[0]
            if free > _FREE_PAGES * pages:
                self._db.execute("VACUUM main")

    def _put_chunks(self, entry: Entry) -> None:
        key = path_hash(entry.path)
        self._db.execute("DELETE FROM chunks WHERE md5path_1=? AND md5path_2=?", key)
        self._db.executemany(
            "INSERT INTO chunks (md5path_1, md5path_2, offset, size, hash) VALUES (?, ?, ?, ?, ?)",
            ((*key, chunk.offset, chunk.size, chunk.hash.digest) for chunk in entry.chunks),
        )

    def _count_subdirectory(self, path: bytes, change: int) -> None:
        if change:
            self._db.execute(
                "UPDATE catalog SET hardlinks = hardlinks + ? WHERE md5path_1=? AND md5path_2=?",
                (change, *parent_hash(path)),
            )


def _columns(entry: Entry) -> tuple[object, ...]:
    """The row's values from column ``hash`` on."""
    return (
        None if entry.hash is None else entry.hash.digest,
        entry.size,
        entry.mode,
        entry.mtime,
        entry.mtime_ns,
        entry.flags,
        entry.name,
        entry.symlink,
        entry.uid,
        entry.gid,
        xattrs.encode(entry.xattrs),
    )


def create_catalog(connection: sqlite3.Connection, root: Entry) -> CatalogWriter:
    """Make the tables of a new catalog on an empty database, with the row of its root directory.

    Args:
        connection: on an empty database, in autocommit mode.
        root: the entry of the catalog's root directory; for anything but the repository root it must carry
            ``Flag.NESTED_ROOT``, and becomes the property ``root_prefix``.

    Returns:
        The writer; ``finish`` must be called before the database is used.
    """
    with sqlite_errors():
        connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode=MEMORY")
        connection.execute("BEGIN")
        for statement in CATALOG_TABLES:
            connection.execute(statement)
        properties = [("schema", SCHEMA.encode()), ("schema_revision", str(SCHEMA_REVISION).encode())]
        if root.path:
            properties.append(("root_prefix", root.path))
        connection.executemany("INSERT INTO properties (key, value) VALUES (?, CAST(? AS TEXT))", properties)
        connection.executemany("INSERT INTO statistics (counter, value) VALUES (?, ?)", CatalogCounters().rows())
    writer = CatalogWriter(connection)
    writer.put(root)
    with sqlite_errors():
        connection.execute("COMMIT")
    return writer


def root_entry(now: int) -> Entry:
    """The root directory of a new repository, as the stock tools make it. ``now`` is its time of modification."""
    return Entry(path=b"", mode=0o040755, size=DIRECTORY_SIZE, mtime=now, linkcount=2, flags=Flag.DIRECTORY.value)
