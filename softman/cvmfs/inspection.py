"""What stratum 0 asks of a candidate catalog before it signs it: a comparison with the catalog in force.

The candidate is hostile until proven otherwise. Sums and links are recomputed for all rows in SQL, at the speed of
SQLite; only rows that differ from the base are looked at one by one, as the base went through the same checks. Runs in
a process of its own (``candidate``), because SQLite itself meets bytes that a stranger made.
"""

import sqlite3
import stat
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from softman.cvmfs.check import chunk_problems
from softman.cvmfs.errors import CandidateRejected, FormatError, PathError
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.counters import COUNTER_NAMES, CatalogCounters, Counters
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import HashAlgorithm
from softman.cvmfs.format.schema import CATALOG_TABLES, SCHEMA_REVISION
from softman.cvmfs.paths import MAX_PATH, check_writable

MAX_CLOCK_SKEW = 24 * 3600
"""Seconds that a publisher's clock may be ahead."""

_OWN_PROPERTIES = frozenset({b"revision", b"last_modified", b"previous_revision", b"TTL"})
_SET_ID = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_KIND_BITS = ~(0x700 | 0x3800 | Flag.CHUNKED.value)
_MOUNTPOINT = (Flag.NESTED_MOUNTPOINT | Flag.BIND_MOUNTPOINT).value
_TYPES = {
    Flag.DIRECTORY.value: stat.S_IFDIR,
    Flag.FILE.value: stat.S_IFREG,
    Flag.FILE.value | Flag.SYMLINK.value: stat.S_IFLNK,
}
_ALL = (
    "md5path_1, md5path_2, parent_1, parent_2, hardlinks, hash, size, mode, mtime, mtimens, flags, name, symlink, uid, "
    "gid, xattr"
)
_NEW = ", ".join(f"n.{column}" for column in _ALL.split(", "))
_OLD = ", ".join(f"o.{column}" for column in _ALL.split(", "))
_JOIN = "ON o.md5path_1=n.md5path_1 AND o.md5path_2=n.md5path_2"

# Each must give no row. Row ids are looked at because clients reserve as many inode numbers as the highest.
_RULES = (
    (
        "has values of the wrong type",
        """SELECT name FROM main.catalog WHERE typeof(md5path_1)<>'integer' OR typeof(md5path_2)<>'integer'
        OR typeof(parent_1)<>'integer' OR typeof(parent_2)<>'integer' OR typeof(hardlinks)<>'integer'
        OR typeof(size)<>'integer' OR typeof(mode)<>'integer' OR typeof(mtime)<>'integer'
        OR typeof(flags)<>'integer' OR typeof(name)<>'text' OR typeof(symlink)<>'text' OR typeof(uid)<>'integer'
        OR typeof(gid)<>'integer' OR typeof(mtimens) NOT IN ('integer', 'null') OR typeof(xattr) NOT IN ('blob', 'null')
        OR typeof(hash) NOT IN ('blob', 'null') LIMIT 1""",
    ),
    (
        "has no parent directory in the catalog",
        f"""SELECT c.name FROM main.catalog c LEFT JOIN main.catalog p
        ON p.md5path_1=c.parent_1 AND p.md5path_2=c.parent_2
        WHERE (p.flags IS NULL OR p.flags & 1 = 0 OR p.flags & {_MOUNTPOINT} <> 0)
        AND NOT (c.parent_1=0 AND c.parent_2=0 AND c.name='') LIMIT 1""",  # noqa: S608 - a number
    ),
    (
        "does not have as many links as sub-directories ask for",
        f"""SELECT d.name FROM main.catalog d LEFT JOIN
        (SELECT parent_1, parent_2, count(*) AS n FROM main.catalog WHERE flags & 1 GROUP BY parent_1, parent_2) s
        ON s.parent_1=d.md5path_1 AND s.parent_2=d.md5path_2
        WHERE d.flags & 1 AND d.flags & {_MOUNTPOINT} = 0 AND d.hardlinks <> 2 + coalesce(s.n, 0)
        LIMIT 1""",  # noqa: S608 - a number
    ),
    (
        "has a link count without being a hard link",
        "SELECT name FROM main.catalog WHERE flags & 1 = 0 AND hardlinks >> 32 = 0 AND hardlinks <> 1 LIMIT 1",
    ),
    (
        "does not have as many links as its hard-link group has members",
        """SELECT name FROM main.catalog WHERE flags & 1 = 0 AND hardlinks >> 32 <> 0
        GROUP BY parent_1, parent_2, hardlinks >> 32
        HAVING min(hardlinks & 0xffffffff) <> count(*) OR max(hardlinks & 0xffffffff) <> count(*) LIMIT 1""",
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


@dataclass(frozen=True, slots=True)
class Terms:
    """What a candidate must keep to. ``lease_path`` is the directory that may change, ``b""`` for everything."""

    base_revision: int
    base_root_hash: str
    ttl: int
    now: int
    algorithm: HashAlgorithm
    max_entries: int
    max_bytes: int
    lease_path: bytes = b""


@dataclass(frozen=True, slots=True)
class Findings:
    """What an accepted candidate adds up to, and which objects it brings (hash text with the kind's letter)."""

    entries: int
    bytes: int
    objects: tuple[str, ...]


class Inspection:
    """The comparison of a candidate with its base.

    Args:
        connection: with the candidate as ``main`` and the catalog in force as ``base``, both read-only.
        terms: what to keep to.
    """

    def __init__(self, connection: sqlite3.Connection, terms: Terms) -> None:
        self._db = connection
        self._terms = terms
        self._paths: dict[tuple[int, int], bytes] = {}
        connection.text_factory = bytes

    def run(self) -> Findings:
        """Make all checks.

        Raises:
            CandidateRejected: one fails; the message says which, and where.
            sqlite3.OperationalError: there is no room for scratch files.
        """
        try:
            self._check_database()
            self._new = CatalogReader(self._db)
            self._check_properties()
            self._check_same("nested_catalogs", "a nested catalog was added, removed or changed")
            self._check_same("bind_mountpoints", "a bind mountpoint was added, removed or changed")
            for problem, sql in _RULES:
                row = self._db.execute(sql).fetchone()
                if row is not None:
                    raise CandidateRejected(f"the entry named {_shown(row[0])} {problem}")
            root = self._new.lookup(b"")
            if root is None or not root.is_dir:
                raise CandidateRejected("the candidate has no root directory")
            counters = self._check_counters()
            self._check_removed()
            with closing(self._changed_rows()) as rows:
                objects = {name: None for row in rows for name in self._check_row(row)}
        except FormatError as exc:
            raise CandidateRejected(f"the candidate breaks the format: {exc}") from exc
        except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as exc:
            if getattr(exc, "sqlite_errorcode", None) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
                raise  # no room for scratch files
            raise CandidateRejected(f"the candidate is damaged: {exc}") from exc
        return Findings(counters.total.entries, counters.total.file_size, tuple(objects))

    def _check_database(self) -> None:
        # The tables first: the integrity check would evaluate expressions in a foreign schema. It also compares the
        # indexes with the tables, which `quick_check` leaves out, and everything below goes through the indexes.
        found = sorted(self._schema("main"))
        if found not in (sorted(_normal(statement) for statement in CATALOG_TABLES), sorted(self._schema("base"))):
            raise CandidateRejected("the candidate has other tables than a catalog has, or triggers or views")
        problem = self._db.execute("PRAGMA main.integrity_check(1)").fetchone()
        if problem is None or _text(problem[0]) != "ok":
            raise CandidateRejected(f"the candidate is damaged: {_shown(problem[0] if problem else 'no answer')}")

    def _schema(self, database: str) -> Iterator[str]:
        for kind, name, sql in self._db.execute(f"SELECT type, name, sql FROM {database}.sqlite_master"):  # noqa: S608
            if sql is not None or not _text(name).startswith("sqlite_autoindex_") or _text(kind) != "index":
                yield _normal(_text(sql))

    def _check_properties(self) -> None:
        terms, found = self._terms, self._new.properties
        previous = found.previous_revision
        base = dict(self._db.execute("SELECT key, value FROM base.properties").fetchall())
        mine = dict(self._db.execute("SELECT key, value FROM main.properties").fetchall())
        for key in sorted((base.keys() | mine.keys()) - _OWN_PROPERTIES):
            if _text(base.get(key)) != _text(mine.get(key)):
                raise CandidateRejected(f"property {_shown(key)} was changed")
        if found.schema_revision != SCHEMA_REVISION or found.root_prefix:
            raise CandidateRejected("the candidate is no root catalog of schema revision 7")
        if found.revision != terms.base_revision + 1:
            raise CandidateRejected(f"the candidate is revision {found.revision}, not {terms.base_revision + 1}")
        if previous is None or str(previous) != terms.base_root_hash:
            raise CandidateRejected(f"the candidate follows on {previous}, not on {terms.base_root_hash}")
        if found.ttl != terms.ttl:
            raise CandidateRejected(f"the candidate has a TTL of {found.ttl} s, not {terms.ttl} s")
        earliest = int(base.get(b"last_modified", 0))
        if not earliest <= found.last_modified <= max(earliest, terms.now + MAX_CLOCK_SKEW):
            raise CandidateRejected(f"the candidate was modified at {found.last_modified}, which cannot be")

    def _check_same(self, table: str, problem: str) -> None:
        for new, old in (("main", "base"), ("base", "main")):
            sql = f"SELECT * FROM {new}.{table} EXCEPT SELECT * FROM {old}.{table} LIMIT 1"  # noqa: S608 - constants
            row = self._db.execute(sql).fetchone()
            if row is not None:
                raise CandidateRejected(f"{_shown(row[0])}: {problem}")

    def _check_counters(self) -> CatalogCounters:
        stored = self._new.counters
        rows = dict(self._db.execute("SELECT counter, value FROM base.statistics").fetchall())
        base = CatalogCounters.from_rows({_text(name): value for name, value in rows.items()})
        names = {_text(row[0]) for row in self._db.execute("SELECT counter FROM main.statistics")}
        if names != {name for name, _ in stored.rows()}:
            raise CandidateRejected("the candidate has other counters than a catalog has")
        if stored.subtree != base.subtree:
            raise CandidateRejected("the counters of nested catalogs were changed")
        actual = self._recount()
        for name in COUNTER_NAMES:
            if getattr(stored.own, name) != getattr(actual, name):
                raise CandidateRejected(
                    f"counter self_{name} is {getattr(stored.own, name)}, should be {getattr(actual, name)}"
                )
        limits = (("entries", self._terms.max_entries), ("file_size", self._terms.max_bytes))
        for name, limit in limits:
            value, before = getattr(stored.total, name), getattr(base.total, name)
            if value > limit and value > before:  # shrinking is always possible
                what = "entries" if name == "entries" else "bytes"
                raise CandidateRejected(f"quota: {value} {what} in the repository, {limit} are possible")
        return stored

    def _recount(self) -> Counters:
        row = self._db.execute(
            """SELECT sum(flags & 1 = 0 AND flags & 24 = 0), sum(flags & 1 = 0 AND flags & 24 = 8),
            sum(flags & 1 = 0 AND flags & 16 <> 0), sum(flags & 1), 0, sum(flags & 93 = 68), 0,
            sum(CASE WHEN flags & 29 = 4 THEN size ELSE 0 END), sum(CASE WHEN flags & 93 = 68 THEN size ELSE 0 END),
            sum(xattr IS NOT NULL), sum(flags & 157 = 132), sum(CASE WHEN flags & 157 = 132 THEN size ELSE 0 END)
            FROM main.catalog"""
        ).fetchone()
        chunks = self._db.execute("SELECT count(*) FROM main.chunks").fetchone()[0]
        nested = self._db.execute("SELECT count(*) FROM main.nested_catalogs").fetchone()[0]
        values = [value or 0 for value in row]
        values[COUNTER_NAMES.index("chunks")] = chunks
        values[COUNTER_NAMES.index("nested")] = nested
        return Counters(*values)

    def _check_removed(self) -> None:
        sql = (
            "SELECT o.parent_1, o.parent_2, o.name, o.flags FROM base.catalog o LEFT JOIN main.catalog n "  # noqa: S608
            f"{_JOIN} WHERE n.md5path_1 IS NULL"
        )
        for parent_1, parent_2, name, flags in self._db.execute(sql):
            if flags & _MOUNTPOINT:
                raise CandidateRejected(f"the mountpoint {_shown(name)} was removed")
            if self._terms.lease_path:
                self._check_lease(self._path_of((parent_1, parent_2), "base") + b"/" + name)

    def _changed_rows(self) -> Generator[tuple[object, ...]]:
        """Rows that are new or differ, and rows whose chunks differ: new row, then old row (NULLs when new)."""
        rows = f"SELECT {_NEW}, {_OLD} FROM main.catalog n LEFT JOIN base.catalog o {_JOIN} "  # noqa: S608 - constants
        yield from self._db.execute(rows + f"WHERE ({_NEW}) IS NOT ({_OLD})")
        chunks = "SELECT md5path_1, md5path_2, offset, size, hash FROM {}.chunks"
        new, old = chunks.format("main"), chunks.format("base")
        changed = f"SELECT md5path_1, md5path_2 FROM ({new} EXCEPT {old}) UNION "  # noqa: S608 - constants
        changed += f"SELECT md5path_1, md5path_2 FROM ({old} EXCEPT {new})"  # noqa: S608 - constants
        yield from self._db.execute(rows + f"WHERE (n.md5path_1, n.md5path_2) IN ({changed})")

    def _check_row(self, row: tuple[object, ...]) -> list[str]:
        """Check one new or changed row; the objects it brings."""
        entry = self._new.entry_of(row[:16], self._parent_path(row))
        old = None if row[16] is None else self._new.entry_of(row[16:], self._parent_path(row), chunks=False)
        self._check_lease(entry.path, only_links=old is not None and _same_but_links(entry, old))
        if old is None:
            _check_new(entry)
        if entry.flags & _MOUNTPOINT or (old is not None and old.flags & _MOUNTPOINT):
            raise CandidateRejected(f"{entry.path!r}: a mountpoint was added or changed")
        _check_attributes(entry, old)
        if entry.hardlink_group and (old is None or not _same_but_links(entry, old)):
            raise CandidateRejected(f"{entry.path!r}: hard links cannot be added or changed")
        if old is not None and _same_but_links(entry, old) and not entry.is_chunked:
            return []
        _check_content(entry, self._terms.algorithm)
        return [f"{content_hash}{kind.value}" for content_hash, kind in entry.objects()]

    def _parent_path(self, row: tuple[object, ...]) -> bytes | None:
        parent_1, parent_2 = row[2], row[3]
        if not (isinstance(parent_1, int) and isinstance(parent_2, int)):
            raise CandidateRejected("a path hash is no number")
        return None if (parent_1, parent_2) == (0, 0) else self._path_of((parent_1, parent_2), "main")

    def _path_of(self, key: tuple[int, int], database: str) -> bytes:
        """The path of a directory, put together from the names on the way to the root."""
        names: list[bytes] = []
        wanted, length = key, 0
        while key not in self._paths:
            sql = f"SELECT parent_1, parent_2, name FROM {database}.catalog WHERE md5path_1=? AND md5path_2=?"  # noqa: S608
            row = self._db.execute(sql, key).fetchone()
            if row is None or length > MAX_PATH:
                raise CandidateRejected("an entry has no way to the root")
            key = row[0], row[1]
            if key == (0, 0):
                break
            names.append(row[2])
            length += len(row[2]) + 1
        path = self._paths.get(key, b"") + b"".join(b"/" + name for name in reversed(names))
        if database == "main":
            self._paths[wanted] = path
        return path

    def _check_lease(self, path: bytes, *, only_links: bool = False) -> None:
        lease = self._terms.lease_path
        if not lease or path == lease or path.startswith(lease + b"/"):
            return
        if only_links and lease.startswith(path + b"/"):
            return  # the link count of a directory above follows from what happens below
        raise CandidateRejected(f"{path!r}: lies outside of {lease!r}, which may be changed")


def _check_new(entry: Entry) -> None:
    try:
        check_writable(entry.path, is_file=entry.is_file)
    except PathError as exc:
        raise CandidateRejected(str(exc)) from exc


def _check_attributes(entry: Entry, old: Entry | None) -> None:
    """Type, mode and owner: plain ones, or what the old row had."""
    if old is None or (entry.flags & _KIND_BITS, stat.S_IFMT(entry.mode)) != (
        old.flags & _KIND_BITS,
        stat.S_IFMT(old.mode),
    ):
        expected = _TYPES.get(entry.flags & _KIND_BITS)
        if expected is None or stat.S_IFMT(entry.mode) != expected:
            raise CandidateRejected(
                f"{entry.path!r}: flags {entry.flags:#x} and mode {entry.mode:o} are not those of a plain file, "
                "directory or symbolic link"
            )
    if not entry.is_file and entry.flags & ~_KIND_BITS and (old is None or entry.flags != old.flags):
        raise CandidateRejected(f"{entry.path!r}: flags {entry.flags:#x} are those of content, which only files have")
    if entry.mode & ~0o177777 or (entry.mode & _SET_ID and (old is None or entry.mode != old.mode)):
        raise CandidateRejected(f"{entry.path!r}: mode {entry.mode:o} has set-id or sticky bits")
    if (entry.uid, entry.gid) not in ({(0, 0)} if old is None else {(0, 0), (old.uid, old.gid)}):
        raise CandidateRejected(f"{entry.path!r}: belongs to {entry.uid}:{entry.gid}, not to root")


def _check_content(entry: Entry, algorithm: HashAlgorithm) -> None:
    """Hash, chunks, size and link target belong to the type."""
    if entry.is_symlink != (entry.symlink != b"") or b"\0" in entry.symlink or len(entry.symlink) > MAX_PATH:
        raise CandidateRejected(f"{entry.path!r}: the target of a symbolic link is missing, impossible or out of place")
    if entry.is_symlink and entry.size != len(entry.symlink):
        raise CandidateRejected(f"{entry.path!r}: the size is not that of the link's target")
    if not entry.is_file:
        if entry.hash is not None or entry.is_chunked:
            raise CandidateRejected(f"{entry.path!r}: has content, but is no regular file")
        return
    _ = entry.compression  # raises FormatError for an unknown one
    if entry.algorithm is not algorithm:
        raise CandidateRejected(f"{entry.path!r}: hashed with {entry.algorithm.name}, not {algorithm.name}")
    if (entry.hash is None) != entry.is_chunked:
        raise CandidateRejected(f"{entry.path!r}: must have either a content hash or chunks")
    if entry.is_chunked:
        for problem in chunk_problems(entry.path, entry.chunks, entry.size):
            raise CandidateRejected(problem)


def _same_but_links(entry: Entry, old: Entry) -> bool:
    same = ("mode", "size", "mtime", "mtime_ns", "uid", "gid", "flags", "hash", "symlink", "xattrs")
    return all(getattr(entry, name) == getattr(old, name) for name in same)


def _normal(sql: str) -> str:
    return " ".join(sql.split())


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _shown(value: object) -> str:
    return repr(_text(value)[:200])
