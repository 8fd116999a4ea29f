"""Where large files are cut into chunks: by their content as stock writers do it, or at a fixed distance.

The stock detector (``cvmfs/ingestion/chunk_detector.cc``) rolls ``x = ((x << 1) ^ byte) mod 2**32`` over the content
and cuts before the byte that brings ``x`` close to 0x7fffffff. Equal cuts make equal chunks: versions of a
file share objects, also with what the stock tools published where both compress alike.

A byte leaves ``x`` after 32 steps, so nothing has to be rolled. Bit ``j`` of ``x`` after byte ``i`` is, for ``j >= 7``,
the bit ``c[i-j]`` with ``c[n] = b[n].0 ^ b[n+1].1 ^ ... ^ b[n+7].7`` (``b[n].m`` being bit ``m`` of byte ``n``), and a
value close to 0x7fffffff is one bit followed by a run of the other. So a cut is a run in ``c``, and ``c`` comes out of
shifting whole blocks, taken as one number, by 9 bits a byte. Measured on one core of a busy machine: 260 to 390 MB/s
with Python's own numbers, 130 with numpy's and the doubling of the window, 640 to 770 with numpy and runs. Half of the
bytes need no look (``minimum``), and compressing costs more, so numpy is not worth its start of 0.2 s.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from softman.cvmfs.errors import FormatError

WINDOW: Final = 32
"""Bytes that the rolling value depends on."""

_MIB = 1024 * 1024
_BLOCK = 16 * 1024
_MIDDLE = 0x7FFFFFFF
_ALL_ONES = 0xFFFFFFFF
_WHOLE_BIT = 7
"""Bits of the rolling value from this one on are whole bits of ``c``; those below miss some of its parts."""


class Chunker(Protocol):
    """Finds the cuts of one file."""

    def feed(self, data: bytes) -> list[int]:
        """Look at the next bytes of the file.

        Returns:
            Offsets in the file of the cuts that are known now and were not before. There is none at the end of the
            file.
        """


@dataclass(frozen=True, slots=True)
class ChunkSizes:
    """Bounds of the chunks, in bytes; the defaults are those of the stock tools.

    Files of up to ``minimum`` bytes are not cut.

    Raises:
        FormatError: ``minimum`` is less than 32, or they are not in order.
    """

    minimum: int = 4 * _MIB
    average: int = 8 * _MIB
    maximum: int = 16 * _MIB

    def __post_init__(self) -> None:
        if not WINDOW <= self.minimum <= self.average <= self.maximum:
            raise FormatError(
                f"chunks of {self.minimum}, {self.average} and {self.maximum} bytes: minimum, average and maximum "
                f"must be in this order, from {WINDOW} on"
            )


class FixedChunker:
    """Cuts after every ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._seen = 0
        self._cut = size

    def feed(self, data: bytes) -> list[int]:
        """See ``Chunker.feed``."""
        self._seen += len(data)
        cuts = list(range(self._cut, self._seen, self._size))
        if cuts:
            self._cut = cuts[-1] + self._size
        return cuts


class ContentChunker:
    """Cuts where the stock tools cut."""

    def __init__(self, sizes: ChunkSizes | None = None) -> None:
        self._sizes = sizes or ChunkSizes()
        self._mark = _Mark(_ALL_ONES // self._sizes.average)
        self._start = 0
        self._seen = 0
        self._tail = b""

    def feed(self, data: bytes) -> list[int]:
        """See ``Chunker.feed``."""
        cuts: list[int] = []
        end = self._seen + len(data)
        if end > self._start + self._sizes.minimum:
            known = self._tail + data
            origin = end - len(known)
            while (cut := self._next_cut(known, origin, end)) is not None:
                cuts.append(cut)
                self._start = cut
        self._seen = end
        self._tail = data[-WINDOW:] if len(data) >= WINDOW else (self._tail + data)[-WINDOW:]
        return cuts

    def _next_cut(self, known: bytes, origin: int, end: int) -> int | None:
        """The first cut among the bytes that are new, or None. ``known`` are the bytes from ``origin`` to ``end``."""
        first = max(self._start + self._sizes.minimum, self._seen)
        limit = self._start + self._sizes.maximum
        for block in range(first, min(end, limit), _BLOCK):
            stop = min(block + _BLOCK, end, limit)
            found = self._mark.find(known[block - WINDOW - origin : stop - origin])
            if found is not None:
                return block - WINDOW + found
        return limit if limit < end else None


class _Mark:
    """What a cut looks like: a rolling value closer than ``threshold`` to 0x7fffffff, or of ones only.

    The stock program takes the distance in 32 bits with a sign, which is why the second counts.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._low = max(threshold.bit_length(), _WHOLE_BIT)
        """All bits of a marked value from here to bit 30 are equal."""

    def find(self, block: bytes) -> int | None:
        """The index of the first byte from 32 on that brings up a marked value, or None."""
        bits = int.from_bytes(block, "little")
        mask = _mask(len(block))
        diagonal = bits ^ bits >> 9
        diagonal ^= diagonal >> 18
        diagonal ^= diagonal >> 36
        runs = ((diagonal ^ diagonal >> 8) & mask) ^ mask  # where a bit equals the next
        have, need = 1, 30 - self._low
        while have < need:
            step = min(have, need - have)
            runs &= runs >> 8 * step
            have += step
        if not runs:
            return None
        longer = runs & runs << 8
        found = self._first_start(block, runs ^ longer)
        ones = self._first_of_ones(bits, diagonal, longer & diagonal, len(block))
        return found if ones is None else ones if found is None else min(found, ones)

    def _first_start(self, block: bytes, starts: int) -> int | None:
        """The first marked value at the beginning of a run; bit ``8 * n`` of ``starts`` is a run from ``c[n]`` on."""
        while starts:
            lowest = starts & -starts
            index = (lowest.bit_length() - 1) // 8 + 30
            if WINDOW <= index < len(block) and self._is_near(_rolling(block, index)):
                return index
            starts ^= lowest
        return None

    def _first_of_ones(self, bits: int, diagonal: int, inside: int, length: int) -> int | None:
        """The first value of ones only; bit ``8 * n`` of ``inside`` is a run of ones from ``c[n-1]`` on."""
        inside &= _mask(length - 30) & ~0xFFFF if length > WINDOW else 0
        for bit in range(_WHOLE_BIT, self._low):
            inside &= diagonal >> 8 * (30 - bit)
        for bit in range(_WHOLE_BIT):
            if not inside:
                return None
            parts = 0
            for part in range(bit + 1):
                parts ^= bits >> 8 * (30 - bit) + 9 * part
            inside &= parts
        return ((inside & -inside).bit_length() - 1) // 8 + 30 if inside else None

    def _is_near(self, value: int) -> bool:
        return abs(value - _MIDDLE) < self._threshold


def _rolling(block: bytes, index: int) -> int:
    """The rolling value after the byte at ``index``, which must not be among the first 31."""
    value = 0
    for byte in block[index - WINDOW + 1 : index + 1]:
        value = value << 1 ^ byte
    return value & _ALL_ONES


_FULL_MASK: Final = int.from_bytes(b"\1" * (_BLOCK + WINDOW), "little")


def _mask(length: int) -> int:
    """The lowest bit of each of ``length`` bytes."""
    return _FULL_MASK if length == _BLOCK + WINDOW else int.from_bytes(b"\1" * length, "little")
