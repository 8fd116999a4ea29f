"""The difference between bucket and repository, as a streaming merge of two sorted walks.

Memory does not grow with the repository: the bucket's listing comes in pages, the catalog a directory at a time. The
order is that of S3 (UTF-8 bytes of the key) on both sides: entries are walked in the order of the keys that they came
from, so ``a-b`` comes before ``a/``, a link where ``l.rclonelink`` belongs, and an unpacked archive, whose content is
not walked, where ``x.tar.gz`` does (decision 25).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Protocol

from softman.cvmfs.format.entry import Entry
from softman.model import PUBLISHED_PREFIX, BucketObject, Part, Refusal
from softman.services.mapping import (
    SOURCE_XATTR,
    UNMARKED,
    Rules,
    Target,
    TargetKind,
    base_mark,
    form_of,
    is_plain,
    is_publishers,
    is_unpacked,
    mark_of,
    source_key,
)

_AREA = b"cvmfs"
_STRETCH = 4096
"""Objects that are compared between two signs of life."""


@dataclass(frozen=True, slots=True)
class Look:
    """Something differs, or may: read the object and publish what it says now.

    ``verify``: read its content even when all else says that the repository shows it. ``size``: bytes, as listed.
    """

    target: Target
    verify: bool = False
    size: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Vanished:
    """The repository shows at ``target.path`` what no key of the bucket says any more."""

    target: Target


@dataclass(frozen=True, slots=True)
class Unmark:
    """A catalog marker that softman made, and that is not wanted any more, is at ``path``."""

    path: bytes


@dataclass(frozen=True, slots=True)
class Passed:
    """Nothing is to be done up to ``key``: a sign of life, so that others have their turn while all agrees."""

    key: str


Step = Look | Vanished | Unmark | Refusal | Passed
Shown = tuple[bytes, Entry, bytes | None]
"""An entry between the key that it came from and its mark."""
_END: Shown = (b"\xff", Entry(b"", 0, 0, 0), None)  # after all keys: they begin with cvmfs/


class _Bounds:
    """The keys of a part."""

    def __init__(self, part: Part) -> None:
        self._prefix = part.prefix.encode(errors="surrogateescape")
        self._after = part.after.encode(errors="surrogateescape")

    def has(self, key: bytes) -> bool:
        return key > self._after and key.startswith(self._prefix)

    def has_below(self, directory: bytes) -> bool:
        """Whether keys that begin with ``directory`` (with its slash) can be among them."""
        if not (directory.startswith(self._prefix) or self._prefix.startswith(directory)):
            return False
        return directory > self._after or self._after.startswith(directory)


WHOLE = Part()


class Walkable(Protocol):
    """A snapshot, as far as it is walked over."""

    def walk(
        self, *, arrange: Callable[[Iterator[Entry]], Iterator[Entry]], enter: Callable[[Entry], bool]
    ) -> Iterator[Entry]:
        """Depth first; the entries of a directory come to ``arrange`` in the order of their names' bytes."""


def walk(base: Walkable, part: Part = WHOLE) -> Iterator[Shown]:
    """Every entry with the bytes of the key that it came from and its mark, in the order of S3.

    Args:
        base: the revision to walk over.
        part: what of it.
    """
    bounds = None if part.prefix == PUBLISHED_PREFIX and not part.after else _Bounds(part)

    def enter(entry: Entry) -> bool:
        if is_unpacked(entry):
            return False
        return bounds is None or bounds.has_below(_AREA + entry.path + b"/")

    for entry in base.walk(arrange=_by_key, enter=enter):
        mark = mark_of(entry)
        key = _AREA + entry.path
        if not is_plain(entry):
            key += form_of(entry, mark)
        if bounds is None or bounds.has(key):
            yield key, entry, mark


def _by_key(children: Iterator[Entry]) -> Iterator[Entry]:
    """Entries of one directory, sorted by name, in the order of their keys.

    A key begins with the path, so it can only come later: few entries wait at a time.
    """
    waiting: list[tuple[bytes, bytes, Entry]] = []
    for entry in children:
        path = entry.path
        while waiting and waiting[0][0] < path:
            yield heappop(waiting)[2]
        if not is_plain(entry) and (form := form_of(entry, mark_of(entry))):
            heappush(waiting, (path + form, path, entry))
        else:
            yield entry
    while waiting:
        yield heappop(waiting)[2]


class Difference:
    """What has to be looked at so that the repository shows what the bucket says; iterate over it once.

    Args:
        rules: the mapping.
        known: by key, what was refused before. What was read for it, and has the same ETag, is refused again unread;
            but not under other rules, nor when verifying.
        settled: the repository follows these rules already, so what has the mark of its object is as they want it.
        verify: look at everything, and at the content.

    Attributes:
        known: what was refused before.
        compared: how many objects and entries were compared so far.
    """

    def __init__(
        self,
        rules: Rules,
        known: Mapping[str, Refusal],
        *,
        settled: bool = True,
        verify: bool = False,
    ) -> None:
        self.known = known
        self.compared = 0
        self._rules = rules
        self._settled = settled
        self._verify = verify

    def steps(self, listing: Iterable[BucketObject], entries: Iterable[Shown]) -> Iterator[Step]:
        """Merge. Every object and entry passes here, so this is kept short.

        Args:
            listing: the bucket's objects in the order of S3.
            entries: the repository's, as ``walk`` gives them.
        """
        right = iter(entries)
        shown = next(right, _END)
        fast = self._settled and not self._verify and self._rules.usual_modes
        last = ""
        until = self.compared + _STRETCH
        for item in listing:
            self.compared += 1
            if self.compared >= until:
                until += _STRETCH
                yield Passed(last)
            item_key = item.key.encode(errors="surrogateescape")
            while shown[0] < item_key:
                yield from self._only_shown(shown[1], last)
                shown = next(right, _END)
            if shown[0] != item_key:
                yield from self._only_stored(item)
            else:
                if not fast or shown[2] != base_mark(item):
                    yield from self._both(item, shown[1])
                shown = next(right, _END)
            last = item.key
        while shown is not _END:
            yield from self._only_shown(shown[1], last)
            shown = next(right, _END)

    def _only_shown(self, entry: Entry, last: str) -> Iterator[Step]:
        self.compared += 1
        if SOURCE_XATTR not in entry.xattrs:
            if entry.is_dir or is_publishers(entry):
                return  # it stands because something is in it, and goes with its last child
            if entry.name in UNMARKED:
                if entry.name == b".cvmfscatalog" and not self._settled and not self._rules.wants_catalog(entry.parent):
                    yield Unmark(entry.path)
                return
        key = source_key(entry)
        if key == last:  # its object is there, and was shown in two places
            target = self._rules.target_of(key)
            if isinstance(target, Target):
                yield Look(target)
                return
        yield Vanished(shown_as(entry))

    def _only_stored(self, item: BucketObject) -> Iterator[Step]:
        target = self._rules.target_of(item.key)
        if isinstance(target, Refusal):
            yield Refusal(item.key, target.reason, item.etag)
        elif target is not None:
            yield self._refused_before(item) or Look(target, size=item.size)

    def _both(self, item: BucketObject, entry: Entry) -> Iterator[Step]:
        target = self._rules.target_of(item.key)
        if not isinstance(target, Target):
            yield Vanished(shown_as(entry))
            if target is not None:
                yield Refusal(item.key, target.reason, item.etag)
        elif not self._rules.shows(entry, item):
            yield self._refused_before(item) or Look(target, self._verify, item.size)
        elif self._verify or not (self._settled or self._rules.fits(entry, target)):
            yield Look(target, self._verify, item.size)

    def _refused_before(self, item: BucketObject) -> Refusal | None:
        known = self.known.get(item.key) if self._settled and not self._verify else None
        return known if known is not None and known.etag == item.etag != "" else None


def shown_as(entry: Entry) -> Target:
    """The key that ``entry`` came from, and where it is."""
    if is_unpacked(entry):
        kind = TargetKind.ARCHIVE
    elif entry.is_dir:
        kind = TargetKind.DIRECTORY
    else:
        kind = TargetKind.LINK if entry.is_symlink else TargetKind.FILE
    return Target(source_key(entry), entry.path, kind)


def looks(keys: Iterable[str], rules: Rules) -> Iterator[Step]:
    """The steps of a sync of some keys: look at each, in the order of S3, as the bucket is now."""
    for key in sorted(keys, key=lambda text: text.encode(errors="surrogateescape")):
        target = rules.target_of(key)
        if isinstance(target, Refusal):
            yield target
        elif target is not None:
            yield Look(target)
