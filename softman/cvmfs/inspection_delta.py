"""The rows in which a catalog of a candidate differs from the one in force, in tables of their own.

A catalog with a hundred thousand rows of which one changed: recounting and rejoining all rows would take several times
as long as everything else of a commit. The catalog in force went through the same rules, so those that speak about few
rows at a time need to hold only where something differs (``scope``), and sums only follow the difference.

Unchanged rows keep their row id, so the tables are compared side by side in that order, which is that of the files;
what differs there is looked up by its key. This depends on nothing that the candidate says: a row that moved shows up
as one that differs, and is found to be the same.
"""

import sqlite3
from typing import Final

from softman.cvmfs.format.counters import COUNTER_NAMES, ROW_SUMS, Counters
from softman.cvmfs.format.entry import Flag

MAX_ROWS: Final = 10_000
"""Of which the difference may consist; beyond it looking at all rows is no slower."""

COLUMNS: Final = (
    "md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime, mtimens, flags, name, symlink, uid, "
    "gid, xattr"
)
NEW: Final = ", ".join(f"n.{column}" for column in COLUMNS.split(", "))
OLD: Final = ", ".join(f"o.{column}" for column in COLUMNS.split(", "))
JOIN: Final = "ON o.md5path_1=n.md5path_1 AND o.md5path_2=n.md5path_2"
_NO_DIRECTORY = f"flags & {1 | (Flag.NESTED_MOUNTPOINT | Flag.BIND_MOUNTPOINT).value} <> 1"

_CHUNKS = "SELECT md5path_1, md5path_2, offset, size, hash FROM {}.chunks"
CHANGED_CHUNKS: Final = (
    f"SELECT md5path_1, md5path_2 FROM ({_CHUNKS.format('main')} EXCEPT {_CHUNKS.format('base')}) UNION "  # noqa: S608 - columns of ours
    f"SELECT md5path_1, md5path_2 FROM ({_CHUNKS.format('base')} EXCEPT {_CHUNKS.format('main')})"
)
"""The keys of the files whose chunks differ."""

_BY_ROWID = (
    f"""CREATE TEMP TABLE new_rows AS SELECT {NEW}, o.rowid AS old_rowid
    FROM main.catalog n LEFT JOIN base.catalog o ON o.rowid=n.rowid WHERE ({NEW}) IS NOT ({OLD}) LIMIT :most""",  # noqa: S608 - columns of ours
    f"""CREATE TEMP TABLE old_rows AS SELECT {OLD} FROM base.catalog o
    WHERE o.rowid IN (SELECT old_rowid FROM temp.new_rows)
    UNION ALL SELECT * FROM (SELECT {OLD} FROM base.catalog o
    WHERE NOT EXISTS (SELECT 1 FROM main.catalog n WHERE n.rowid=o.rowid) LIMIT :most)""",  # noqa: S608 - columns of ours
)
_BY_KEY = (
    f"""CREATE TEMP TABLE same AS SELECT n.rowid AS id, n.md5path_1 AS a, n.md5path_2 AS b
    FROM temp.new_rows n JOIN base.catalog o {JOIN} WHERE ({NEW}) IS ({OLD})""",  # noqa: S608 - columns of ours
    "DELETE FROM temp.new_rows WHERE rowid IN (SELECT id FROM temp.same)",
    "DELETE FROM temp.old_rows WHERE (md5path_1, md5path_2) IN (SELECT a, b FROM temp.same)",
    f"CREATE TEMP TABLE changed_chunks AS {CHANGED_CHUNKS}",
)
_SCOPE = f"""CREATE TEMP TABLE scope AS
    SELECT {NEW} FROM temp.new_rows n
    UNION SELECT {NEW} FROM main.catalog n WHERE (md5path_1, md5path_2) IN (SELECT * FROM temp.changed_chunks)
    UNION SELECT {NEW} FROM temp.old_rows o LEFT JOIN main.catalog d ON d.md5path_1=o.md5path_1
    AND d.md5path_2=o.md5path_2 JOIN main.catalog n ON n.parent_1=o.md5path_1 AND n.parent_2=o.md5path_2
    WHERE o.flags & 1 AND (d.flags IS NULL OR d.{_NO_DIRECTORY})"""  # noqa: S608 - constants
_GROUPS = f"""INSERT INTO temp.scope SELECT {NEW} FROM main.catalog n
    JOIN (SELECT DISTINCT parent_1, parent_2, hardlinks >> 32 AS number FROM
    (SELECT * FROM temp.scope UNION ALL SELECT * FROM temp.old_rows) WHERE flags & 1 = 0 AND hardlinks >> 32 <> 0) g
    ON n.parent_1=g.parent_1 AND n.parent_2=g.parent_2 AND n.hardlinks >> 32 = g.number
    WHERE (n.md5path_1, n.md5path_2) NOT IN (SELECT md5path_1, md5path_2 FROM temp.scope)"""  # noqa: S608 - constants


def compare(connection: sqlite3.Connection) -> bool:
    """Leave the difference of ``main`` and ``base`` in temporary tables, if it is small.

    ``new_rows``: rows of ``main`` that are new or differ; ``old_rows``: rows of ``base`` that are gone or differ;
    ``changed_chunks``: keys; ``scope``: the rows of ``main`` for which something can have changed: ``new_rows``, files
    whose chunks changed, what was in directories that are none any more, and all members of hard-link groups concerned.

    Returns:
        Whether it is small.
    """
    connection.execute("PRAGMA query_only=OFF")  # temporary tables; the databases themselves are opened read-only
    try:
        for statement in _BY_ROWID:
            connection.execute(statement, {"most": MAX_ROWS + 1})
        counts = "SELECT (SELECT count(*) FROM temp.new_rows), (SELECT count(*) FROM temp.old_rows)"
        if max(connection.execute(counts).fetchone()) > MAX_ROWS:
            return False
        for statement in (*_BY_KEY, _SCOPE, _GROUPS):
            connection.execute(statement)
    finally:
        connection.execute("PRAGMA query_only=ON")
    return True


def own_counters(connection: sqlite3.Connection, before: Counters | None) -> list[int]:
    """What the rows of ``main`` add up to, in the order of ``COUNTER_NAMES``.

    Args:
        connection: after ``compare`` if ``before`` is given.
        before: what those of ``base`` add up to; None counts all rows.
    """
    if before is None:
        return [value or 0 for value in connection.execute(ROW_SUMS).fetchone()]
    new, old = (
        [value or 0 for value in connection.execute(ROW_SUMS.replace("main.catalog", f"temp.{table}")).fetchone()]
        for table in ("new_rows", "old_rows")
    )
    return [
        now if name in {"nested", "chunks"} else getattr(before, name) + now - then  # those have tables of their own
        for name, now, then in zip(COUNTER_NAMES, new, old, strict=True)
    ]
