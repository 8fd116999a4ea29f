"""What must hold in every catalog of a candidate, as SQL that looks at its rows at the speed of SQLite."""

from softman.cvmfs.format.entry import Flag
from softman.cvmfs.paths import MARKER

MOUNTPOINT = (Flag.NESTED_MOUNTPOINT | Flag.BIND_MOUNTPOINT).value

TYPES = (
    (
        "has values of the wrong type",
        """SELECT name FROM main.catalog WHERE typeof(md5path_1)<>'integer' OR typeof(md5path_2)<>'integer'
        OR typeof(parent_1)<>'integer' OR typeof(parent_2)<>'integer' OR typeof(hardlinks)<>'integer'
        OR typeof(size)<>'integer' OR typeof(mode)<>'integer' OR typeof(mtime)<>'integer'
        OR typeof(flags)<>'integer' OR typeof(name)<>'text' OR typeof(symlink)<>'text' OR typeof(uid)<>'integer'
        OR typeof(gid)<>'integer' OR mtimens IS NOT NULL AND typeof(mtimens)<>'integer'
        OR xattr IS NOT NULL AND typeof(xattr)<>'blob' OR hash IS NOT NULL AND typeof(hash)<>'blob' LIMIT 1""",
    ),
)
"""As ``RULES``, to be asked first, and of all rows: SQLite compares 1 and 1.0 as equal."""

# Each must give no row; the parameters are the key of the root directory, and whether the catalog is nested. Where
# {rows} stands the rows do not depend on others, or all that they depend on are in the scope of a difference
# (``inspection_delta``). Row ids are looked at because clients reserve as many inode numbers as the highest.
RULES = (
    (
        "has no parent directory in the catalog",
        f"""SELECT c.name FROM {{rows}} c LEFT JOIN main.catalog p
        ON p.md5path_1=c.parent_1 AND p.md5path_2=c.parent_2
        WHERE (p.flags IS NULL OR p.flags & 1 = 0 OR p.flags & {MOUNTPOINT} <> 0)
        AND NOT (c.md5path_1=:root_1 AND c.md5path_2=:root_2) LIMIT 1""",  # noqa: S608 - a number
    ),
    (
        "has a link count without being a hard link",
        "SELECT name FROM {rows} NOT INDEXED WHERE flags & 1 = 0 AND hardlinks >> 32 = 0 AND hardlinks <> 1 LIMIT 1",
    ),
    (
        "does not have as many links as its hard-link group has members",
        """SELECT name FROM {rows} NOT INDEXED WHERE flags & 1 = 0 AND hardlinks >> 32 <> 0
        GROUP BY parent_1, parent_2, hardlinks >> 32
        HAVING min(hardlinks & 0xffffffff) <> count(*) OR max(hardlinks & 0xffffffff) <> count(*) LIMIT 1""",
    ),
    (
        "is in a hard-link group whose members differ",
        """SELECT name FROM {rows} NOT INDEXED WHERE flags & 1 = 0 AND hardlinks >> 32 <> 0
        GROUP BY parent_1, parent_2, hardlinks >> 32
        HAVING min(size)<>max(size) OR min(mode)<>max(mode) OR min(mtime)<>max(mtime) OR min(flags)<>max(flags)
        OR min(symlink)<>max(symlink) OR min(uid)<>max(uid) OR min(gid)<>max(gid)
        OR count(DISTINCT hash)>1 OR count(hash) NOT IN (0, count(*))
        OR count(DISTINCT xattr)>1 OR count(xattr) NOT IN (0, count(*))
        OR count(DISTINCT mtimens)>1 OR count(mtimens) NOT IN (0, count(*)) LIMIT 1""",
    ),
    (
        "is in a hard-link group whose members have different chunks",
        f"""SELECT c.name FROM {{rows}} c JOIN main.chunks k ON k.md5path_1=c.md5path_1 AND k.md5path_2=c.md5path_2
        WHERE c.hardlinks >> 32 <> 0 AND c.flags & {Flag.CHUNKED.value}
        GROUP BY c.parent_1, c.parent_2, c.hardlinks >> 32
        HAVING count(*) <> max(c.hardlinks & 0xffffffff)
        * count(DISTINCT k.offset || '/' || k.size || '/' || hex(k.hash)) LIMIT 1""",  # noqa: S608 - a number
    ),
    (
        "is in a hard-link group of another directory",
        """SELECT name FROM main.catalog NOT INDEXED WHERE flags & 1 = 0 AND hardlinks >> 32 <> 0
        GROUP BY hardlinks >> 32 HAVING min(parent_1)<>max(parent_1) OR min(parent_2)<>max(parent_2) LIMIT 1""",
    ),
    (
        "marks a nested catalog where there is none",
        f"""SELECT name FROM {{rows}} NOT INDEXED WHERE name='{MARKER.decode()}'
        AND NOT (parent_1=:root_1 AND parent_2=:root_2 AND :nested AND flags & 29 = 4) LIMIT 1""",  # noqa: S608 - a constant
    ),
    (
        "has chunks of the wrong type",
        """SELECT 'some file' FROM main.chunks WHERE typeof(md5path_1)<>'integer' OR typeof(md5path_2)<>'integer'
        OR typeof(offset)<>'integer' OR typeof(size)<>'integer' OR typeof(hash)<>'blob' LIMIT 1""",
    ),
    (
        "has chunks, but is no chunked file",
        f"""SELECT coalesce(c.name, '?') FROM main.chunks k LEFT JOIN main.catalog c
        ON c.md5path_1=k.md5path_1 AND c.md5path_2=k.md5path_2
        WHERE c.flags IS NULL OR c.flags & {Flag.CHUNKED.value} = 0 LIMIT 1""",  # noqa: S608 - a number
    ),
    (
        "does not have a dense row id",
        """SELECT name FROM main.catalog WHERE rowid < 1
        OR rowid > (SELECT 2 * count(*) + 1024 FROM main.catalog) LIMIT 1""",
    ),
)
"""What is wrong, to be said after the name of an entry, and the query that finds such a name."""

_LINKS = "does not have as many links as sub-directories ask for"
LINKS = (
    _LINKS,
    f"""SELECT d.name FROM main.catalog d LEFT JOIN
    (SELECT parent_1, parent_2, count(*) AS n FROM main.catalog WHERE flags & 1 GROUP BY parent_1, parent_2) s
    ON s.parent_1=d.md5path_1 AND s.parent_2=d.md5path_2
    WHERE d.flags & 1 AND d.flags & {MOUNTPOINT} = 0 AND d.hardlinks <> 2 + coalesce(s.n, 0)
    LIMIT 1""",  # noqa: S608 - a number
)
"""As ``RULES``; of all rows."""
CHANGED_LINKS = (
    _LINKS,
    f"""SELECT d.name FROM (SELECT md5path_1 AS a, md5path_2 AS b FROM temp.new_rows
    UNION SELECT parent_1, parent_2 FROM temp.new_rows UNION SELECT parent_1, parent_2 FROM temp.old_rows) k
    JOIN main.catalog d ON d.md5path_1=k.a AND d.md5path_2=k.b
    LEFT JOIN base.catalog o ON o.md5path_1=k.a AND o.md5path_2=k.b AND o.flags & 1 AND o.flags & {MOUNTPOINT} = 0
    LEFT JOIN (SELECT parent_1, parent_2, sum(n) AS n FROM
    (SELECT parent_1, parent_2, 1 AS n FROM temp.new_rows WHERE flags & 1
    UNION ALL SELECT parent_1, parent_2, -1 FROM temp.old_rows WHERE flags & 1) GROUP BY parent_1, parent_2) s
    ON s.parent_1=k.a AND s.parent_2=k.b
    WHERE d.flags & 1 AND d.flags & {MOUNTPOINT} = 0 AND d.hardlinks <> coalesce(o.hardlinks, 2) + coalesce(s.n, 0)
    LIMIT 1""",  # noqa: S608 - a number
)
"""The same, of the directories that a difference concerns."""
