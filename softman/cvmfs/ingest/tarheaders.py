"""Reading the members of a tar archive as a stream, in bounded memory: POSIX (ustar, pax), GNU and old archives.

Python's ``tarfile`` keeps every member in memory, reads extended headers of any size, and takes twice as long for a
member; an archive that a stranger made is read by this instead. Where programs disagree about what an archive says, it
is an error: nobody can tell what was meant, or checked. Format: POSIX.1-2017, ``pax`` "ustar Interchange Format"; GNU
tar's manual, "Basic Tar Format".
"""

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol
from urllib.parse import unquote_to_bytes

from softman.cvmfs.errors import SourceError

BLOCK: Final = 512
MAX_EXTENDED: Final = 1024 * 1024
"""Bytes of the extended headers (long names, pax records) of one member, or of the whole archive, that are accepted."""

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
_RECORD = 20 * BLOCK
_END_PIECE = 64 * 1024
_BINARY, _NEGATIVE = 0x80, 0xFF
_MAX_SECONDS = 2**40
_TIME = re.compile(rb"(-?)(\d{1,14})(?:\.(\d*))?")
_OCTAL = re.compile(rb"[0-7]*")
_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_SPARSE = (b"GNU.sparse.", b"SUN.holesdata", b"SCHILY.realsize")
_KEPT = (b"path", b"linkpath", b"size", b"mtime", _SCHILY, _LIBARCHIVE, *_SPARSE)
"""Beginnings of the pax records that are looked at."""
_STAR = b"tar\0"
_TYPES = {
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a fifo",
    b"M": "the rest of a file in another archive",
    b"D": "a GNU dump directory",
}


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

    When it comes to its end, all of ``stream`` was read.

    Raises:
        SourceError: it is no tar archive, is damaged, is cut short, or can be read in two ways.
    """
    common: dict[bytes, bytes] = {}
    extended = _Extended()
    while (header := _header(stream)) is not None:
        kind, size = header[156:157], _number(header[124:136], stream)
        if kind in _GNU_LONG:
            extended.add(kind, {_GNU_LONG[kind]: _extended(stream, size).partition(b"\0")[0]}, size, stream)
        elif kind in _PAX_LOCAL:
            extended.add(b"x", _pax_records(_extended(stream, size), stream), size, stream)
        elif kind == _PAX_GLOBAL:
            common.update(_pax_records(_extended(stream, size), stream))
            if sum(map(len, common)) + sum(map(len, common.values())) > MAX_EXTENDED:
                raise _damaged(stream, f"its global headers have more than {MAX_EXTENDED} bytes")
        else:
            _pass_sparse_map(header, kind, stream)
            member = _member(header, kind, size, common | extended.records if common else extended.records, stream)
            end = member.offset + (0 if member.kind in _WITHOUT_DATA else _padded(member.size))
            yield member
            stream.skip(end - stream.position)
            extended = _Extended()
    if extended.kinds:
        raise _damaged(stream, "it ends between a header and its member")
    _pass_end(stream)


class _Extended:
    """The extended headers before a member."""

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.kinds: set[bytes] = set()
        self._size = 0

    def add(self, kind: bytes, records: dict[bytes, bytes], size: int, stream: Stream) -> None:
        self._size += size
        if kind in self.kinds or self._size > MAX_EXTENDED:
            raise _damaged(stream, "a member has too many extended headers")
        self.kinds.add(kind)
        # What pax says counts more than what GNU tar does, whichever comes first.
        self.records = self.records | records if kind == b"x" else records | self.records


def _pass_end(stream: Stream) -> None:
    """Read what follows the end mark: up to the end of its record anything, as Ant and Maven left it, then zeros."""
    stream.read(-stream.position % _RECORD)
    while rest := stream.read(_END_PIECE):
        if rest.count(0) != len(rest):
            raise _damaged(stream, "there is something after the end mark of the archive; was another one appended?")


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
    # Some old programs added up signed bytes.
    if expected != sum(blanked) and expected != sum(byte - (byte & 0x80) * 2 for byte in blanked):
        where = "not a tar archive" if stream.position == BLOCK else f"the archive is damaged at byte {stream.position}"
        raise SourceError(f"{where}: a header has a wrong check sum")
    return header


def _member(header: bytes, kind: bytes, size: int, records: dict[bytes, bytes], stream: Stream) -> Member:
    name = records.get(b"path") or _name(header)
    if b"size" in records:
        size = _decimal(records[b"size"], stream)
    if kind in _OLD_REGULAR:
        kind = DIRECTORY if name.endswith(b"/") else REGULAR
    if size and kind in _WITHOUT_DATA:
        raise _damaged(
            stream, f"{shown(name)} is no file, but is said to have {size} bytes; what follows it is unclear"
        )
    return Member(
        name=name,
        kind=kind,
        mode=_number(header[100:108], stream) & 0o7777,
        mtime=_time(records, header, stream),
        size=size,
        offset=stream.position,
        link=records.get(b"linkpath") or header[157:257].partition(b"\0")[0],
        xattrs=_xattrs(records, stream) if records else {},
        is_sparse=kind == SPARSE or any(key.startswith(_SPARSE) for key in records),
    )


def _name(header: bytes) -> bytes:
    name = header[:100].partition(b"\0")[0]
    if header[257:263] != b"ustar\0":
        return name
    end = 476 if header[508:512] == _STAR else 500  # star has times in the rest of the field
    prefix = header[345:end].partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _time(records: dict[bytes, bytes], header: bytes, stream: Stream) -> int:
    if text := records.get(b"mtime"):
        match = _TIME.fullmatch(text)
        if match is None:
            raise _damaged(stream, "a time is no number")
        found = int(match[2]) * _NANO + int((match[3] or b"")[:9].ljust(9, b"0"))
        found = -found if match[1] else found
    else:
        found = _number(header[136:148], stream, signed=True) * _NANO
    if abs(found) > _MAX_SECONDS * _NANO:
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
        if key.startswith(_KEPT):
            records[key] = value
        position = end
    return records


def _number(text: bytes, stream: Stream, *, signed: bool = False) -> int:
    """A number of a header: octal digits, or binary when the first bit is set."""
    if text[0] & _BINARY:
        value = int.from_bytes(text, "big", signed=True) if text[0] == _NEGATIVE else int.from_bytes(text[1:], "big")
    else:
        digits = text.partition(b"\0")[0].strip(b" ")
        if _OCTAL.fullmatch(digits) is None:
            raise _damaged(stream, "a number is not in octal digits")
        value = int(digits, 8) if digits else 0
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


def member_path(name: bytes) -> bytes | None:
    """A member's name as a path in the archive, ``b""`` for the archive itself; None when it leads out of it."""
    if name.startswith(b"/"):
        return None
    parts = [part for part in name.split(b"/") if part not in {b"", b"."}]
    return None if b".." in parts else b"/".join(parts)


def type_name(kind: bytes) -> str:
    """What a member is that is no file, directory or link, for people."""
    return _TYPES.get(kind, "of an unknown type")


def shown(name: bytes) -> str:
    """A name for people."""
    return name[:200].decode(errors="backslashreplace") or "a member"
