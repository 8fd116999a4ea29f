"""Making objects out of the content of files: read, compressed, hashed, staged. This runs in the worker processes.

Jobs are lists, so that small files do not cost a message each.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from softman.cvmfs.areas import DirectoryArea, StagingArea, staged_name
from softman.cvmfs.direct import DirectArea
from softman.cvmfs.errors import SourceError, StoreUnavailable
from softman.cvmfs.format.entry import Compression
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, Hasher, ObjectKind, hash_bytes
from softman.cvmfs.format.objects import PIECE_SIZE, Compressor, compress
from softman.cvmfs.ingest.items import Extent, Stamp
from softman.cvmfs.staging import Published
from softman.cvmfs.store.posix import write_all

SMALL = 1024 * 1024
"""Bytes of content up to which an object is made in memory."""
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Recipe:
    """How objects are made and where they go."""

    area: StagingArea
    published: Published
    algorithm: HashAlgorithm
    compression: Compression
    level: int | None


@dataclass(frozen=True, slots=True)
class Part:
    """The content of one object."""

    content: Extent | bytes
    kind: ObjectKind = ObjectKind.FILE


Made = tuple[bytes, int, bool]
"""An object: its digest, its size as stored, and whether it is new to the storage."""


def make_objects(recipe: Recipe, parts: Sequence[Part]) -> list[Made]:
    """Make one object of each part, in order.

    Raises:
        SourceError: a file cannot be read, or is not what it was when it was found.
        StoreUnavailable: the staging area cannot be written now.
    """
    return [_make(recipe, part) for part in parts]


def stamp(status: os.stat_result) -> Stamp:
    """What tells a file from another, and from itself after a change."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_extent(extent: Extent, piece: int = PIECE_SIZE) -> Iterator[bytes]:
    """The bytes of ``extent`` in pieces; the file is looked at before and after.

    Raises:
        SourceError: it cannot be read, or has changed.
    """
    try:
        descriptor = open_source_file(extent.path)
        try:
            _compare(descriptor, extent)
            offset, end = extent.offset, extent.offset + extent.length
            while offset < end:
                data = os.pread(descriptor, min(piece, end - offset), offset)
                if not data:
                    raise SourceError(f"{_shown(extent.path)} is shorter than it was")
                offset += len(data)
                yield data
            _compare(descriptor, extent)
        finally:
            os.close(descriptor)
        if extent.discard:
            os.unlink(extent.path)  # noqa: PTH108 - names are bytes here
    except OSError as exc:
        raise unreadable(extent.path, exc) from exc


def open_source_file(path: bytes) -> int:
    """Open a file of a source for reading; a link is not followed, a fifo not waited for."""
    return os.open(path, _OPEN)


def unreadable(path: bytes, exc: OSError) -> SourceError:
    """What to raise when a file of a source cannot be read."""
    return SourceError(f"{_shown(path)} cannot be read: {exc.strerror}")


def _compare(descriptor: int, extent: Extent) -> None:
    if extent.stamp is not None and stamp(os.fstat(descriptor)) != extent.stamp:
        raise SourceError(f"{_shown(extent.path)} was changed while it was published; try again")


def _make(recipe: Recipe, part: Part) -> Made:
    content = part.content
    if isinstance(content, Extent):
        if content.length > SMALL:
            return _make_large(recipe, read_extent(content), part.kind)
        content = b"".join(read_extent(content, SMALL))
    stored = compress(content, recipe.level) if recipe.compression is Compression.ZLIB else content
    found = hash_bytes(stored, recipe.algorithm)
    return found.digest, len(stored), keep_small(recipe, found, part.kind, stored)


def keep_small(recipe: Recipe, found: ContentHash, kind: ObjectKind, stored: bytes) -> bool:
    """Store an object that is in memory; whether it was new."""
    area = recipe.area
    if isinstance(area, DirectArea):
        return area.store(found, kind, stored)
    name = staged_name(found, kind)
    if recipe.published(found, kind, size=len(stored)):
        return False
    if not isinstance(area, DirectoryArea):
        if area.holds(name):
            return False
        with area.spool() as spool:
            spool.write(stored)
            spool.keep_as(name)
        return True
    # Nobody looks into the area before every job is done, so the file may grow under its name.
    try:
        descriptor = os.open(area.directory / name, _CREATE, 0o644)
    except FileExistsError:
        return False
    except OSError as exc:
        raise StoreUnavailable(f"the staging area cannot be written: {exc.strerror}") from exc
    try:
        write_all(descriptor, stored)
    except OSError as exc:
        with suppress(OSError):
            (area.directory / name).unlink()
        raise StoreUnavailable(f"the staging area cannot be written: {exc.strerror}") from exc
    finally:
        os.close(descriptor)
    return True


def _make_large(recipe: Recipe, pieces: Iterator[bytes], kind: ObjectKind) -> Made:
    compressor = Compressor(recipe.level) if recipe.compression is Compression.ZLIB else None
    hasher, size = Hasher(recipe.algorithm), 0
    with recipe.area.spool() as spool:
        for piece in _stored(compressor, pieces):
            hasher.update(piece)
            spool.write(piece)
            size += len(piece)
        found = hasher.finish()
        name = staged_name(found, kind)
        is_new = not recipe.area.holds(name) and not recipe.published(found, kind, size=size)
        if is_new:
            spool.keep_as(name)
    return found.digest, size, is_new


def _stored(compressor: Compressor | None, pieces: Iterator[bytes]) -> Iterator[bytes]:
    if compressor is None:
        yield from pieces
        return
    for piece in pieces:
        yield compressor.update(piece)
    yield compressor.finish()


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
