"""Reading the members of a tar archive as a stream, in bounded memory: POSIX (ustar, pax), GNU and old archives.

Python's ``tarfile`` keeps every member in memory, reads extended headers of any size, and takes some 60 microseconds a
member; an archive that a stranger made is read by this instead. Format: POSIX.1-2017, ``pax`` "ustar Interchange
Format"; GNU tar's manual, "Basic Tar Format".
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from softman.cvmfs.errors import SourceError

BLOCK: Final = 512
MAX_EXTENDED: Final = 1024 * 1024
"""Bytes of an extended header (long names, pax records) that are accepted."""

REGULAR: Final = b"0"
HARD_LINK: Final = b"1"
SYMBOLIC_LINK: Final = b"2"
DIRECTORY: Final = b"5"
SPARSE: Final = b"S"
VOLUME_LABEL: Final = b"V"

_OLD_REGULAR = frozenset({b"0", b"\0", b"7"})
_WITHOUT_DATA = frozenset({b"1", b"2", b"3", b"4", b"5", b"6"})
_GNU_LONG = {b"L": b"path", b"K": b"linkpath"}
_PAX_LOCAL, _PAX_GLOBAL = frozenset({b"x", b"X"}), b"g"
_EMPTY = bytes(BLOCK)
_CHECKSUM = slice(148, 156)
_NANO = 10**9
_BINARY, _NEGATIVE = 0x80, 0xFF
_MAX_TIME = 2**62
_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_SPARSE_RECORD = b"GNU.sparse."


class Stream(Protocol):
    """An archive being read."""

    def read(self, size: int, /) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end."""

    def skip(self, size: int, /) -> None:
        """Pass over ``size`` bytes.

        Raises:
            SourceError: there are not so many.
        """

    @property
    def position(self) -> int:
        """Bytes passed so far."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member. ``kind`` is the type flag, ``mtime`` in nanoseconds; ``offset`` is where its data begins."""

    name: bytes
    kind: bytes
    mode: int
    mtime: int
    size: int
    offset: int
    link: bytes = b""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    is_sparse: bool = False


def read_members(stream: Stream) -> Iterator[Member]:
    """The members of an archive. Data that was not read from ``stream`` meanwhile is passed over.

    Raises:
        SourceError: it is no tar archive, is damaged, or is cut short.
    """
    common: dict[bytes, bytes] = {}
    records: dict[bytes, bytes] = {}
    while (header := _header(stream)) is not None:
        kind, size = header[156:157], _number(header[124:136], stream)
        if kind in _GNU_LONG:
            records.setdefault(_GNU_LONG[kind], _extended(stream, size).rstrip(b"\0"))
        elif kind in _PAX_LOCAL or kind == _PAX_GLOBAL:
            found = _pax_records(_extended(stream, size), stream)
            (common if kind == _PAX_GLOBAL else records).update(found)
        else:
            _pass_sparse_map(header, kind, stream)
            member = _member(header, kind, size, common | records, stream)
            end = member.offset + (0 if member.kind in _WITHOUT_DATA else _padded(member.size))
            yield member
            stream.skip(end - stream.position)
            records = {}


def _header(stream: Stream) -> bytes | None:
    """The next header; None at the end mark."""
    header = stream.read(BLOCK)
    if len(header) < BLOCK:
        where = "it ends without the end mark of tar archives" if not header else f"it ends at byte {stream.position}"
        raise SourceError(f"the archive is cut short: {where}")
    if header == _EMPTY:
        return None
    expected = _number(header[_CHECKSUM], stream)
    blanked = header[:148] + b" " * 8 + header[156:]
    if expected not in {sum(blanked), sum(byte - (byte & 0x80) * 2 for byte in blanked)}:
        where = "not a tar archive" if stream.position == BLOCK else f"the archive is damaged at byte {stream.position}"
        raise SourceError(f"{where}: a header has a wrong check sum")
    return header


def _member(header: bytes, kind: bytes, size: int, records: dict[bytes, bytes], stream: Stream) -> Member:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].partition(b"\0")[0]):
        name = prefix + b"/" + name
    name = records.get(b"path", name)
    if b"size" in records:
        size = _decimal(records[b"size"], stream)
    if kind in _OLD_REGULAR:
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    return Member(
        name=name,
        kind=kind,
        mode=_number(header[100:108], stream) & 0o7777,
        mtime=_time(records, header, stream),
        size=size,
        offset=stream.position,
        link=records.get(b"linkpath", header[157:257].partition(b"\0")[0]),
        xattrs=_xattrs(records, stream),
        is_sparse=kind == SPARSE or any(key.startswith(_SPARSE_RECORD) for key in records),
    )


def _time(records: dict[bytes, bytes], header: bytes, stream: Stream) -> int:
    if b"mtime" not in records:
        found = _number(header[136:148], stream, signed=True) * _NANO
    else:
        try:
            found = int(Decimal(records[b"mtime"].decode("ascii")) * _NANO)
        except (InvalidOperation, UnicodeDecodeError, ValueError, OverflowError) as exc:
            raise _damaged(stream, "a time is no number") from exc
    if abs(found) > _MAX_TIME:
        raise _damaged(stream, "a time is out of range")
    return found


def _xattrs(records: dict[bytes, bytes], stream: Stream) -> dict[bytes, bytes]:
    found = {}
    for key, value in records.items():
        if key.startswith(_SCHILY):
            found[key.removeprefix(_SCHILY)] = value
        elif key.startswith(_LIBARCHIVE):
            try:
                decoded = b64decode(value + b"=" * (-len(value) % 4))
            except (Base64Error, ValueError) as exc:
                raise _damaged(stream, "an extended attribute is not in base64") from exc
            found.setdefault(unquote_to_bytes(key.removeprefix(_LIBARCHIVE)), decoded)
    return found


def _pass_sparse_map(header: bytes, kind: bytes, stream: Stream) -> None:
    """Old GNU sparse files have more of their map between header and data."""
    goes_on = kind == SPARSE and header[482:483] not in {b"\0", b"0"}
    while goes_on:
        block = stream.read(BLOCK)
        if len(block) < BLOCK:
            raise _damaged(stream, "it ends within a header")
        goes_on = block[504:505] not in {b"\0", b"0"}


def _extended(stream: Stream, size: int) -> bytes:
    if size > MAX_EXTENDED:
        raise _damaged(stream, f"an extended header has {size} bytes; up to {MAX_EXTENDED} are read")
    data = stream.read(_padded(size))
    if len(data) < _padded(size):
        raise _damaged(stream, "it ends within an extended header")
    return data[:size]


def _pax_records(data: bytes, stream: Stream) -> dict[bytes, bytes]:
    records, position = {}, 0
    while position < len(data):
        space = data.find(b" ", position, position + 10)
        if space < 0:
            raise _damaged(stream, "an extended header has no length")
        end = position + _decimal(data[position:space], stream)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or data[end - 1 : end] != b"\n" or end <= space + 1:
            raise _damaged(stream, "an extended header has a wrong length")
        records[key] = value
        position = end
    return records


def _number(text: bytes, stream: Stream, *, signed: bool = False) -> int:
    """A number of a header: octal digits, or binary when the first bit is set."""
    if text[0] & _BINARY:
        value = int.from_bytes(text, "big", signed=True) if text[0] == _NEGATIVE else int.from_bytes(text[1:], "big")
    else:
        digits = text.partition(b"\0")[0].strip(b" ")
        try:
            value = int(digits, 8) if digits else 0
        except ValueError as exc:
            raise _damaged(stream, "a number is not in octal digits") from exc
    if value < 0 and not signed:
        raise _damaged(stream, "a number is negative")
    return value


def _decimal(text: bytes, stream: Stream) -> int:
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004 - digits of 2**64
        raise _damaged(stream, "a length is no number")
    return int(text)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _damaged(stream: Stream, what: str) -> SourceError:
    if stream.position <= BLOCK:
        return SourceError(f"not a tar archive: {what}")
    return SourceError(f"the archive is damaged at byte {stream.position}: {what}")
