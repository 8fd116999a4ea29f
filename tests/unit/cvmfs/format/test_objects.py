import zlib

import pytest

from softman.cvmfs.errors import FormatError, TooLarge
from softman.cvmfs.format.hashes import hash_bytes
from softman.cvmfs.format.objects import (
    ENGINE,
    MAX_LEVEL,
    PIECE_SIZE,
    Compressor,
    compress,
    compress_stock,
    compressed_bound,
    decompress,
    inflate,
)

TEXT = b"all work and no play makes a dull file\n" * 20_000


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "e8ec3d88b62ebf526e4e5a4ff6162a3aa48a6b78"),
        (b"hello\n", "5798f7f4ca7585d850eea64610a1f73d8f8de7a3"),
        (b"{}", "c33de42d51991a74c12a59993ac7eb6c20adf423"),
        (b"New CernVM-FS repository for test.example.org\n", "dd4d06d15720fac2a8599b3f0312f643e6aa562d"),
    ],
)
def test_stock_compression_gives_the_hashes_of_the_stock_tools(content: bytes, expected: str) -> None:
    assert str(hash_bytes(compress_stock(content))) == expected


@pytest.mark.parametrize("level", range(MAX_LEVEL + 1))
def test_every_level_makes_streams_that_stock_zlib_reads(level: int) -> None:
    stored = compress(TEXT, level)
    assert zlib.decompress(stored) == TEXT
    assert stored[0] == 0x78  # a zlib stream, neither raw deflate nor gzip


def test_the_fast_engine_is_in_use_where_it_is_installed() -> None:
    pytest.importorskip("isal")
    assert ENGINE == "isal"


def test_a_stream_can_be_compressed_piece_by_piece() -> None:
    compressor = Compressor()
    stored = b"".join(compressor.update(TEXT[i : i + 1000]) for i in range(0, len(TEXT), 1000)) + compressor.finish()
    assert decompress(stored, max_size=len(TEXT)) == TEXT


@pytest.mark.parametrize("step", [1, 7, 1000, 1 << 20])
def test_inflating_gives_bounded_pieces_however_the_stored_bytes_arrive(step: int) -> None:
    stored = compress(TEXT)
    found = list(inflate((stored[i : i + step] for i in range(0, len(stored), step)), max_size=len(TEXT)))
    assert b"".join(found) == TEXT
    assert max(map(len, found)) <= PIECE_SIZE


def test_content_that_just_fits_is_accepted_and_one_byte_more_is_not() -> None:
    stored = compress(TEXT)
    assert decompress(stored, max_size=len(TEXT)) == TEXT
    with pytest.raises(TooLarge):
        decompress(stored, max_size=len(TEXT) - 1)
    with pytest.raises(TooLarge):
        list(inflate([stored], max_size=len(TEXT) - 1))
    assert decompress(compress(b""), max_size=0) == b""


def test_no_more_than_allowed_comes_out_of_a_bomb() -> None:
    bomb = compress(bytes(100_000_000))
    seen = 0
    with pytest.raises(TooLarge):  # noqa: PT012 - what came before the error counts
        for piece in inflate([bomb], max_size=1_000_000):
            seen += len(piece)
    assert seen <= 1_000_000


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (b"", "ends early"),
        (compress_stock(TEXT)[:-1], "ends early"),
        (compress_stock(TEXT)[:100], "ends early"),
        (compress_stock(TEXT) + b"\0", "bytes after the end"),
        (compress_stock(TEXT) * 2, "bytes after the end"),
        (b"no zlib stream at all", "not a zlib stream"),
        (compress_stock(TEXT)[:-1] + b"\0", "not a zlib stream"),  # the check sum
    ],
)
def test_what_is_not_one_whole_stream_is_refused(stored: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        decompress(stored, max_size=len(TEXT) * 2)
    with pytest.raises(FormatError, match=message):
        list(inflate([stored], max_size=len(TEXT) * 2))
    with pytest.raises(FormatError, match=message):
        list(inflate((stored[i : i + 1] for i in range(len(stored))), max_size=len(TEXT) * 2))


def test_the_bound_holds_for_content_that_cannot_be_compressed() -> None:
    noise = zlib.compress(TEXT)[10:5000] * 200
    for content in (noise, b"", b"x"):
        assert max(len(compress(content, level)) for level in range(MAX_LEVEL + 1)) <= compressed_bound(len(content))
