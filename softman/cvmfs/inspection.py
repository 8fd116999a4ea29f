"""What stratum 0 asks of a candidate before it signs it: a comparison of its catalogs with those in force.

The candidate is hostile until proven otherwise. From its root catalog on every catalog that is new or has changed is
inspected, those that did not are recognised by their hash and left alone: the work is that of what changed. Runs in a
process of its own (``candidate``), because SQLite itself meets bytes that a stranger made.
"""

import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from softman.cvmfs.base_catalogs import BaseCatalogs, read_only_uri
from softman.cvmfs.catalog_inspection import MAX_CLOCK_SKEW, CatalogInspection, Inspected, Terms
from softman.cvmfs.errors import CandidateRejected, FormatError
from softman.cvmfs.format.catalog import NestedCatalog
from softman.cvmfs.format.counters import COUNTER_NAMES, Counters
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind

__all__ = ["MAX_CLOCK_SKEW", "Findings", "Inspection", "Terms"]

_LONGEST_VALUE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Findings:
    """What an accepted candidate adds up to, and what it brings (hash text with the kind's letter).

    Nested catalogs are among the objects, the root catalog is not.
    """

    entries: int
    bytes: int
    objects: tuple[str, ...]


class Inspection:
    """The comparison of a candidate with its base.

    Args:
        fetch: leaves the database of a candidate's catalog in a file, having made sure that it is one, and of the size
            announced.
        base: the catalogs in force.
        terms: what to keep to.
    """

    def __init__(self, fetch: Callable[[NestedCatalog], Path], base: BaseCatalogs, terms: Terms) -> None:
        self._fetch = fetch
        self._base = base
        self._terms = terms
        self._found: dict[bytes, Inspected] = {}

    def run(self, root: ContentHash) -> Findings:
        """Make all checks, from the root catalog on.

        Raises:
            CandidateRejected: one fails; the message says which, and where.
            sqlite3.OperationalError: there is no room for scratch files.
        """
        objects: dict[str, None] = {}
        waiting: deque[tuple[NestedCatalog, Entry | None]] = deque([(NestedCatalog(b"", root, 0), None)])
        entries = 0
        while waiting:
            nested, mountpoint = waiting.popleft()
            found = self._inspect(nested, mountpoint)
            entries += found.counters.own.entries
            self._check_quota(entries, "entries", self._terms.max_entries)
            objects.update(dict.fromkeys(found.objects))
            objects.update({f"{below.hash}{ObjectKind.CATALOG.value}": None for below, _ in found.changed})
            waiting.extend(found.changed)
            found.objects = []
            self._found[nested.path] = found
        total = self._check_sums()
        self._check_quota(total.entries, "entries", self._terms.max_entries)
        self._check_quota(total.file_size, "bytes", self._terms.max_bytes)
        return Findings(total.entries, total.file_size, tuple(objects))

    def _inspect(self, nested: NestedCatalog, mountpoint: Entry | None) -> Inspected:
        where = f"the catalog of {nested.path!r}" if nested.path else "the candidate"
        database = self._fetch(nested)
        try:
            with closing(sqlite3.connect(read_only_uri(database), uri=True, isolation_level=None)) as connection:
                connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
                for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "query_only=ON", "cache_size=-16384"):
                    connection.execute(f"PRAGMA {pragma}")
                return CatalogInspection(connection, nested.path, self._base, self._terms).run(mountpoint)
        except FormatError as exc:
            raise CandidateRejected(f"{where} breaks the format: {exc}") from exc
        except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as exc:
            if getattr(exc, "sqlite_errorcode", None) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}:
                raise  # no room for scratch files
            raise CandidateRejected(f"{where} is damaged: {exc}") from exc
        finally:
            database.unlink(missing_ok=True)

    def _check_sums(self) -> Counters:
        """Recompute the subtree counters of all catalogs inspected; what all add up to."""
        for path, found in self._found.items():
            expected = found.carried
            for nested, _ in found.changed:
                expected += self._found[nested.path].counters.total
            for name in COUNTER_NAMES:
                stored, actual = getattr(found.counters.subtree, name), getattr(expected, name)
                if stored != actual:
                    where = f"the catalog of {path!r}" if path else "the candidate"
                    raise CandidateRejected(f"{where}: counter subtree_{name} is {stored}, should be {actual}")
        return self._found[b""].counters.total

    def _check_quota(self, value: int, what: str, limit: int) -> None:
        if value <= limit:
            return
        before = self._base.holding(b"").reader.counters.total
        if value > (before.entries if what == "entries" else before.file_size):  # shrinking is always possible
            note = f"; {self._terms.quota_note}" if self._terms.quota_note else ""
            raise CandidateRejected(f"quota: {value} {what} in the repository, {limit} are possible{note}")
