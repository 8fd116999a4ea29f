"""The many small files of a tree that is new: read, stored and made into catalog rows by the workers, row by row.

The process that holds the catalogs only enters the rows, a batch at a time. So what it does for a file is little, and
the cores have the rest.
"""

import marshal
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from softman.cvmfs.errors import SourceError
from softman.cvmfs.format.catalog_rows import Row, file_row
from softman.cvmfs.format.entry import MAX_NAME, Compression, Flag
from softman.cvmfs.format.hashes import DIGEST_SIZE, NO_PARENT, ObjectKind, hash_bytes, path_hash
from softman.cvmfs.format.objects import compress
from softman.cvmfs.ingest.items import NANOSECONDS, Extent, FileItem, Stamp
from softman.cvmfs.ingest.jobs import Jobs
from softman.cvmfs.ingest.objects import SMALL, Recipe, keep_small, open_source_file, stamp, unreadable
from softman.cvmfs.paths import MAX_PATH

_BATCH_FILES: Final = 256
_BATCH_BYTES: Final = 2 * 1024 * 1024
_MAX_TIME: Final = 2**62

Small = tuple[bytes, int, int, bytes, int, int, Stamp | None]
"""A file: path in the repository, mode, mtime in ns; then the file on this machine, offset and length in it, stamp."""


@dataclass(frozen=True, slots=True)
class Filed:
    """What came of a batch. Sizes are in bytes.

    Attributes:
        rows: of the catalog, as ``marshal`` has them: the fastest way from one process to another.
        fingerprint: of the rows.
        objects: how many were new to the storage.
        stored: their size.
        known: the digests of those that were not, one after the other.
    """

    rows: bytes
    fingerprint: int
    objects: int
    stored: int
    known: bytes


def file_small(recipe: Recipe, files: Sequence[Small]) -> Filed:
    """Store small files and make their rows. This runs in the worker processes.

    Raises:
        SourceError: a file cannot be read, or is not what it was when it was found.
        StoreUnavailable: the storage cannot be written now.
    """
    rows: list[Row] = []
    fingerprint = objects = size = 0
    known = bytearray()
    is_zlib, level, algorithm = recipe.compression is Compression.ZLIB, recipe.level, recipe.algorithm
    flags = Flag.FILE.value | algorithm.flag_bits | recipe.compression.flag_bits
    above, parent = None, NO_PARENT
    with _reading() as read:
        for place, mode, mtime, path, offset, length, expected in files:
            content = read(path, offset, length, expected)
            stored = compress(content, level) if is_zlib else content
            found = hash_bytes(stored, algorithm)
            if keep_small(recipe, found, ObjectKind.FILE, stored):
                objects += 1
                size += len(stored)
            else:
                known += found.digest
            seconds, rest = divmod(mtime, NANOSECONDS)
            directory, _, name = place.rpartition(b"/")
            if directory != above:
                above, parent = directory, path_hash(directory)
            row, mark = file_row(place, name, parent, found.digest, length, stat.S_IFREG | mode, seconds, rest, flags)
            rows.append(row)
            fingerprint += mark
    return Filed(marshal.dumps(rows), fingerprint, objects, size, bytes(known))


@contextmanager
def _reading() -> Iterator[Callable[[bytes, int, int, Stamp | None], bytes]]:
    """Gives a function that reads; a file that is asked for again and again, such as an archive, stays open."""
    name, descriptor = b"", -1

    def read(path: bytes, offset: int, length: int, expected: Stamp | None) -> bytes:
        nonlocal name, descriptor
        try:
            if path != name:
                if descriptor >= 0:
                    os.close(descriptor)
                    descriptor = -1
                name, descriptor = path, open_source_file(path)
            data = os.pread(descriptor, length, offset) if length else b""
            # What has not changed between the look at the directory and now was not changed while it was read.
            if expected is not None and stamp(os.fstat(descriptor)) != expected:
                raise SourceError(f"{_shown(path)} was changed while it was published; try again")
        except OSError as exc:
            raise unreadable(path, exc) from exc
        if len(data) != length:
            raise SourceError(f"{_shown(path)} is shorter than it was")
        return data

    try:
        yield read
    finally:
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(slots=True)
class Batch:
    """Small files that go to a worker together."""

    files: list[Small] = field(default_factory=list)
    names: list[bytes] = field(default_factory=list)
    """Their paths in the source."""
    size: int = 0
    followers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Other names of files among them, which came meanwhile: path, and the path that it is a hard link to."""


class SmallFiles:
    """Collects small files, and has them stored.

    Args:
        recipe: how objects are made.
        jobs: of the publish.
        enter: takes the result of each batch.
        largest: bytes of the largest file that is small.
    """

    def __init__(self, recipe: Recipe, jobs: Jobs, enter: Callable[[Batch, Filed], None], *, largest: int) -> None:
        self._recipe = recipe
        self._largest = min(largest, SMALL)
        self._jobs = jobs
        self._enter = enter
        self._batch = Batch()
        self._waiting: dict[bytes, Batch] = {}

    def takes(self, item: FileItem, place: bytes) -> bool:
        """Whether a file is plain enough to go this way; whoever does not can be entered one by one."""
        name, found = place.rpartition(b"/")[2], item.attributes
        return (
            item.size <= self._largest
            and isinstance(item.content, Extent)
            and not item.content.discard
            and not found.xattrs
            and -_MAX_TIME < found.mtime < _MAX_TIME
            and 0 < len(name) <= MAX_NAME
            and len(place) <= MAX_PATH
            and not name.startswith(b".cvmfs")
            and b"\0" not in name
        )

    def add(self, item: FileItem, place: bytes) -> None:
        """Have a file stored that ``takes`` accepts."""
        content = item.content
        assert isinstance(content, Extent)  # noqa: S101 - as ``takes`` says
        batch, found = self._batch, item.attributes
        batch.files.append(
            (place, found.mode, found.mtime, content.path, content.offset, content.length, content.stamp)
        )
        batch.names.append(item.path)
        batch.size += content.length
        self._waiting[item.path] = batch
        if len(batch.files) >= _BATCH_FILES or batch.size >= _BATCH_BYTES:
            self.flush()

    def follow(self, path: bytes, target: bytes) -> bool:
        """Note that ``path`` is a hard link to ``target``, when that is on its way; else nothing happens."""
        batch = self._waiting.get(target)
        if batch is None:
            return False
        batch.followers.append((path, target))
        self._waiting[path] = batch
        return True

    def flush(self) -> None:
        """Send off what was collected."""
        if self._batch.files:
            batch, self._batch = self._batch, Batch()
            self._jobs.start(lambda filed: self._done(batch, filed), file_small, self._recipe, batch.files)

    def _done(self, batch: Batch, filed: Filed) -> None:
        for name in batch.names:
            del self._waiting[name]
        for path, _ in batch.followers:
            self._waiting.pop(path, None)
        self._enter(batch, filed)


def digests(known: bytes) -> Iterator[bytes]:
    """The digests in ``Filed.known``."""
    return (known[start : start + DIGEST_SIZE] for start in range(0, len(known), DIGEST_SIZE))


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
