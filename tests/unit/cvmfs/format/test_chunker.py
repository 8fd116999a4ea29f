import random
from collections.abc import Callable

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.chunker import Chunker, ChunkSizes, ContentChunker, FixedChunker

SMALL = ChunkSizes(16384, 32768, 65536)
CALM = ChunkSizes(4096, 1 << 23, 1 << 24)
"""With the stock average, so with its threshold of 511."""
# Output of the stock program's class for the data below.
STOCK_CUTS = [35629, 70482, 86888, 103728, 132305, 152523, 202265, 220967, 271234, 299726]


def _source(seed: int) -> random.Random:
    return random.Random(seed)


def model(data: bytes, sizes: ChunkSizes) -> list[int]:
    """The stock detector, byte by byte as it works."""
    threshold, start = 0xFFFFFFFF // sizes.average, 0
    out: list[int] = []
    while True:
        x, cut = 0, None
        for i in range(start + sizes.minimum - 32, min(len(data), start + sizes.maximum)):
            x = ((x << 1) & 0xFFFFFFFF) ^ data[i]
            distance = (x - 0x7FFFFFFF) & 0xFFFFFFFF
            near = distance < threshold or distance > 0x100000000 - threshold or distance == 0x80000000
            if i >= start + sizes.minimum and near:
                cut = i
                break
        if cut is None:
            if start + sizes.maximum >= len(data):
                return out
            cut = start + sizes.maximum
        out.append(cut)
        start = cut


def cuts(data: bytes, sizes: ChunkSizes, step: int | None = None) -> list[int]:
    return _feed(ContentChunker(sizes), data, step or len(data) or 1)


def _feed(chunker: Chunker, data: bytes, step: int) -> list[int]:
    found: list[int] = []
    for offset in range(0, len(data), step):
        found += chunker.feed(data[offset : offset + step])
    return found


def test_random_content_is_cut_where_the_stock_tools_cut() -> None:
    found = cuts(_source(1).randbytes(1 << 20), SMALL)
    assert found[:10] == STOCK_CUTS
    assert (len(found), found[-1]) == (34, 1037010)


def test_zeros_are_cut_at_the_maximum() -> None:
    assert cuts(bytes(300_000), SMALL) == [65536, 131072, 196608, 262144]


@pytest.mark.parametrize("step", [1, 31, 32, 33, 1000, 16384, 100_000])
def test_the_size_of_the_pieces_does_not_matter(step: int) -> None:
    data = _source(1).randbytes(200_000)
    assert cuts(data, SMALL, step) == [cut for cut in STOCK_CUTS if cut < 200_000]


def _periodic(period: int) -> Callable[[random.Random], bytes]:
    return lambda source: (source.randbytes(period) * (30_000 // period + 1))[:30_000]


@pytest.mark.parametrize(
    "make",
    [
        *(_periodic(period) for period in (1, 2, 3, 7, 22, 23, 31, 32, 33, 255)),
        lambda source: source.randbytes(30_000),
        lambda source: bytes(source.choices(b"ab", k=30_000)),
        lambda source: bytes(source.choices(b"\0\1", weights=(40, 1), k=30_000)),
        lambda _source: b"\1" * 30_000,  # the rolling value has ones only
        lambda _source: b"\0" * 15_000 + b"\1" * 15_000,
        lambda _source: b"1" * 30_000,
        lambda source: b"\1" * 20_000 + source.randbytes(20_000) + b"\xff" * 20_000,
    ],
)
@pytest.mark.parametrize(
    "sizes", [ChunkSizes(32, 64, 4096), ChunkSizes(1000, 4000, 9000), ChunkSizes(4096, 1 << 27, 1 << 27)]
)
def test_any_content_is_cut_as_by_the_model(make: Callable[[random.Random], bytes], sizes: ChunkSizes) -> None:
    for seed in range(3):
        data = make(_source(seed))
        assert cuts(data, sizes) == model(data, sizes)


@pytest.mark.parametrize("distance", [0, 1, -1, 100, 510, -510])
def test_values_within_the_threshold_are_found_after_calm_content(distance: int) -> None:
    data = bytes(9969) + _rolls_up_to(0x7FFFFFFF + distance) + bytes(9999)
    assert cuts(data, CALM) == [10_000] == model(data, CALM)


@pytest.mark.parametrize("value", [0x7FFFFFFF - 511, 0x7FFFFFFF + 511, 0xBFFFFFFF, 0xFFFFFC00])
def test_values_beyond_the_threshold_are_not(value: int) -> None:
    data = bytes(9969) + _rolls_up_to(value) + bytes(9999)
    assert cuts(data, CALM) == model(data, CALM)
    assert 10_000 not in cuts(data, CALM)


def test_a_value_of_ones_only_is_found() -> None:
    data = b"\1" * 4096 + b"\3" + b"\1" * 40 + bytes(5000)
    assert cuts(data, CALM) == model(data, CALM)


def _rolls_up_to(value: int) -> bytes:
    """32 bytes, each 0 or 1, after which the rolling value is ``value``."""
    return bytes(value >> bit & 1 for bit in reversed(range(32)))


def test_content_up_to_the_minimum_is_not_cut() -> None:
    sizes = ChunkSizes(4096, 4096, 4096)
    assert cuts(b"\1" * 4096, sizes) == []
    assert cuts(b"\1" * 4097, sizes) == [4096]


def test_nothing_is_cut_out_of_nothing() -> None:
    assert ContentChunker().feed(b"") == []
    assert FixedChunker(5).feed(b"") == []


@pytest.mark.parametrize("step", [1, 3, 10, 100])
def test_fixed_chunks(step: int) -> None:
    assert _feed(FixedChunker(10), bytes(35), step) == [10, 20, 30]
    assert _feed(FixedChunker(10), bytes(30), step) == [10, 20]


@pytest.mark.parametrize("sizes", [(31, 64, 128), (64, 32, 128), (64, 128, 100)])
def test_sizes_out_of_order_are_refused(sizes: tuple[int, int, int]) -> None:
    with pytest.raises(FormatError, match="in this order"):
        ChunkSizes(*sizes)
