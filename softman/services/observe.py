"""Looking at one object of the bucket: what it is now, its content staged while it streams. Runs in many threads."""

from collections.abc import Iterator
from dataclasses import dataclass

from softman.adapters.ports import BucketReader, ObjectBody
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject
from softman.errors import ServiceUnavailable
from softman.model import BucketObject, Refusal
from softman.services.mapping import (
    DIRECTORY_MODE,
    SNIFF_SIZE,
    SOURCE_XATTR,
    Target,
    file_mode,
    mode_of,
    mtime_of,
    source_mark,
)


@dataclass(frozen=True, slots=True)
class Gone:
    """The bucket has no such object now."""

    target: Target


@dataclass(frozen=True, slots=True)
class Same:
    """The repository already shows this object as it is."""

    target: Target


@dataclass(frozen=True, slots=True)
class Seen:
    """The object as it is now; ``stored`` is its staged content, None for a directory marker."""

    target: Target
    info: BucketObject
    mode: int
    stored: StoredObject | ChunkedContent | None


Observation = Gone | Same | Seen | Refusal


class Observer:
    """Reads objects of one bucket into a staging area.

    Args:
        buckets: where to read.
        bucket: the bucket's name.
        staging: where content goes.
    """

    def __init__(self, buckets: BucketReader, bucket: str, staging: Staging) -> None:
        self._buckets = buckets
        self._bucket = bucket
        self._staging = staging

    def observe(self, target: Target, shown: Entry | None) -> Observation:
        """Look at the object behind ``target``; its content is read only when ``shown`` is not up to date.

        Raises:
            ServiceUnavailable: the object store does not answer, or the content broke off.
        """
        with self._buckets.read(self._bucket, target.key) as body:
            if body is None:
                return Gone(target)
            if shown is not None and _is_current(shown, body.info, target):
                return Same(target)
            if target.is_directory:
                return _directory(target, body.info)
            return self._file(target, body)

    def _file(self, target: Target, body: ObjectBody) -> Seen:
        head = bytearray()
        stored = self._staging.write_file(_with_head(body.chunks(), head))
        if stored.size != body.info.size:
            msg = f"{target.key} broke off after {stored.size} of {body.info.size} bytes"
            raise ServiceUnavailable(msg)
        return Seen(target, body.info, file_mode(body.info, bytes(head)), stored)


def _with_head(chunks: Iterator[bytes], head: bytearray) -> Iterator[bytes]:
    for chunk in chunks:
        if len(head) < SNIFF_SIZE:
            head += chunk[: SNIFF_SIZE - len(head)]
        yield chunk


def _directory(target: Target, info: BucketObject) -> Seen | Refusal:
    if info.size:
        return Refusal(target.key, "a name ending in a slash is a folder and cannot have content", info.etag)
    mode = mode_of(info, is_directory=True)
    return Seen(target, info, DIRECTORY_MODE if mode is None else mode, None)


def _is_current(shown: Entry, info: BucketObject, target: Target) -> bool:
    """Whether ``shown`` came from this object; a copy within the same second may change metadata alone."""
    if shown.xattrs.get(SOURCE_XATTR) != source_mark(info) or shown.is_dir != target.is_directory:
        return False
    mode = mode_of(info, is_directory=target.is_directory)
    return (shown.mtime, shown.mtime_ns) == mtime_of(info) and (mode is None or shown.mode & 0o777 == mode)
