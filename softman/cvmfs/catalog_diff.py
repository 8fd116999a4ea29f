"""Two catalogs for the same place, compared by SQL: only entries that differ, and the way to them, are looked at.

Rows are compared as they are, so whatever is equal in its row is equal as an entry; what differs there need not differ
for a reader, which is for the caller to say. The difference is kept in a table on disk: memory does not grow with it.
"""
# ruff: noqa: S608 - SQL made of constants

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

from softman.cvmfs.base_catalogs import read_only_uri
from softman.cvmfs.catalogs import OpenCatalog, connect_read_only
from softman.cvmfs.format.catalog import sqlite_errors
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import path_hash
from softman.cvmfs.format.schema import SCHEMA_REVISION
from softman.cvmfs.inspection_delta import CHANGED_CHUNKS, NEW, OLD
from softman.cvmfs.snapshot import Snapshot

Pair = tuple[Entry | None, Entry | None]
"""The old and the new entry at one path."""

_COLUMNS: Final = 16
_VISIT = """CREATE TEMP TABLE visit (parent_1, parent_2, key_1, key_2,
    PRIMARY KEY (parent_1, parent_2, key_1, key_2)) WITHOUT ROWID"""
_ADD = "INSERT OR IGNORE INTO temp.visit"
_FIND = (
    # Rows keep their row id: side by side, in the order of the files.
    f"""{_ADD} SELECT n.parent_1, n.parent_2, n.md5path_1, n.md5path_2 FROM main.catalog n
    LEFT JOIN base.catalog o ON o.rowid=n.rowid WHERE ({NEW}) IS NOT ({OLD})""",
    f"""{_ADD} SELECT o.parent_1, o.parent_2, o.md5path_1, o.md5path_2 FROM base.catalog o
    LEFT JOIN main.catalog n ON n.rowid=o.rowid WHERE ({NEW}) IS NOT ({OLD})""",
    # Those whose row id changed.
    f"""DELETE FROM temp.visit WHERE EXISTS (SELECT 1 FROM main.catalog n JOIN base.catalog o
    ON o.md5path_1=visit.key_1 AND o.md5path_2=visit.key_2
    WHERE n.md5path_1=visit.key_1 AND n.md5path_2=visit.key_2 AND ({NEW}) IS ({OLD}))""",
    f"""{_ADD} SELECT parent_1, parent_2, md5path_1, md5path_2 FROM main.catalog
    WHERE (md5path_1, md5path_2) IN ({CHANGED_CHUNKS})""",
)
_MOUNTED = "SELECT path, sha1 FROM {}.nested_catalogs"
_CHANGED_MOUNTED = (
    f"SELECT path FROM ({_MOUNTED.format('main')} EXCEPT {_MOUNTED.format('base')}) UNION "
    f"SELECT path FROM ({_MOUNTED.format('base')} EXCEPT {_MOUNTED.format('main')})"
)
_CLIMB = f"""WITH RECURSIVE above(a, b, key_1, key_2) AS (
    SELECT d.parent_1, d.parent_2, d.md5path_1, d.md5path_2 FROM temp.visit v
    JOIN (SELECT * FROM {{0}}.catalog) d ON d.md5path_1=v.parent_1 AND d.md5path_2=v.parent_2
    UNION SELECT d.parent_1, d.parent_2, d.md5path_1, d.md5path_2 FROM above
    JOIN {{0}}.catalog d ON d.md5path_1=above.a AND d.md5path_2=above.b)
    {_ADD} SELECT * FROM above"""
_CHILDREN = f"""SELECT {OLD}, {NEW} FROM temp.visit v
    LEFT JOIN base.catalog o ON o.md5path_1=v.key_1 AND o.md5path_2=v.key_2
    LEFT JOIN main.catalog n ON n.md5path_1=v.key_1 AND n.md5path_2=v.key_2
    WHERE v.parent_1=? AND v.parent_2=? ORDER BY coalesce(n.name, o.name)"""


class CatalogPair:
    """The catalogs that hold a directory in two revisions. To be closed.

    Args:
        old: one revision.
        new: the other.
        directory: its mountpoint, or any directory in it.

    Raises:
        CvmfsError: a catalog is missing or damaged.
    """

    def __init__(self, old: Snapshot, new: Snapshot, directory: bytes) -> None:
        with ExitStack() as using:
            self._old = using.enter_context(old.holding(directory))
            self._new = using.enter_context(new.holding(directory))
            self.is_comparable = _comparable(self._old, self._new)
            """Whether they belong to the same place and have the same columns; nothing else can be asked if not."""
            if self.is_comparable:
                self._db = connect_read_only(self._new.database)
                using.callback(self._db.close)
                self._compare()
            self._using = using.pop_all()

    def close(self) -> None:
        """Let the catalogs go."""
        self._using.close()

    def children(self, directory: bytes) -> Iterator[Pair]:
        """Of the entries of a directory in the catalogs those that differ or lead to such, by the order of names.

        Raises:
            FormatError: a row breaks the format.
        """
        with sqlite_errors():
            cursor = self._db.execute(_CHILDREN, path_hash(directory))
        while True:
            with sqlite_errors():
                row = cursor.fetchone()
            if row is None:
                return
            old, new = row[:_COLUMNS], row[_COLUMNS:]
            yield (
                None if old[0] is None else self._old.reader.entry_of(old, directory),
                None if new[0] is None else self._new.reader.entry_of(new, directory),
            )

    def _compare(self) -> None:
        with sqlite_errors():
            self._db.text_factory = bytes
            self._db.execute("ATTACH ? AS base", (read_only_uri(self._old.database.absolute()),))
            self._db.execute("PRAGMA query_only=OFF")  # for temporary tables: the databases are opened read-only
            for statement in (_VISIT, *_FIND):
                self._db.execute(statement)
            for (path,) in self._db.execute(_CHANGED_MOUNTED).fetchall():
                key = (*path_hash(path.rpartition(b"/")[0]), *path_hash(path))
                self._db.execute(f"{_ADD} VALUES (?, ?, ?, ?)", key)
            for database in ("main", "base"):
                self._db.execute(_CLIMB.format(database))
            self._db.execute("PRAGMA query_only=ON")


def _comparable(old: OpenCatalog, new: OpenCatalog) -> bool:
    return old.reader.root_path == new.reader.root_path and all(
        catalog.reader.properties.schema_revision == SCHEMA_REVISION for catalog in (old, new)
    )
