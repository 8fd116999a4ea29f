"""Cutting the content of one large file into pieces that workers can take."""

import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from softman.cvmfs.format.chunker import Chunker, ChunkSizes, ContentChunker, FixedChunker
from softman.cvmfs.format.objects import PIECE_SIZE
from softman.cvmfs.ingest.items import Extent
from softman.cvmfs.ingest.objects import read_extent

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def chunker(sizes: ChunkSizes | int) -> Chunker:
    """A chunker for one file: by content, or every so many bytes."""
    return FixedChunker(sizes) if isinstance(sizes, int) else ContentChunker(sizes)


def cut(content: Extent | Iterator[bytes], cutter: Chunker | None, scratch: bytes) -> Iterator[tuple[Extent, bool]]:
    """Cut ``content`` where ``cutter`` says; without one it stays whole.

    Args:
        content: of a file.
        cutter: new.
        scratch: directory for temporary files; content that is no extent is put there, piece by piece.

    Returns:
        Each piece, and whether it is all there is. The file may be read before its last piece is known.

    Raises:
        SourceError: the content cannot be read, or has changed.
    """
    if isinstance(content, Extent):
        return _cut_extent(content, cutter)
    return _cut_stream(content, cutter, scratch)


def _cut_extent(extent: Extent, cutter: Chunker | None) -> Iterator[tuple[Extent, bool]]:
    start = 0
    for data in read_extent(extent) if cutter is not None else ():
        for end in cutter.feed(data) if cutter is not None else ():
            yield Extent(extent.path, extent.offset + start, end - start, extent.stamp), False
            start = end
    yield Extent(extent.path, extent.offset + start, extent.length - start, extent.stamp), start == 0


def _cut_stream(pieces: Iterator[bytes], cutter: Chunker | None, scratch: bytes) -> Iterator[tuple[Extent, bool]]:
    position = start = 0
    path, file = _temporary(scratch)
    try:
        for data in pieces:
            written = 0
            for end in cutter.feed(data) if cutter is not None else ():
                file.write(data[written : end - position])
                file.close()
                yield Extent(path, 0, end - start, discard=True), False
                path, file = _temporary(scratch)
                written, start = end - position, end
            file.write(data[written:] if written else data)
            position += len(data)
    finally:
        file.close()
    yield Extent(path, 0, position - start, discard=True), start == 0


def _temporary(scratch: bytes) -> tuple[bytes, BinaryIO]:
    path = os.path.join(scratch, secrets.token_hex(8).encode())  # noqa: PTH118 - names are bytes here
    return path, os.fdopen(os.open(path, _CREATE, 0o600), "wb", PIECE_SIZE)
