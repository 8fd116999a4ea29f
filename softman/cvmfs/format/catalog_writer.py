"""Changing one file catalog row by row, on an SQLite connection handed in.

The writer keeps what ``check`` recomputes in step with every change: the catalog's own counters, the link counts of
directories and those of hard-link groups. Nothing here knows about other catalogs; whoever changes a nested catalog
passes the difference of its counters up with ``set_subtree_counters``.

Source: ``cvmfs/catalog_rw.cc`` of CernVM-FS 2.12.
"""

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.catalog import CatalogReader, NestedCatalog, sqlite_errors
from softman.cvmfs.format.catalog_rows import FINGERPRINT_BITS, INSERT_ROW, Row, columns_of, fingerprint
from softman.cvmfs.format.counters import ROW_SUMS, CatalogCounters, Counters
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
_ADD_LINKS = "UPDATE catalog SET hardlinks = hardlinks + ? WHERE md5path_1=? AND md5path_2=?"
_MOUNT = "INSERT OR REPLACE INTO nested_catalogs (path, sha1, size) VALUES (CAST(? AS TEXT), ?, ?)"
_MOST_WAITING = 512
_MOST_ABSENT = 4096
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
        self._waiting: dict[bytes, tuple[Row, Entry]] = {}
        self._absent: set[bytes] = set()
        super().__init__(connection)
        if self.properties.schema_revision != SCHEMA_REVISION:
            raise FormatError(
                f"catalogs of schema revision {self.properties.schema_revision} cannot be written; "
                f"{SCHEMA_REVISION} can"
            )
        stored = super().counters
        self._own = stored.own
        self._subtree = stored.subtree
        self._last_group: int | None = None
        self.changes = 0
        """0 as long as the rows are those the catalog had when it was opened, whatever was done and undone meanwhile.

        Link counts of directories, which follow from other rows, do not count. Settable, for a catalog opened again.
        """
        self.touched = False
        """Whether anything was written at all."""

    @property
    def _db(self) -> sqlite3.Connection:
        """The connection, when all is in it. Whoever asks may change rows by it, so nothing is known to be absent."""
        self._enter()
        self._absent.clear()
        return self._connection

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection that was handed in; to be asked for each time, since rows wait to be entered together."""
        return self._db

    def lookup(self, path: bytes) -> Entry | None:
        """See ``CatalogReader.lookup``; what waits to be entered is there."""
        if path in self._absent:
            return None
        waiting = self._waiting.get(path)
        entry = super().lookup(path) if waiting is None else waiting[1]
        if entry is None and len(self._absent) < _MOST_ABSENT:
            self._absent.add(path)  # it is looked up again before it is put
        return entry

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
        self.replace(self.lookup(entry.path), entry)

    def replace(self, old: Entry | None, entry: Entry) -> None:
        """As ``put``, with the row that is there at hand. ``old`` is None when there is none."""
        if old is not None and old.hardlink_group not in {0, entry.hardlink_group}:
            self._leave_group(old)
        self._write(old, entry)

    def insert(self, rows: Iterable[Row], added: Counters, fingerprint_sum: int) -> None:
        """Insert many rows that are new, of which none is a directory or has chunks. Their directories must be there.

        Args:
            rows: see ``catalog_rows``.
            added: what they add up to.
            fingerprint_sum: of their fingerprints.

        Raises:
            FormatError: there is a row for one of the paths already. The catalog is of no use then.
        """
        with sqlite_errors():
            self._db.executemany(INSERT_ROW, rows)
        self._own += added
        self._changed(fingerprint_sum)

    def delete(self, entry: Entry) -> None:
        """Take out the row of ``entry``, which must be in the catalog and, if a directory, have no children."""
        if entry.hardlink_group:
            self._leave_group(entry)
        self.discard(entry)

    def discard(self, entry: Entry) -> None:
        """As ``delete``, but its hard-link group is left as it is: for rows that all go, or come back elsewhere."""
        key = path_hash(entry.path)
        with sqlite_errors():
            self._db.execute("DELETE FROM catalog WHERE md5path_1=? AND md5path_2=?", key)
            if entry.chunks:
                self._db.execute("DELETE FROM chunks WHERE md5path_1=? AND md5path_2=?", key)
            self._count_subdirectory(entry.path, -int(entry.is_dir))
        self._own -= Counters.of(entry)
        self._changed(-fingerprint(entry))

    def group(self, entry: Entry) -> list[Entry]:
        """The members of the hard-link group of ``entry``, itself included."""
        sql = self._select + "WHERE parent_1=? AND parent_2=? AND (hardlinks >> 32)=?"
        with sqlite_errors():
            rows = self._db.execute(sql, (*parent_hash(entry.path), entry.hardlink_group)).fetchall()
        return [self.entry_of(row, entry.parent) for row in rows]

    @property
    def last_group(self) -> int:
        """The highest number that a hard-link group of this catalog has, or had since it was opened; 0 without any."""
        if self._last_group is None:
            with sqlite_errors():
                row = self._db.execute("SELECT coalesce(max(hardlinks >> 32), 0) FROM catalog").fetchone()
            self._last_group = int(row[0])
        return self._last_group

    def new_group(self) -> int:
        """A number for a new hard-link group."""
        self._last_group = self.last_group + 1
        return self._last_group

    def add_to_group(self, member: Entry, path: bytes) -> None:
        """Make a hard link to ``member``, which is in the catalog, at ``path``, which is free and in its directory."""
        members = self.group(member) if member.hardlink_group else [member]
        number, count = member.hardlink_group or self.new_group(), len(members) + 1
        for other in members:
            self._write(other, replace(other, hardlink_group=number, linkcount=count))
        self._write(None, replace(member, path=path, hardlink_group=number, linkcount=count))

    def set_own_counters(self, own: Counters) -> None:
        """Replace the sums over this catalog's own rows, after rows were moved by other means."""
        self._own = own
        self.touched = True

    def directories(self) -> Iterator[tuple[tuple[int, int], tuple[int, int], bytes, int]]:
        """Key, parent's key, name and flags of every directory but the catalog's root."""
        sql = "SELECT md5path_1, md5path_2, parent_1, parent_2, name, flags FROM catalog WHERE flags & 1"
        root = path_hash(self.root_path)
        with sqlite_errors():
            for a, b, parent_a, parent_b, name, flags in self._db.execute(sql):
                if (a, b) != root:
                    yield (a, b), (parent_a, parent_b), name, flags

    def file_counts(self) -> Iterator[tuple[tuple[int, int], int]]:
        """How many entries that are no directories each directory has, by its key."""
        sql = "SELECT parent_1, parent_2, count(*) FROM catalog WHERE flags & 1 = 0 GROUP BY parent_1, parent_2"
        with sqlite_errors():
            for a, b, count in self._db.execute(sql):
                yield (a, b), count

    def add_links(self, path: bytes, change: int) -> None:
        """Change the link count of the directory at ``path``, whose sub-directories are in another catalog."""
        with sqlite_errors():
            self._db.execute(_ADD_LINKS, (change, *path_hash(path)))
        self.touched = True

    def mount(self, nested: NestedCatalog) -> None:
        """Register the catalog of a mountpoint, in place of any that is registered there."""
        if self.nested_at(nested.path) is None:
            self._own += Counters(nested=1)
        with sqlite_errors():
            self._db.execute(_MOUNT, (nested.path, str(nested.hash), nested.size))
        self.touched = True

    def unmount(self, path: bytes) -> None:
        """Take the catalog that is registered at ``path`` out of the list; its mountpoint is another matter."""
        with sqlite_errors():
            self._db.execute("DELETE FROM nested_catalogs WHERE path=CAST(? AS TEXT)", (path,))
        self._own -= Counters(nested=1)
        self.touched = True

    def recount(self) -> None:
        """Count the catalog's own rows anew, after rows were moved by other means."""
        with sqlite_errors():
            row = self._db.execute(ROW_SUMS).fetchone()
        self._own = Counters(*(value or 0 for value in row))
        self._last_group = None
        self.touched = True

    def _leave_group(self, entry: Entry) -> None:
        others = [member for member in self.group(entry) if member.path != entry.path]
        for other in others:
            number = other.hardlink_group if len(others) > 1 else 0
            self._write(other, replace(other, hardlink_group=number, linkcount=len(others)))

    def _write(self, old: Entry | None, entry: Entry) -> None:
        key, parent = path_hash(entry.path), parent_hash(entry.path)
        linkcount = old.linkcount if old is not None and old.is_dir and entry.is_dir else entry.linkcount
        columns = columns_of(entry)
        row = (*key, *parent, entry.hardlink_group << 32 | linkcount, *columns)
        if old is None and not (entry.is_dir or entry.chunks):
            self._absent.discard(entry.path)
            self._waiting[entry.path] = row, entry
            if len(self._waiting) >= _MOST_WAITING:
                self._enter()
            self._own += Counters.of(entry)
            self._changed(fingerprint(entry, columns))
            return
        with sqlite_errors():
            self._db.execute(_UPSERT, row)
            if entry.chunks or (old is not None and old.chunks):
                self._put_chunks(entry)
            self._count_subdirectory(entry.path, int(entry.is_dir) - int(old is not None and old.is_dir))
        self._own += Counters.of(entry)
        difference = fingerprint(entry, columns)
        if old is not None:
            self._own -= Counters.of(old)
            difference -= fingerprint(old)
        self._changed(difference)

    def _enter(self) -> None:
        """Enter the rows that wait: a statement for each would have to wait for Python's lock after each."""
        if self._waiting:
            rows = [row for row, _ in self._waiting.values()]
            self._waiting.clear()
            with sqlite_errors():
                self._connection.executemany(_UPSERT, rows)

    def _changed(self, difference: int) -> None:
        self.changes = (self.changes + difference) % (1 << FINGERPRINT_BITS)
        self.touched = True

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
        self.save_counters()

    def save_counters(self) -> None:
        """Write the counters, for a catalog that is closed before it is finished."""
        with sqlite_errors():
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
            self._db.execute(_ADD_LINKS, (change, *parent_hash(path)))


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
