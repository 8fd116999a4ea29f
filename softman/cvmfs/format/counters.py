"""The statistics counters of a catalog: what its rows add up to, and what all catalogs below it add up to.

Source: ``cvmfs/catalog_counters.h`` of CernVM-FS 2.12. Table ``statistics`` has 24 rows, ``self_`` and ``subtree_``
times twelve names. ``subtree_`` leaves out the catalog itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from operator import add, attrgetter, sub

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.entry import Entry


@dataclass(frozen=True, slots=True)
class Counters:
    """Twelve sums, named as in the catalog. Sizes are bytes of uncompressed content."""

    regular: int = 0
    """Regular files: chunked, external, catalog markers and every member of a hard-link group included."""
    symlink: int = 0
    special: int = 0
    dir: int = 0
    """Directories, the catalog's own root and nested mountpoints included."""
    nested: int = 0
    """Rows in ``nested_catalogs``; bind mountpoints do not count."""
    chunked: int = 0
    chunks: int = 0
    file_size: int = 0
    chunked_size: int = 0
    xattr: int = 0
    """Rows of any kind with extended attributes."""
    external: int = 0
    external_file_size: int = 0

    def __add__(self, other: "Counters") -> "Counters":
        return Counters(*map(add, _values(self), _values(other)))

    def __sub__(self, other: "Counters") -> "Counters":
        return Counters(*map(sub, _values(self), _values(other)))

    @property
    def entries(self) -> int:
        """Rows of all kinds."""
        return self.regular + self.symlink + self.special + self.dir

    @classmethod
    def of(cls, entry: Entry) -> "Counters":
        """What one row adds."""
        xattr = 1 if entry.xattrs else 0
        if entry.is_dir:
            return cls(dir=1, xattr=xattr)
        if entry.is_symlink:
            return cls(symlink=1, xattr=xattr)
        if entry.is_special:
            return cls(special=1, xattr=xattr)
        chunked = entry.size if entry.is_chunked else 0
        external = entry.size if entry.is_external else 0
        return cls(
            regular=1,
            chunked=int(entry.is_chunked),
            chunks=len(entry.chunks),
            file_size=entry.size,
            chunked_size=chunked,
            xattr=xattr,
            external=int(entry.is_external),
            external_file_size=external,
        )


COUNTER_NAMES = tuple(f.name for f in fields(Counters))
ROW_SUMS = """
SELECT sum(flags & 1 = 0 AND flags & 24 = 0), sum(flags & 1 = 0 AND flags & 24 = 8),
 sum(flags & 1 = 0 AND flags & 16 <> 0), sum(flags & 1), (SELECT count(*) FROM main.nested_catalogs),
 sum(flags & 93 = 68), (SELECT count(*) FROM main.chunks),
 sum(CASE WHEN flags & 29 = 4 THEN size ELSE 0 END), sum(CASE WHEN flags & 93 = 68 THEN size ELSE 0 END),
 sum(xattr IS NOT NULL), sum(flags & 157 = 132), sum(CASE WHEN flags & 157 = 132 THEN size ELSE 0 END)
FROM main.catalog
"""
"""SQL that counts a catalog anew; the columns of its one row are ``COUNTER_NAMES``, NULL for 0."""
_values = attrgetter(*COUNTER_NAMES)


@dataclass(frozen=True, slots=True)
class CatalogCounters:
    """Both halves: ``own`` (``self_``) and ``subtree`` (the sum over all catalogs below, without this one)."""

    own: Counters = Counters()
    subtree: Counters = Counters()

    @property
    def total(self) -> Counters:
        """This catalog and all below."""
        return self.own + self.subtree

    def rows(self) -> list[tuple[str, int]]:
        """The 24 rows of table ``statistics``."""
        halves = (("self_", self.own), ("subtree_", self.subtree))
        return [(prefix + name, getattr(half, name)) for prefix, half in halves for name in COUNTER_NAMES]

    @classmethod
    def from_rows(cls, rows: Mapping[str, int], *, complete: bool = True) -> "CatalogCounters":
        """Read table ``statistics``.

        Args:
            rows: name to value; names that are not known are ignored.
            complete: all 24 must be there. Catalogs of a schema revision before 7 may lack some, read as 0.

        Raises:
            FormatError: a counter is missing.
        """
        missing = [n for n in (p + name for p in ("self_", "subtree_") for name in COUNTER_NAMES) if n not in rows]
        if complete and missing:
            msg = f"the catalog has no counter {missing[0]}"
            raise FormatError(msg)
        own = Counters(*(rows.get("self_" + name, 0) for name in COUNTER_NAMES))
        return cls(own, Counters(*(rows.get("subtree_" + name, 0) for name in COUNTER_NAMES)))
