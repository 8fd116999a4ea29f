"""Compressing content into the stored form of an object, and bounded inflating back.

Every compressed object is one zlib stream (RFC 1950) that ends exactly where the object ends
(``cvmfs/compression/compression.cc``). Any valid stream will do for files, chunks, catalogs and tag databases, and
python-isal, where it is installed, makes them much faster. Certificates and metainfo are the exception: a Stratum 1
compresses them again by itself and keeps the name it finds in the manifest, so their bytes must be those of stock zlib
at level 6 (``compress_stock``).

The bytes python-isal makes may depend on its version and on the processor. That costs de-duplication, never
correctness: an object is named by the bytes as stored.
"""

import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from softman.cvmfs.errors import FormatError, TooLarge
from softman.cvmfs.format.hashes import Bytes

try:
    from isal import isal_zlib as _isal
except ImportError:  # no wheel for this processor: everything works, more slowly
    _isal = None  # type: ignore[assignment]  # not on every machine

_engine: Any = zlib if _isal is None else _isal
_INFLATE_ERRORS: tuple[type[Exception], ...] = (zlib.error, _engine.error)

ENGINE: Final = "zlib" if _isal is None else "isal"
"""What compresses and streams here: ``isal`` or ``zlib``."""

DEFAULT_LEVEL: Final = 6 if _isal is None else 2
"""The engine's level for content.

ISA-L's level 2 is as fast as its level 1 and stores less: on 126 MB of software 381 MB/s on one core, the result 12 %
larger than that of zlib's level 6, which does 29 MB/s.
"""

MAX_LEVEL: Final = 9 if _isal is None else 3
"""The engine's highest level."""

PIECE_SIZE: Final = 256 * 1024
"""Upper bound, in bytes, of the pieces in which content is read, inflated and handed on."""

_STOCK_LEVEL: Final = 6


class Compressor:
    """Compresses a stream.

    Args:
        level: of ``ENGINE``, up to ``MAX_LEVEL``; None takes ``DEFAULT_LEVEL``.
    """

    def __init__(self, level: int | None = None) -> None:
        self._state: Any = _engine.compressobj(DEFAULT_LEVEL if level is None else level)

    def update(self, data: Bytes) -> bytes:
        """Feed ``data``; returns what is ready to be stored, often nothing."""
        ready: bytes = self._state.compress(data)
        return ready

    def finish(self) -> bytes:
        """End the stream; returns the rest. The compressor cannot be used any more."""
        rest: bytes = self._state.flush()
        return rest


def compress(data: Bytes, level: int | None = None) -> bytes:
    """``data`` as one compressed object.

    Args:
        data: the content.
        level: of ``ENGINE``, up to ``MAX_LEVEL``; None takes ``DEFAULT_LEVEL``.
    """
    stored: bytes = _engine.compress(data, DEFAULT_LEVEL if level is None else level)
    return stored


def compress_stock(data: Bytes) -> bytes:
    """``data`` compressed exactly as stock zlib does at level 6: for certificates and metainfo."""
    return zlib.compress(data, _STOCK_LEVEL)


def compressed_bound(size: int) -> int:
    """The most bytes that ``size`` bytes of content may take as an object, compressed or plain.

    Deflate adds some bytes for each stored block. Real compressors stay well below this; a longer object is made to
    keep its reader busy.
    """
    return size + size // 8 + 4096


def decompress(data: Bytes, *, max_size: int) -> bytes:
    """The content of one compressed object.

    Stock zlib does this, as what comes through here may not have been verified yet.

    Args:
        data: all of the object's stored bytes.
        max_size: the most bytes of content to accept.

    Raises:
        FormatError: not a zlib stream, cut short, or followed by other bytes.
        TooLarge: the content has more than ``max_size`` bytes; not more than that is ever inflated.
    """
    return b"".join(_inflate(zlib.decompressobj(), [bytes(data)], max_size))


def inflate(pieces: Iterable[bytes], *, max_size: int) -> Iterator[bytes]:
    """The content of one compressed object, as a stream of pieces of up to ``PIECE_SIZE`` bytes.

    Args:
        pieces: the object's stored bytes, in order.
        max_size: the most bytes of content to accept.

    Raises:
        FormatError: not a zlib stream, cut short, or followed by other bytes.
        TooLarge: the content has more than ``max_size`` bytes; it is raised in place of the piece that goes beyond.
    """
    return _inflate(_engine.decompressobj(), pieces, max_size)


def _inflate(stream: Any, pieces: Iterable[bytes], max_size: int) -> Iterator[bytes]:
    left = max_size
    for pending in pieces:
        for piece in _drain(stream, pending, left):
            left -= len(piece)
            yield piece
        if stream.unused_data:
            raise FormatError("bytes after the end of the zlib stream")
    if not stream.eof:
        raise FormatError("zlib stream ends early")


def _drain(stream: Any, pending: bytes, left: int) -> Iterator[bytes]:
    """Everything that ``pending`` adds to the content, at most ``left`` bytes."""
    if stream.eof and pending:
        raise FormatError("bytes after the end of the zlib stream")
    while not stream.eof:
        # One byte more than allowed is asked for: it tells a stream that is too long from one that just fits.
        room = min(PIECE_SIZE, left + 1)
        try:
            piece: bytes = stream.decompress(pending, room)
        except _INFLATE_ERRORS as error:
            raise FormatError(f"not a zlib stream: {error}") from error
        left -= len(piece)
        if left < 0:
            raise TooLarge("content is longer than announced or allowed")
        if piece:
            yield piece
        pending = stream.unconsumed_tail
        if not pending and len(piece) < room:
            return
