"""The blob of extended attributes."""

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.xattrs import decode, encode


def test_the_reference_value() -> None:
    blob = bytes.fromhex("0102 0601 757365722e61 31 0603 757365722e62 78797a")
    assert encode({b"user.b": b"xyz", b"user.a": b"1"}) == blob
    assert decode(blob) == {b"user.a": b"1", b"user.b": b"xyz"}
    capability = bytes.fromhex(
        "0101 1314 73656375726974792e6361706162696c697479 01000002002000000000000000000000"
    ) + bytes(4)
    assert decode(capability) == {b"security.capability": b"\1\0\0\2\0\x20" + bytes(14)}


def test_nothing_is_null() -> None:
    assert encode({}) is None
    assert decode(None) == {}


@pytest.mark.parametrize(
    "attributes",
    [
        {b"": b"x"},
        {b"a\0b": b"x"},
        {b"k" * 256: b"x"},
        {b"k": b"v" * 256},
        {b"%d" % number: b"" for number in range(256)},
    ],
    ids=["empty name", "nul", "long name", "long value", "too many"],
)
def test_what_the_format_cannot_hold(attributes: dict[bytes, bytes]) -> None:
    with pytest.raises(FormatError):
        encode(attributes)


@pytest.mark.parametrize(
    "blob",
    [b"", b"\1", b"\2\0", b"\1\1", b"\1\1\1\1k", b"\1\1\0\1v", b"\1\2\1\0k\1\0k", b"\1\1\1\1kvx"],
    ids=["empty", "no count", "version", "no entry", "no value", "empty name", "twice", "trailing"],
)
def test_what_is_no_blob(blob: bytes) -> None:
    with pytest.raises(FormatError):
        decode(blob)


def test_the_limits_fit() -> None:
    attributes = {b"k%03d" % number + b"x" * 251: b"v" * 255 for number in range(255)}
    assert decode(encode(attributes)) == attributes
