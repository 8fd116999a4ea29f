"""What differs between two revisions, found by walking both trees at once and leaving out what is equal.

Equal nested catalogs are known by their hash; of catalogs that changed SQL finds the rows that differ
(``catalog_diff``). The work is that of reading the catalogs that changed, and of the difference.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from softman.cvmfs.catalog_diff import CatalogPair, Pair
from softman.cvmfs.errors import PathError
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.paths import repository_path
from softman.cvmfs.snapshot import Snapshot


class Aspect(StrEnum):
    """In what an entry can differ."""

    TYPE = "type"
    CONTENT = "content"
    TARGET = "target"
    MODE = "mode"
    OWNER = "owner"
    MTIME = "mtime"
    XATTRS = "xattrs"
    LINKS = "links"
    HIDDEN = "hidden"


@dataclass(frozen=True, slots=True)
class Added:
    """An entry that only the newer revision has."""

    path: bytes
    new: Entry


@dataclass(frozen=True, slots=True)
class Removed:
    """An entry that only the older revision has."""

    path: bytes
    old: Entry


@dataclass(frozen=True, slots=True)
class Changed:
    """An entry that both have, and in what it differs. What follows from a change of type is not named."""

    path: bytes
    old: Entry
    new: Entry
    what: tuple[Aspect, ...]


Difference = Added | Removed | Changed

# Directories have a size and a number of links, too, but those say nothing that their entries do not say.
_ASPECTS: Final[tuple[tuple[Aspect, Callable[[Entry], object]], ...]] = (
    (Aspect.CONTENT, lambda entry: None if entry.is_dir or entry.is_symlink else (entry.size, entry.objects())),
    (Aspect.TARGET, lambda entry: entry.symlink),
    (Aspect.MODE, lambda entry: entry.permissions),
    (Aspect.OWNER, lambda entry: (entry.uid, entry.gid)),
    (Aspect.MTIME, lambda entry: (entry.mtime, entry.mtime_ns)),
    (Aspect.XATTRS, lambda entry: entry.xattrs),
    (Aspect.LINKS, lambda entry: None if entry.is_dir else entry.linkcount),
    (Aspect.HIDDEN, lambda entry: entry.is_hidden),
)


def differences(old: Snapshot, new: Snapshot, path: str | bytes = b"") -> Iterator[Difference]:
    """What changed from ``old`` to ``new``, in the order of ``Snapshot.walk``: a directory, then what is in it.

    That order is the one of names within each directory, so ``/a/b`` comes before ``/a-b``. Of a directory that was
    added or removed, every entry is given. Memory is bounded, whatever differs.

    Args:
        old: the older revision.
        new: the newer revision.
        path: look only at this entry and what is below.

    Raises:
        PathError: neither has ``path``.
        CvmfsError: while iterating, when a catalog is missing or damaged.
    """
    where = repository_path(path)
    top = (_entry(old, where), _entry(new, where))
    if top == (None, None):
        raise PathError(f"{where!r} exists in neither of the revisions")
    return _walk(old, new, top)


def aspects(old: Entry, new: Entry) -> tuple[Aspect, ...]:
    """In what two entries differ; what follows from another type is not named."""
    if stat.S_IFMT(old.mode) != stat.S_IFMT(new.mode):
        return (Aspect.TYPE,)
    return tuple(aspect for aspect, value in _ASPECTS if value(old) != value(new))


def _walk(old: Snapshot, new: Snapshot, top: Pair) -> Iterator[Difference]:
    if old.manifest.root_hash == new.manifest.root_hash:
        return
    with _Descent(old, new) as descent:
        descent.pending.append(_Level(iter((top,))))
        while descent.pending:
            pair = next(descent.pending[-1].pairs, None)
            if pair is None:
                descent.pending.pop().close()
                continue
            difference = _compare(*pair)
            if difference is not None:
                yield difference
            descent.enter(*pair)


@dataclass(frozen=True, slots=True)
class _Level:
    """The entries of a directory that are still to come. ``catalogs``, when known, hold what is in them."""

    pairs: Iterator[Pair]
    catalogs: CatalogPair | None = None
    owner: bool = False

    def close(self) -> None:
        if self.owner and self.catalogs is not None:
            self.catalogs.close()


class _Descent:
    """The way down both trees, a level for each directory."""

    def __init__(self, old: Snapshot, new: Snapshot) -> None:
        self._old = old
        self._new = new
        self.pending: list[_Level] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self.pending:
            self.pending.pop().close()

    def enter(self, before: Entry | None, after: Entry | None) -> None:
        """Go on with what is in a pair of entries, unless nothing is, or the same in both revisions."""
        if before is None or after is None or not (before.is_dir and after.is_dir):
            if any(entry is not None and entry.is_dir for entry in (before, after)):
                self._list(before, after)
        elif before.flags & after.flags & Flag.NESTED_MOUNTPOINT.value:
            if not _same_catalog(self._old, self._new, before.path):
                self._open(before, after)
        elif before.is_mountpoint or after.is_mountpoint:
            self._list(before, after)
        elif (catalogs := self.pending[-1].catalogs) is not None:
            self.pending.append(_Level(catalogs.children(before.path), catalogs))
        elif len(self.pending) == 1:
            self._open(before, after)
        else:
            self._list(before, after)

    def _open(self, before: Entry, after: Entry) -> None:
        """Compare the catalogs that hold what is in a directory, if they can be compared."""
        catalogs = CatalogPair(self._old, self._new, before.path)
        if catalogs.is_comparable:
            self.pending.append(_Level(catalogs.children(before.path), catalogs, owner=True))
        else:
            catalogs.close()
            self._list(before, after)

    def _list(self, before: Entry | None, after: Entry | None) -> None:
        self.pending.append(_Level(_merge(_children(self._old, before), _children(self._new, after))))


def _compare(old: Entry | None, new: Entry | None) -> Difference | None:
    if old is None:
        return None if new is None else Added(new.path, new)
    if new is None:
        return Removed(old.path, old)
    what = aspects(old, new)
    return Changed(new.path, old, new, what) if what else None


def _same_catalog(old: Snapshot, new: Snapshot, path: bytes) -> bool:
    mounted, other = old.mounted_at(path), new.mounted_at(path)
    return mounted is not None and other is not None and mounted.hash == other.hash


def _entry(snapshot: Snapshot, path: bytes) -> Entry | None:
    try:
        return snapshot.lookup(path)
    except PathError:
        return None


def _children(snapshot: Snapshot, directory: Entry | None) -> Iterator[Entry]:
    if directory is None or not directory.is_dir:
        return iter(())
    return snapshot.listdir(directory.path, hidden=True)


def _merge(old: Iterator[Entry], new: Iterator[Entry]) -> Iterator[Pair]:
    """Entries of two directories, both in the order of their names, side by side."""
    left, right = next(old, None), next(new, None)
    while left is not None or right is not None:
        if right is None or (left is not None and left.name < right.name):
            yield left, None
            left = next(old, None)
        elif left is None or right.name < left.name:
            yield None, right
            right = next(new, None)
        else:
            yield left, right
            left, right = next(old, None), next(new, None)
