"""The bytes of a tar archive as a stream, uncompressed or not, from a file or from anywhere else.

Whoever made the archive is not trusted: every call of a decompressor yields a bounded number of bytes, its memory is
bounded, and an end that is no end is told from one.
"""

import bz2
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from softman.cvmfs.errors import SourceError
from softman.cvmfs.format.objects import PIECE_SIZE

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd
try:
    from isal import isal_zlib as _gzip
except ImportError:  # no wheel for this processor
    _gzip = zlib  # type: ignore[misc]  # the same functions

MAX_WINDOW: Final = 68 * 1024 * 1024
"""Bytes that xz and zstd may take to look back: for ``xz -9``, which asks for 65 MiB, and windows of 64 MiB of zstd."""
_FEED: Final = 64 * 1024
"""Bytes handed to a decompressor at once: what it does not take is copied."""
_FREE_PARTS: Final = 10_000
_MIN_PART: Final = 256
"""Beyond that many parts, they have so many bytes on average: each costs a decompressor and a copy of the input."""
_GZIP_WINDOW = 31
_ZSTD_OPTIONS: dict[int, int] = {zstd.DecompressionParameter.window_log_max: MAX_WINDOW.bit_length() - 1}
_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": lambda: _gzip.decompressobj(_GZIP_WINDOW),
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_WINDOW),
    "zstd": lambda: zstd.ZstdDecompressor(options=_ZSTD_OPTIONS),
}
_MAGIC = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\0": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_MAGIC |= {bytes([0x50 + nibble, 0x2A, 0x4D, 0x18]): "zstd" for nibble in range(16)}  # a frame to be skipped
_UNREADABLE = {b"PK\3\4": "zip", b"PK\5\6": "zip", b"\x1f\x9d": "compress", b"7z\xbc\xaf\x27\x1c": "7-Zip",
               b"LZIP": "lzip", b"\x04\x22\x4d\x18": "lz4", b"\x89LZO": "lzop", b"Rar!\x1a\x07": "RAR"}  # fmt: skip
HEAD_SIZE: Final = 262
"""Bytes of the beginning of an archive that tell what it is."""
_TAR_MAGIC = slice(257, 262), b"ustar"
_ERRORS = (
    zlib.error,
    getattr(_gzip, "error", zlib.error),
    lzma.LZMAError,
    zstd.ZstdError,
    EOFError,
    ValueError,
    OSError,
    OverflowError,
)
_TOO_MUCH_MEMORY = ("emory usage limit", "too much memory")


def compression_of(head: bytes) -> str | None:
    """How an archive is compressed: ``gzip``, ``bzip2``, ``xz`` or ``zstd``; None for not at all.

    Args:
        head: its first ``HEAD_SIZE`` bytes or more, if there are so many.

    Raises:
        SourceError: in a way that is not understood.
    """
    place, magic = _TAR_MAGIC
    if head[place] == magic:  # even when the name of the first member begins like something else
        return None
    for start, name in _UNREADABLE.items():
        if head.startswith(start):
            raise SourceError(f"it is a file of {name}; tar archives, plain, gzip, bzip2, xz and zstd are read")
    return next((name for start, name in _MAGIC.items() if head.startswith(start)), None)


def inflate_parts(pieces: Iterator[bytes], compression: str) -> Iterator[bytes]:
    """The content of an archive in pieces of up to 256 KiB.

    Compressed streams after one another count as one, as the programs do it; zeros that pad their end are passed over.

    Args:
        pieces: compressed. Their errors pass through.
        compression: as ``compression_of`` names it.

    Raises:
        SourceError: damaged, cut short, or more than ``MAX_WINDOW`` bytes are needed to read it.
    """
    inflater = _Inflater(_DECOMPRESSORS[compression])
    for piece in pieces:
        for start in range(0, len(piece), _FEED):
            yield from inflater.feed(piece[start : start + _FEED])
    yield from inflater.finish()


class _Inflater:
    """Inflates parts that follow one another. ``_fresh`` says that the present one gave nothing yet."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._state: Any = None
        self._parts = self._taken = 0
        self._fresh = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """What ``data`` adds to the content."""
        self._taken += len(data)
        while True:
            if self._state is None:
                data = data.lstrip(b"\0") if self._parts else data
                if not data:
                    return
                self._begin()
            ready = self._step(data)
            if ready:
                yield ready
            if self._state.eof:
                data, self._state = self._state.unused_data, None
                continue
            data = getattr(self._state, "unconsumed_tail", b"")  # of zlib; the others keep what they did not take
            if not data and len(ready) < PIECE_SIZE:
                return

    def finish(self) -> Iterator[bytes]:
        """The rest of the content, when all was fed."""
        while self._state is not None:
            ready = self._step(b"")
            if not ready and not self._state.eof:
                raise SourceError("the archive is cut short: its compressed data ends early")
            yield ready
            self._state = None if self._state.eof else self._state

    def _begin(self) -> None:
        self._state, self._fresh = self._make(), True
        self._parts += 1
        if self._parts > _FREE_PARTS + self._taken // _MIN_PART:
            raise SourceError(f"the archive consists of too many parts: {self._parts} in {self._taken} bytes")

    def _step(self, data: bytes) -> bytes:
        try:
            ready: bytes = self._state.decompress(data, PIECE_SIZE)
        except _ERRORS as exc:
            if any(text in str(exc) for text in _TOO_MUCH_MEMORY):
                raise SourceError(f"more than {MAX_WINDOW} bytes of memory are needed to unpack the archive") from exc
            where = "what follows its compressed data is none" if self._fresh and self._parts > 1 else str(exc)
            raise SourceError(f"the archive is damaged: {where}") from exc
        self._fresh = self._fresh and not ready
        return ready


class PlainStream:
    """An uncompressed archive; members can be read from the file itself."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self.position = 0

    def read(self, size: int, /) -> bytes:
        """See ``tarheaders.Stream``."""
        data = self._file.read(size)
        self.position += len(data)
        return data

    def skip(self, size: int, /) -> None:
        """See ``tarheaders.Stream``."""
        if self.position + size > self._size:
            raise SourceError(f"the archive is cut short: it ends at byte {self._size}")
        if size:
            self._file.seek(size, os.SEEK_CUR)
            self.position += size


class PieceStream:
    """An archive that comes in pieces.

    Args:
        pieces: uncompressed. Their errors pass through.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self._used = 0
        self.position = 0

    def read(self, size: int, /) -> bytes:
        """See ``tarheaders.Stream``."""
        end = self._used + size
        if end <= len(self._piece):
            data = self._piece[self._used : end]
            self._used = end
            self.position += size
            return data
        return b"".join(self.take(size))

    def take(self, size: int, /) -> Iterator[bytes]:
        """As ``read``, in pieces."""
        while size and self._fill():
            data = self._piece[self._used : self._used + size]
            self._used += len(data)
            self.position += len(data)
            size -= len(data)
            yield data

    def skip(self, size: int, /) -> None:
        """See ``tarheaders.Stream``."""
        while size:
            if not self._fill():
                raise SourceError(f"the archive is cut short: it ends at byte {self.position}, uncompressed")
            passed = min(size, len(self._piece) - self._used)
            self._used += passed
            self.position += passed
            size -= passed

    def _fill(self) -> bool:
        """Have at least one byte at hand; whether there is any."""
        while self._used == len(self._piece):
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece, self._used = piece, 0
        return True


@contextmanager
def open_stream(path: Path) -> Iterator[PlainStream | PieceStream]:
    """Open an archive; its compression shows in its first bytes.

    Raises:
        SourceError: it cannot be opened, or is compressed in a way that is not understood.
    """
    try:
        file = path.open("rb")
    except OSError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror}") from exc
    with file:
        try:
            head = file.read(HEAD_SIZE)
            file.seek(0)
        except OSError as exc:
            raise SourceError(f"{path} cannot be read: {exc.strerror}") from exc
        try:
            compression = compression_of(head)
        except SourceError as exc:
            raise SourceError(f"{path}: {exc}") from exc
        if compression is None:
            yield PlainStream(file)
        else:
            yield PieceStream(inflate_parts(_file_pieces(path, file), compression))


def _file_pieces(path: Path, file: BinaryIO) -> Iterator[bytes]:
    try:
        while piece := file.read(PIECE_SIZE):
            yield piece
    except OSError as exc:
        raise SourceError(f"{path} cannot be read: {exc.strerror}") from exc
