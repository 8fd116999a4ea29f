r"""Object packs: many objects in one body, behind a header that lists them.

::

    V2\nS<bytes of all objects>\nN<number of objects>\n--\n
    C <hash><suffix of the algorithm><letter of the kind> <bytes>\n   (one line an object)
    <the objects, one directly after the other>

Objects are as they are stored, so a hash is that of the bytes in the pack. The same object may come twice. Lines
``N ...`` would write a file of any name; no publisher sends them, and they are refused. Source: ``cvmfs/pack.cc``.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from softman.cvmfs.errors import FormatError, HashMismatch, TooLarge
from softman.cvmfs.format.hashes import ContentHash, Hasher, ObjectKind

MAX_OBJECTS: Final = 100_000
"""In one pack; what stock publishers keep to."""
MAX_PACK: Final = 200 * 1024 * 1024
"""Bytes of the objects after which stock publishers begin another pack; a larger object has a pack of its own."""
MAX_OBJECT: Final = 4 * 1024**3
"""Bytes of an object."""
_MAX_LINE = 100
_MAX_HEADER = MAX_OBJECTS * _MAX_LINE
_PIECE = 256 * 1024
_PREFIX = (b"V2", b"S", b"N", b"--")
_KINDS = {kind.value: kind for kind in (ObjectKind.CHUNK, ObjectKind.CATALOG)}
_MAX_DIGITS = 20
_FIELDS = 3


@dataclass(frozen=True, slots=True)
class PackedObject:
    """An object of a pack; ``size`` counts its bytes as stored."""

    hash: ContentHash
    kind: ObjectKind
    size: int


def pack_header(objects: Iterable[PackedObject]) -> bytes:
    """The header of a pack of ``objects``, in this order."""
    listed = list(objects)
    lines = [f"C {item.hash}{item.kind.value} {item.size}\n" for item in listed]
    total = sum(item.size for item in listed)
    return f"V2\nS{total}\nN{len(listed)}\n--\n{''.join(lines)}".encode()


def header_digest(header: bytes) -> str:
    """What ``PayloadMessage.payload_digest`` is for ``header``."""
    return hashlib.sha1(header, usedforsecurity=False).hexdigest()


def parse_header(header: bytes) -> list[PackedObject]:
    """The objects that a header lists.

    Raises:
        FormatError: it is no header, names files, or its sums are not those of its lines.
        TooLarge: it lists more, or larger, objects than a pack may hold.
    """
    if len(header) > _MAX_HEADER:
        raise TooLarge(f"the header of an object pack has {len(header)} bytes, {_MAX_HEADER} are possible")
    lines = header.split(b"\n")
    if len(lines) <= len(_PREFIX) or lines[0] != _PREFIX[0] or lines[3] != _PREFIX[3] or lines[-1]:
        raise FormatError("not the header of an object pack")
    total, count = _sum(lines[1], b"S"), _sum(lines[2], b"N")
    if count > MAX_OBJECTS:
        raise TooLarge(f"an object pack of {count} objects, {MAX_OBJECTS} are possible")
    objects = [_object(line) for line in lines[len(_PREFIX) : -1]]
    if len(objects) != count or sum(item.size for item in objects) != total:
        raise FormatError("the sums in the header of an object pack are not those of its objects")
    return objects


def read_header(read: Callable[[int], bytes], size: int, digest: str) -> list[PackedObject]:
    """Read the header of a pack.

    Args:
        read: gives up to so many of the next bytes, none at the end.
        size: of the header, in bytes, as announced.
        digest: of the header, as announced.

    Raises:
        FormatError: it is cut off, or no header.
        HashMismatch: its digest is another one.
        TooLarge: see ``parse_header``.
    """
    if size > _MAX_HEADER:
        raise TooLarge(f"the header of an object pack has {size} bytes, {_MAX_HEADER} are possible")
    header = b"".join(_exactly(read, size, "the header of an object pack"))
    if header_digest(header) != digest:
        raise HashMismatch("the header of an object pack does not have the digest announced")
    return parse_header(header)


def read_objects(
    read: Callable[[int], bytes], objects: Iterable[PackedObject]
) -> Iterator[tuple[PackedObject, Iterator[bytes]]]:
    """The objects of a pack after its header, each with its bytes in pieces of bounded size.

    The pieces of an object end with ``HashMismatch`` when they are not what it is named by: nothing may be kept of it
    before they ended well. They are to be read to their end before the next object is asked for; a reader that does
    not is served the rest as if it had.

    Raises:
        FormatError: the pack is cut off, or goes on behind its last object.
    """
    for item in objects:
        pieces = _verified(read, item)
        yield item, pieces
        for _ in pieces:
            pass
    if read(1):
        raise FormatError("an object pack goes on behind its last object")


def split(objects: Iterable[PackedObject], *, max_bytes: int = MAX_PACK) -> Iterator[list[PackedObject]]:
    """``objects`` in lists for one pack each, none of them empty."""
    pack: list[PackedObject] = []
    size = 0
    for item in objects:
        if pack and (size + item.size > max_bytes or len(pack) == MAX_OBJECTS):
            yield pack
            pack, size = [], 0
        pack.append(item)
        size += item.size
    if pack:
        yield pack


def _verified(read: Callable[[int], bytes], item: PackedObject) -> Iterator[bytes]:
    hasher = Hasher(item.hash.algorithm)
    for piece in _exactly(read, item.size, f"object {item.hash}"):
        hasher.update(piece)
        yield piece
    found = hasher.finish()
    if found != item.hash:
        raise HashMismatch(f"object {item.hash} of an object pack has the hash {found}")


def _exactly(read: Callable[[int], bytes], size: int, what: str) -> Iterator[bytes]:
    left = size
    while left:
        piece = read(min(left, _PIECE))
        if not piece:
            raise FormatError(f"{what} is cut off: {left} of {size} bytes are missing")
        left -= len(piece)
        yield piece


def _sum(line: bytes, letter: bytes) -> int:
    if not line.startswith(letter):
        raise FormatError("not the header of an object pack")
    return _number(line[1:])


def _number(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise FormatError("a number in the header of an object pack is none")
    return int(digits)


def _object(line: bytes) -> PackedObject:
    fields = line.split(b" ")
    if fields[0] == b"N":
        raise FormatError("an object pack names a file; only objects are accepted")
    if len(fields) != _FIELDS or fields[0] != b"C" or len(line) > _MAX_LINE:
        raise FormatError("a line in the header of an object pack is none")
    size = _number(fields[2])
    if size > MAX_OBJECT:
        raise TooLarge(f"an object of {size} bytes, {MAX_OBJECT} are possible")
    name = fields[1].decode("ascii", "replace")
    kind = _KINDS.get(name[-1:], ObjectKind.FILE)
    return PackedObject(ContentHash.parse(name.removesuffix(kind.value)), kind, size)
