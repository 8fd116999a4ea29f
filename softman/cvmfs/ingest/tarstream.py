"""The bytes of a tar archive, uncompressed or not, as a stream."""

import bz2
import lzma
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from softman.cvmfs.errors import SourceError
from softman.cvmfs.format.objects import PIECE_SIZE

try:
    from isal import isal_zlib as _gzip
except ImportError:  # no wheel for this processor
    _gzip = zlib  # type: ignore[misc]

_XZ_MEMORY: Final = 128 * 1024 * 1024
"""Bytes that the dictionary of an xz archive may ask for; ``xz -9`` asks for 65 MiB."""
_GZIP_WINDOW = 31
_MAGIC: dict[bytes, Callable[[], Any]] = {
    b"\x1f\x8b": lambda: _gzip.decompressobj(_GZIP_WINDOW),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY),
}
_REFUSED = {b"\x28\xb5\x2f\xfd": "zstd", b"PK\3\4": "zip", b"\x1f\x9d": "compress"}
_LONGEST_MAGIC = 6
_ERRORS = (zlib.error, getattr(_gzip, "error", zlib.error), lzma.LZMAError, EOFError, ValueError, OSError)


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


class InflatedStream:
    """A compressed archive while it is inflated; archives after one another count as one, as the programs do it."""

    def __init__(self, file: BinaryIO, make_decompressor: Callable[[], Any]) -> None:
        self._file = file
        self._make = make_decompressor
        self._state = make_decompressor()
        self._input = b""
        self._ready = b""
        self.position = 0

    def read(self, size: int, /) -> bytes:
        """See ``tarheaders.Stream``."""
        pieces = []
        while size and (self._ready or self._fill()):
            pieces.append(self._ready[:size])
            self._ready = self._ready[size:]
            size -= len(pieces[-1])
            self.position += len(pieces[-1])
        return b"".join(pieces)

    def skip(self, size: int, /) -> None:
        """See ``tarheaders.Stream``."""
        while size:
            passed = len(self.read(min(size, PIECE_SIZE)))
            if not passed:
                raise SourceError(f"the archive is cut short: it ends at byte {self.position}, uncompressed")
            size -= passed

    def _fill(self) -> bool:
        """Inflate some more; whether there was any."""
        try:
            while not self._ready:
                if self._state.eof and not self._next_part():
                    return False
                ended = False
                if not self._input and getattr(self._state, "needs_input", True):
                    self._input = self._file.read(PIECE_SIZE)
                    ended = not self._input
                self._ready = self._state.decompress(self._input, PIECE_SIZE)
                # zlib gives back what it did not take; bz2 and lzma keep it.
                left = getattr(self._state, "unconsumed_tail", b"")
                self._input = self._state.unused_data if self._state.eof else left
                if ended and not self._ready and not self._state.eof:
                    raise SourceError("the archive is cut short: its compressed data ends early")
        except _ERRORS as exc:
            raise SourceError(f"the archive is damaged: {exc}") from exc
        return True

    def _next_part(self) -> bool:
        """Begin with the compressed stream that follows, if any; zeros that pad the end are passed over."""
        while not self._input.strip(b"\0"):
            self._input = self._file.read(PIECE_SIZE)
            if not self._input:
                return False
        self._state = self._make()
        return True


@contextmanager
def open_stream(path: Path) -> Iterator[PlainStream | InflatedStream]:
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
            magic = file.read(_LONGEST_MAGIC)
            file.seek(0)
        except OSError as exc:
            raise SourceError(f"{path} cannot be read: {exc.strerror}") from exc
        for start, name in _REFUSED.items():
            if magic.startswith(start):
                raise SourceError(f"{path} is compressed with {name}; tar archives, plain, .gz, .bz2 and .xz are read")
        for start, make in _MAGIC.items():
            if magic.startswith(start):
                yield InflatedStream(file, make)
                return
        yield PlainStream(file)
