"""The inspection of one catalog of a candidate: a comparison with the catalog that has its rows now.

Only rows that differ from the base are looked at one by one, as the base went through the same checks. Sums and links
are recomputed in SQL: for all rows, or when few differ for those that are concerned (``inspection_delta``). Rows that
were in another catalog before are looked up there.
"""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from softman.cvmfs.base_catalogs import BaseCatalog, BaseCatalogs, read_only_uri
from softman.cvmfs.errors import CandidateRejected
from softman.cvmfs.format.catalog import CatalogReader, NestedCatalog
from softman.cvmfs.format.counters import COUNTER_NAMES, CatalogCounters, Counters
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import HashAlgorithm, path_hash
from softman.cvmfs.format.schema import CATALOG_TABLES, SCHEMA_REVISION
from softman.cvmfs.inspection_delta import CHANGED_CHUNKS, JOIN, NEW, OLD, compare, own_counters
from softman.cvmfs.inspection_entries import STRUCTURE, check_entry, check_link, same_but_links, same_in_another_catalog
from softman.cvmfs.inspection_rules import CHANGED_LINKS, LINKS, MOUNTPOINT, RULES, TYPES
from softman.cvmfs.paths import MARKER, MAX_PATH

MAX_CLOCK_SKEW = 24 * 3600
"""Seconds that a publisher's clock may be ahead."""

_OWN_PROPERTIES = frozenset({b"revision", b"last_modified", b"previous_revision"})
_NESTED = Flag.NESTED_MOUNTPOINT.value
_NESTED_ROOT = Flag.NESTED_ROOT.value


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
    max_catalog_bytes: int
    lease_path: bytes = b""
    links_within: bytes = b""
    """Out of which no symbolic link may lead that is new or has another target; empty for anywhere."""
    quota_note: str = ""
    """What a refusal for too many entries or bytes says, too."""

    def check_lease(self, path: bytes, *, only_links: bool = False) -> None:
        """Accept a change of ``path``.

        Raises:
            CandidateRejected: it lies outside of the lease. Directories above may have other link counts, which
                follow from what happens below.
        """
        lease = self.lease_path
        if not lease or path == lease or path.startswith(lease + b"/"):
            return
        if only_links and lease.startswith(path + b"/"):
            return
        raise CandidateRejected(f"{path!r}: lies outside of {lease!r}, which may be changed")


@dataclass(slots=True)
class Inspected:
    """What was found in one catalog."""

    counters: CatalogCounters
    """As stored; ``own`` was counted anew."""
    carried: Counters = field(default_factory=Counters)
    """The part of ``subtree`` that catalogs make up which did not change."""
    changed: list[tuple[NestedCatalog, Entry]] = field(default_factory=list)
    """New or changed catalogs right below, each with its mountpoint."""
    objects: list[str] = field(default_factory=list)
    """Hash text with the kind's letter."""


class CatalogInspection:
    """One catalog against the one in force at its place, or else the one that covers its place.

    Args:
        connection: with the candidate's catalog as ``main``, read-only.
        path: its mountpoint.
        base: the catalogs in force.
        terms: what to keep to.
    """

    def __init__(self, connection: sqlite3.Connection, path: bytes, base: BaseCatalogs, terms: Terms) -> None:
        self._db = connection
        self._path = path
        self._base = base
        self._terms = terms
        self._paths: dict[tuple[int, int], bytes] = {}
        self._inspected: set[bytes] = set()
        self._little = False
        connection.text_factory = bytes
        self._old: BaseCatalog = base.holding(path)
        self._replaced = self._old if self._old.path == path else None
        connection.execute("ATTACH ? AS base", (read_only_uri(self._old.database),))

    def run(self, mountpoint: Entry | None) -> Inspected:
        """Make all checks. ``mountpoint`` is its row in the catalog above, None for the root catalog.

        Raises:
            CandidateRejected: one fails; the message says which, and where.
            FormatError: a row cannot be read.
            sqlite3.DatabaseError, OverflowError, UnicodeDecodeError: the database is damaged.
        """
        self._check_database()
        self._new = CatalogReader(self._db)
        self._check_properties()
        self._check_rules(TYPES, "main.catalog")
        self._little = self._replaced is not None and compare(self._db)
        if self._little:
            self._check_rules((*RULES, CHANGED_LINKS), "temp.scope")
        else:
            self._check_rules((*RULES, LINKS), "main.catalog")
        self._check_root(mountpoint)
        found = Inspected(self._check_counters())
        self._check_nested(found)
        self._check_binds()
        if self._replaced is not None and self._terms.lease_path:
            self._check_removed()
        with closing(self._changed_rows()) as rows:
            names = {name: None for row in rows for name in self._check_row(row)}
        found.objects = list(names)
        return found

    def _check_rules(self, rules: Iterable[tuple[str, str]], rows: str) -> None:
        root_1, root_2 = path_hash(self._path)
        values = {"root_1": root_1, "root_2": root_2, "nested": self._path != b""}
        for problem, sql in rules:
            used = {key: value for key, value in values.items() if f":{key}" in sql}
            row = self._db.execute(sql.replace("{rows}", rows), used).fetchone()
            if row is not None:
                raise CandidateRejected(f"{self._where()}: the entry named {_shown(row[0])} {problem}")

    def _where(self) -> str:
        return f"the catalog of {self._path!r}" if self._path else "the candidate"

    def _check_database(self) -> None:
        # The tables first: the integrity check would evaluate expressions in a foreign schema. It also compares the
        # indexes with the tables, which `quick_check` leaves out, and everything below goes through the indexes.
        found = sorted(self._schema("main"))
        if found not in (sorted(_normal(statement) for statement in CATALOG_TABLES), sorted(self._schema("base"))):
            raise CandidateRejected(f"{self._where()} has other tables than a catalog has, or triggers or views")
        problem = self._db.execute("PRAGMA main.integrity_check(1)").fetchone()
        if problem is None or _text(problem[0]) != "ok":
            raise CandidateRejected(f"{self._where()} is damaged: {_shown(problem[0] if problem else 'no answer')}")

    def _schema(self, database: str) -> Iterator[str]:
        for kind, name, sql in self._db.execute(f"SELECT type, name, sql FROM {database}.sqlite_master"):  # noqa: S608 - names of ours
            if sql is not None or not _text(name).startswith("sqlite_autoindex_") or _text(kind) != "index":
                yield _normal(_text(sql))

    def _check_properties(self) -> None:
        terms, found = self._terms, self._new.properties
        mine = dict(self._db.execute("SELECT key, value FROM main.properties").fetchall())
        base = {b"schema": b"2.5", b"schema_revision": b"7", b"root_prefix": self._path}
        if self._replaced is not None:
            base = dict(self._db.execute("SELECT key, value FROM base.properties").fetchall())
        own = _OWN_PROPERTIES if self._path else _OWN_PROPERTIES | {b"TTL"}
        for key in sorted((base.keys() | mine.keys()) - own):
            if _text(base.get(key)) != _text(mine.get(key)):
                raise CandidateRejected(f"{self._where()}: property {_shown(key)} was changed")
        if found.schema_revision != SCHEMA_REVISION or found.root_prefix != self._path:
            raise CandidateRejected(f"{self._where()} is no catalog of schema revision 7 made for its place")
        self._check_history()
        if not self._path and found.ttl != terms.ttl:
            raise CandidateRejected(f"the candidate has a TTL of {found.ttl} s, not {terms.ttl} s")
        earliest = 0 if self._replaced is None else self._replaced.reader.properties.last_modified
        if not earliest <= found.last_modified <= max(earliest, terms.now + MAX_CLOCK_SKEW):
            raise CandidateRejected(f"{self._where()} was modified at {found.last_modified}, which cannot be")

    def _check_history(self) -> None:
        """The catalog follows on the one in force, or, if it is nested, on none."""
        found = self._new.properties
        follows = (
            {(str(self._replaced.hash), self._replaced.reader.properties.revision + 1)} if self._replaced else set()
        )
        if self._path:
            follows.add(("None", 1))
        else:
            follows = {(self._terms.base_root_hash, self._terms.base_revision + 1)}
        if (str(found.previous_revision), found.revision) not in follows:
            raise CandidateRejected(
                f"{self._where()} is revision {found.revision} and follows on {found.previous_revision}; expected "
                + " or ".join(f"revision {revision} on {previous}" for previous, revision in sorted(follows))
            )

    def _check_root(self, mountpoint: Entry | None) -> None:
        root = self._new.lookup(self._path)
        if root is None or not root.is_dir:
            raise CandidateRejected(f"{self._where()} has no root directory")
        if mountpoint is None:
            return
        same = {**_plain(root), "flags": root.flags & ~_NESTED_ROOT} == {
            **_plain(mountpoint),
            "flags": mountpoint.flags & ~_NESTED,
        }
        if not same or root.flags & MOUNTPOINT:
            raise CandidateRejected(f"{self._path!r}: the mountpoint and the root of the nested catalog differ")
        if self._new.lookup(self._path + b"/" + MARKER) is None:
            raise CandidateRejected(f"{self._where()} has no marker")

    def _check_counters(self) -> CatalogCounters:
        stored = self._new.counters
        names = {_text(row[0]) for row in self._db.execute("SELECT counter FROM main.statistics")}
        if names != {name for name, _ in stored.rows()}:
            raise CandidateRejected(f"{self._where()} has other counters than a catalog has")
        before = self._replaced.reader.counters.own if self._replaced is not None and self._little else None
        for name, value in zip(COUNTER_NAMES, own_counters(self._db, before), strict=True):
            if getattr(stored.own, name) != value:
                raise CandidateRejected(
                    f"{self._where()}: counter self_{name} is {getattr(stored.own, name)}, should be {value}"
                )
        return stored

    def _check_nested(self, found: Inspected) -> None:
        """The list of nested catalogs and the mountpoints are the same; what is new is to be inspected, too."""
        base = self._base
        before = {n.path: n for n in self._replaced.reader.nested()} if self._replaced is not None else {}
        if self._replaced is not None:
            found.carried = self._replaced.reader.counters.subtree
        keys = set(self._db.execute("SELECT md5path_1, md5path_2 FROM main.catalog WHERE flags & ?", (_NESTED,)))
        for nested in self._new.nested():
            self._check_mounted(nested, keys)
            here = before.pop(nested.path, None)
            if nested == here:
                continue
            if here is not None:
                found.carried -= base.total(here)
            elif nested == (there := base.nested_at(nested.path)):
                found.carried += base.total(there)  # it was in another catalog before
                continue
            found.changed.append((nested, self._mountpoint(nested)))
            self._inspected.add(nested.path)
        if keys:
            raise CandidateRejected(f"{self._where()} has a mountpoint without a nested catalog")
        for gone in before.values():
            self._terms.check_lease(gone.path)
            found.carried -= base.total(gone)

    def _check_mounted(self, nested: NestedCatalog, keys: set[tuple[int, int]]) -> None:
        """The catalog lies below this one and has a mountpoint, whose key is taken from ``keys``."""
        if not nested.path.startswith(self._path + b"/") or len(nested.path) > MAX_PATH:
            raise CandidateRejected(f"{nested.path!r}: a nested catalog outside of {self._path!r}")
        key = path_hash(nested.path)
        if key not in keys:
            raise CandidateRejected(f"{nested.path!r}: a nested catalog without a mountpoint")
        keys.discard(key)

    def _mountpoint(self, nested: NestedCatalog) -> Entry:
        """The row of a catalog that is to be inspected."""
        mountpoint = self._new.lookup(nested.path)
        if mountpoint is None or not 0 < nested.size <= self._terms.max_catalog_bytes:
            raise CandidateRejected(f"{nested.path!r}: a nested catalog of {nested.size} bytes is not accepted")
        self._check_lease_of_catalog(nested.path)
        return mountpoint

    def _check_lease_of_catalog(self, path: bytes) -> None:
        lease = self._terms.lease_path
        if not lease.startswith(path + b"/"):  # else what happens in it decides
            self._terms.check_lease(path)

    def _check_binds(self) -> None:
        """Bind mountpoints stay; they may only go to a catalog that was split off."""
        row = self._db.execute(
            "SELECT * FROM main.bind_mountpoints EXCEPT SELECT * FROM base.bind_mountpoints LIMIT 1"
        ).fetchone()
        if row is not None:
            raise CandidateRejected(f"{_shown(row[0])}: a bind mountpoint was added or changed")
        if self._replaced is None:
            return
        gone = self._db.execute("SELECT path FROM base.bind_mountpoints EXCEPT SELECT path FROM main.bind_mountpoints")
        for (path,) in gone.fetchall():
            if self._new.nested_above(path) is None:
                raise CandidateRejected(f"{_shown(path)}: a bind mountpoint was removed")

    def _check_removed(self) -> None:
        rows = "temp.old_rows" if self._little else "base.catalog"
        sql = (
            f"SELECT o.parent_1, o.parent_2, o.name FROM {rows} o LEFT JOIN main.catalog n "  # noqa: S608 - constants
            f"{JOIN} WHERE n.md5path_1 IS NULL"
        )
        for parent_1, parent_2, name in self._db.execute(sql):
            self._terms.check_lease(self._path_of((parent_1, parent_2), "base") + b"/" + name)

    def _changed_rows(self) -> Generator[tuple[object, ...]]:
        """Rows that are new or differ, and rows whose chunks differ: new row, then old row (NULLs when new)."""
        rows = f"SELECT {NEW}, {OLD} FROM {{}} n LEFT JOIN base.catalog o {JOIN} "  # noqa: S608 - constants
        if self._little:
            changed = "SELECT * FROM temp.changed_chunks"
            yield from self._db.execute(rows.format("temp.new_rows"))
        else:
            changed = CHANGED_CHUNKS
            yield from self._db.execute(rows.format("main.catalog") + f"WHERE ({NEW}) IS NOT ({OLD})")
        yield from self._db.execute(rows.format("main.catalog") + f"WHERE (n.md5path_1, n.md5path_2) IN ({changed})")

    def _check_row(self, row: tuple[object, ...]) -> list[str]:
        """Check one new or changed row; the objects it brings."""
        parent = self._parent_path(row)
        entry = self._new.entry_of(row[:16], parent)
        self._check_structure(entry)
        if row[16] is not None:
            old: Entry | None = self._new.entry_of(row[16:], parent, chunks=False)
        else:
            old = self._base.lookup(entry.path)
            if old is not None and same_in_another_catalog(entry, old):
                return []
        if entry.flags & _NESTED and entry.path not in self._inspected:
            raise CandidateRejected(f"{entry.path!r}: the mountpoint was changed, but not the catalog there")
        unchanged = old is not None and same_but_links(entry, old)
        self._terms.check_lease(entry.path, only_links=unchanged)
        check_entry(entry, old, self._terms.algorithm)
        if self._terms.links_within and entry.is_symlink and (old is None or entry.symlink != old.symlink):
            check_link(entry, self._terms.links_within)
        if unchanged and not entry.is_chunked:
            return []
        return [f"{content_hash}{kind.value}" for content_hash, kind in entry.objects()]

    def _check_structure(self, entry: Entry) -> None:
        is_root = entry.path == self._path != b""
        if bool(entry.flags & _NESTED_ROOT) != is_root or (entry.flags & STRUCTURE and not entry.is_dir):
            raise CandidateRejected(f"{entry.path!r}: flags {entry.flags:#x} are not those of its place in a catalog")

    def _parent_path(self, row: tuple[object, ...]) -> bytes | None:
        parent_1, parent_2 = row[2], row[3]
        if not (isinstance(parent_1, int) and isinstance(parent_2, int)):
            raise CandidateRejected("a path hash is no number")
        if (row[0], row[1]) == path_hash(self._path):
            return self._path.rpartition(b"/")[0] if self._path else None
        return self._path_of((parent_1, parent_2), "main")

    def _path_of(self, key: tuple[int, int], database: str) -> bytes:
        """The path of a directory, put together from the names on the way to the root of the catalog."""
        names: list[bytes] = []
        wanted, length, root = key, len(self._path), path_hash(self._path)
        while key != root and key not in self._paths:
            sql = f"SELECT parent_1, parent_2, name FROM {database}.catalog WHERE md5path_1=? AND md5path_2=?"  # noqa: S608 - names of ours
            row = self._db.execute(sql, key).fetchone()
            if row is None or length > MAX_PATH:
                raise CandidateRejected("an entry has no way to the root")
            key = row[0], row[1]
            names.append(row[2])
            length += len(row[2]) + 1
        top = self._path if key == root else self._paths[key]
        path = top + b"".join(b"/" + name for name in reversed(names))
        if database == "main":
            self._paths[wanted] = path
        return path


def _plain(entry: Entry) -> dict[str, object]:
    names = ("path", "mode", "size", "mtime", "mtime_ns", "uid", "gid", "linkcount", "hardlink_group", "hash")
    return {name: getattr(entry, name) for name in (*names, "symlink", "xattrs", "chunks")}


def _normal(sql: str) -> str:
    return " ".join(sql.split())


def _text(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _shown(value: object) -> str:
    return repr(_text(value)[:200])
