"""Extended attributes as a catalog row holds them.

Source: ``cvmfs/xattr.cc`` of CernVM-FS 2.12. Version byte 1, number of entries, then per entry key length, value
length, key, value. All lengths are one byte; entries are sorted by key.
"""

from collections.abc import Mapping

from softman.cvmfs.errors import FormatError

_VERSION = 1
MAX_ENTRIES = 255
MAX_KEY = 255
MAX_VALUE = 255
"""Bytes of one attribute's value: its length is stored in one byte."""


def encode(attributes: Mapping[bytes, bytes]) -> bytes | None:
    """The blob for ``attributes``, or None when there are none (the column is NULL then).

    Raises:
        FormatError: more than 255 attributes, a name that is empty, has a NUL or exceeds 255 bytes, or a value over
            255 bytes. The stock writer drops such values silently; here the caller must decide.
    """
    if not attributes:
        return None
    if len(attributes) > MAX_ENTRIES:
        msg = f"{len(attributes)} extended attributes; {MAX_ENTRIES} are possible"
        raise FormatError(msg)
    blob = bytearray((_VERSION, len(attributes)))
    for key, value in sorted(attributes.items()):
        if not 0 < len(key) <= MAX_KEY or b"\0" in key:
            msg = f"extended attribute name {key[:80]!r} must have 1 to {MAX_KEY} bytes without NUL"
            raise FormatError(msg)
        if len(value) > MAX_VALUE:
            msg = f"extended attribute {key!r} has {len(value)} bytes; {MAX_VALUE} are possible"
            raise FormatError(msg)
        blob += bytes((len(key), len(value))) + key + value
    return bytes(blob)


def decode(blob: bytes | None) -> dict[bytes, bytes]:
    """The attributes in ``blob``; empty for None (NULL).

    Raises:
        FormatError: another version, a blob that ends early or late, an empty name, or a name given twice.
    """
    if blob is None:
        return {}
    if len(blob) < 2 or blob[0] != _VERSION:  # noqa: PLR2004 - version and count
        msg = "extended attributes are not in version 1 of the format"
        raise FormatError(msg)
    attributes: dict[bytes, bytes] = {}
    at = 2
    for _ in range(blob[1]):
        if at + 2 > len(blob):
            msg = "extended attributes end early"
            raise FormatError(msg)
        key_end = at + 2 + blob[at]
        value_end = key_end + blob[at + 1]
        key = blob[at + 2 : key_end]
        if value_end > len(blob) or not key or key in attributes:
            msg = "extended attributes end early, or a name is empty or repeated"
            raise FormatError(msg)
        attributes[key] = blob[key_end:value_end]
        at = value_end
    if at != len(blob):
        msg = "extended attributes have trailing bytes"
        raise FormatError(msg)
    return attributes
