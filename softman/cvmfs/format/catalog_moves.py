"""Moving rows from one catalog to another, when a nested catalog is split off or merged back.

Both writers must have their counters set anew afterwards; see ``nesting``.

Source: ``cvmfs/catalog_rw.cc`` of CernVM-FS 2.12.
"""

import sqlite3

from softman.cvmfs.format.catalog import sqlite_errors
from softman.cvmfs.format.catalog_rows import INSERT_ROW
from softman.cvmfs.format.hashes import path_hash

_INSERT_CHUNK = "INSERT INTO chunks VALUES (?, ?, ?, ?, ?)"
_MOVING = "FROM temp.moving m JOIN main.{table} c ON c.md5path_1=m.a AND c.md5path_2=m.b"
_SELECT = f"SELECT c.* {_MOVING} ORDER BY c.rowid"
_DELETE = f"DELETE FROM main.{{table}} WHERE rowid IN (SELECT c.rowid {_MOVING})"  # noqa: S608 - constants
_BELOW = """
WITH RECURSIVE below (a, b) AS (
  SELECT md5path_1, md5path_2 FROM main.catalog WHERE parent_1=? AND parent_2=?
  UNION ALL
  SELECT c.md5path_1, c.md5path_2 FROM below JOIN main.catalog c ON c.parent_1=below.a AND c.parent_2=below.b)
INSERT INTO temp.moving SELECT a, b FROM below
"""
_SHIFT_GROUPS = "UPDATE main.catalog SET hardlinks = hardlinks + (? << 32) WHERE hardlinks >> 32 <> 0"


def move_below(source: sqlite3.Connection, target: sqlite3.Connection, directory: bytes) -> None:
    """Move what lies below ``directory``: rows, chunks, nested catalogs and bind mountpoints. Its own row stays.

    Paths are stored as hashes only, so the rows are found by following the links from child to parent.
    """
    with sqlite_errors():
        source.execute("CREATE TEMP TABLE moving (a, b)")
        try:
            source.execute(_BELOW, path_hash(directory))
            for table, insert in (("catalog", INSERT_ROW), ("chunks", _INSERT_CHUNK)):
                target.executemany(insert, source.execute(_SELECT.format(table=table)))
                source.execute(_DELETE.format(table=table))
        finally:
            source.execute("DROP TABLE temp.moving")
        for table in ("nested_catalogs", "bind_mountpoints"):
            prefix = directory + b"/"
            below = "WHERE substr(CAST(path AS BLOB), 1, ?) = ?"
            rows = source.execute(f"SELECT path, sha1, size FROM {table} {below}", (len(prefix), prefix))  # noqa: S608 - constants
            target.executemany(f"INSERT INTO {table} VALUES (CAST(? AS TEXT), CAST(? AS TEXT), ?)", rows)  # noqa: S608 - same
            source.execute(f"DELETE FROM {table} {below}", (len(prefix), prefix))  # noqa: S608 - same


def shift_groups(connection: sqlite3.Connection, by: int) -> None:
    """Raise the numbers of all hard-link groups: they must be unique in the catalog that the rows go to."""
    if by:
        with sqlite_errors():
            connection.execute(_SHIFT_GROUPS, (by,))
