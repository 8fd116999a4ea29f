"""The difference between bucket and repository, as a streaming merge of two sorted walks.

Memory does not grow with the repository: the bucket's listing comes in pages, the catalog a directory at a time. The
order is that of S3 (UTF-8 bytes of the key) on both sides: entries are walked in the order of the keys that they came
from, so ``a-b`` comes before ``a/``, a link where ``l.rclonelink`` belongs, and an unpacked archive, whose content is
not walked, where ``x.tar.gz`` does (decision 25).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from softman.cvmfs.format.entry import Entry
from softman.model import PUBLISHED_PREFIX, BucketObject, Part, Refusal
from softman.services.mapping import (
    SOURCE_XATTR,
    UNMARKED,
    Rules,
    Target,
    TargetKind,
    form_of,
    is_unpacked,
    source_key,
)

_AREA = b"cvmfs"


@dataclass(frozen=True, slots=True)
class Look:
    """Something differs, or may: read the object and publish what it says now.

    ``verify``: read its content even when all else says that the repository shows it.
    """

    target: Target
    verify: bool = False


@dataclass(frozen=True, slots=True)
class Vanished:
    """The repository shows at ``target.path`` what no key of the bucket says any more."""

    target: Target


@dataclass(frozen=True, slots=True)
class Unmark:
    """A catalog marker that softman made, and that is not wanted any more, is at ``path``."""

    path: bytes


Step = Look | Vanished | Unmark | Refusal
Listed = Callable[[bytes], Iterable[Entry]]


class _Bounds:
    """The keys of a part."""

    def __init__(self, part: Part) -> None:
        self._prefix = part.prefix.encode(errors="surrogateescape")
        self._after = part.after.encode(errors="surrogateescape")
        self.all = part.prefix == PUBLISHED_PREFIX and not part.after

    def has(self, key: bytes) -> bool:
        return key > self._after and key.startswith(self._prefix)

    def has_below(self, directory: bytes) -> bool:
        """Whether keys that begin with ``directory`` (with its slash) can be among them."""
        if not (directory.startswith(self._prefix) or self._prefix.startswith(directory)):
            return False
        return directory > self._after or self._after.startswith(directory)


WHOLE = Part()


def walk_by_key(list_directory: Listed, part: Part = WHOLE) -> Iterator[tuple[bytes, Entry]]:
    """Every entry with the bytes of the key that it came from, in the order of S3.

    Args:
        list_directory: the entries of a directory in the order of their names' bytes.
        part: what to walk over.
    """
    pending = [_by_key(list_directory(b""))]
    bounds = _Bounds(part)
    partial = not bounds.all
    while pending:
        for found in pending[-1]:
            key, entry = found
            if not partial or bounds.has(key):
                yield found
            if entry.is_dir and not is_unpacked(entry) and (not partial or bounds.has_below(key)):
                pending.append(_by_key(list_directory(entry.path)))
                break
        else:
            pending.pop()


def _by_key(children: Iterable[Entry]) -> Iterator[tuple[bytes, Entry]]:
    """Entries of one directory, sorted by name, in the order of their keys.

    A key begins with the path, so it can only come later: few entries wait at a time.
    """
    waiting: list[tuple[bytes, bytes, Entry]] = []
    for entry in children:
        path = _AREA + entry.path
        while waiting and waiting[0][0] < path:
            key, _, found = heappop(waiting)
            yield key, found
        form = form_of(entry)
        if form:
            heappush(waiting, (path + form, path, entry))
        else:
            yield path, entry
    while waiting:
        key, _, found = heappop(waiting)
        yield key, found


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

    def steps(self, listing: Iterable[BucketObject], entries: Iterable[tuple[bytes, Entry]]) -> Iterator[Step]:
        """Merge.

        Args:
            listing: the bucket's objects in the order of S3.
            entries: the repository's, as ``walk_by_key`` gives them.
        """
        left, right = iter(listing), iter(entries)
        item, shown = next(left, None), next(right, None)
        shows, fast = self._rules.shows, self._settled and not self._verify
        last = ""
        while item is not None:
            item_key = item.key.encode(errors="surrogateescape")
            while shown is not None and shown[0] < item_key:
                yield from self._only_shown(shown[1], last)
                shown = next(right, None)
            if shown is not None and shown[0] == item_key:
                if not (fast and shows(shown[1], item)):
                    yield from self._both(item, shown[1])
                shown = next(right, None)
            else:
                yield from self._only_stored(item)
            self.compared += 1
            last = item.key
            item = next(left, None)
        while shown is not None:
            yield from self._only_shown(shown[1], last)
            shown = next(right, None)

    def _only_shown(self, entry: Entry, last: str) -> Iterator[Step]:
        self.compared += 1
        if SOURCE_XATTR not in entry.xattrs:
            if entry.is_dir:
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
            yield self._refused_before(item) or Look(target)

    def _both(self, item: BucketObject, entry: Entry) -> Iterator[Step]:
        target = self._rules.target_of(item.key)
        if not isinstance(target, Target):
            yield Vanished(shown_as(entry))
            if target is not None:
                yield Refusal(item.key, target.reason, item.etag)
        elif not self._rules.shows(entry, item):
            yield self._refused_before(item) or Look(target, self._verify)
        elif self._verify or not self._rules.fits(entry, target):
            yield Look(target, self._verify)

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
