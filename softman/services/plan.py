"""The full difference between bucket and repository, as a streaming merge of two sorted walks.

Memory does not grow with the repository: the bucket's listing comes in pages, the catalog a directory at a time. The
order of S3 (UTF-8 bytes of the key) is the order of a depth-first walk in which a directory's name counts with its
trailing slash, so ``a-b`` comes before ``a/`` on both sides (decision 25).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from softman.cvmfs.format.entry import Entry
from softman.model import BucketObject, Refusal
from softman.services.mapping import SOURCE_XATTR, Target, TargetKind, key_of, source_mark, target_of


@dataclass(frozen=True, slots=True)
class Look:
    """Something differs, or may: read the object and publish what it says now."""

    target: Target


@dataclass(frozen=True, slots=True)
class Vanished:
    """The repository shows what the bucket does not have."""

    target: Target


Step = Look | Vanished | Refusal


def walk_by_key(list_directory: Callable[[bytes], Iterable[Entry]], path: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    """Every entry below ``path`` with the bytes of the key that would publish it, in the order of S3."""
    children = [(entry.path + (b"/" if entry.is_dir else b""), entry) for entry in list_directory(path)]
    children.sort(key=lambda pair: pair[0])
    for name, entry in children:
        yield key_of(name.removesuffix(b"/"), is_directory=entry.is_dir).encode(errors="surrogateescape"), entry
        if entry.is_dir:
            yield from walk_by_key(list_directory, entry.path)


def difference(
    listing: Iterable[BucketObject],
    entries: Iterable[tuple[bytes, Entry]],
    known_refusals: dict[str, Refusal],
) -> Iterator[Step]:
    """What has to be looked at so that the repository shows what the bucket says.

    Args:
        listing: the bucket's objects below ``cvmfs/`` in the order of S3.
        entries: the repository's, as ``walk_by_key`` gives them.
        known_refusals: by key, what was read and refused before; with the same ETag it is refused again unread.
    """
    left, right = iter(listing), iter(entries)
    item, shown = next(left, None), next(right, None)
    while item is not None or shown is not None:
        item_key = None if item is None else item.key.encode(errors="surrogateescape")
        if shown is not None and (item_key is None or shown[0] < item_key):
            yield from _only_shown(shown[1])
            shown = next(right, None)
        elif item is not None and (shown is None or item_key != shown[0]):
            yield from _only_stored(item, known_refusals)
            item = next(left, None)
        elif item is not None and shown is not None:
            yield from _both(item, shown[1])
            item, shown = next(left, None), next(right, None)


def _only_shown(entry: Entry) -> Iterator[Step]:
    # A directory without a mark stands because something is in it; it goes with its last child.
    if not entry.is_dir or SOURCE_XATTR in entry.xattrs:
        yield Vanished(
            Target(
                key_of(entry.path, is_directory=entry.is_dir),
                entry.path,
                TargetKind.DIRECTORY if entry.is_dir else TargetKind.FILE,
            )
        )


def _only_stored(item: BucketObject, known_refusals: dict[str, Refusal]) -> Iterator[Step]:
    target = target_of(item.key)
    if isinstance(target, Refusal):
        yield Refusal(item.key, target.reason, item.etag)
    elif target is not None:
        known = known_refusals.get(item.key)
        yield known if known is not None and known.etag == item.etag != "" else Look(target)


def _both(item: BucketObject, entry: Entry) -> Iterator[Step]:
    if entry.xattrs.get(SOURCE_XATTR) != source_mark(item):
        target = target_of(item.key)
        if isinstance(target, Target):
            yield Look(target)
