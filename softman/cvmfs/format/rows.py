"""Rows of table ``catalog`` as entries, a directory's worth at a time.

Walking is bound by what Python does for each row. So rows are checked a column at a time, and an entry keeps its row
and decodes of it what it is asked for. The checks are those that a single row gets (``CatalogReader.entry_of``), which
is where rows go that fail here: it names what is wrong.

Source: ``cvmfs/catalog_sql.cc`` of CernVM-FS 2.12.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import Enum
from functools import partial
from operator import is_not
from typing import Any, Final

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.entry import MAX_NAME, Entry, Flag
from softman.cvmfs.format.hashes import DIGEST_SIZE, ContentHash, HashAlgorithm, PathHash, md5, path_hash
from softman.cvmfs.format.xattrs import decode as decode_xattrs

Row = tuple[Any, ...]
"""All columns of table ``catalog`` in the order of ``COLUMNS``, names as bytes."""

COLUMNS: Final = (
    "md5path_1", "md5path_2", "parent_1", "parent_2", "hardlinks", "hash", "size", "mode", "mtime", "mtimens", "flags",
    "name", "symlink", "uid", "gid", "xattr",
)  # fmt: skip
_HARDLINKS, _HASH, _SIZE, _MODE, _MTIME, _MTIMENS, _FLAGS, _NAME, _SYMLINK, _UID, _GID, _XATTR = range(4, 16)
FLAGS_COLUMN, XATTR_COLUMN = _FLAGS, _XATTR
_INTEGERS = (_HARDLINKS, _SIZE, _MODE, _MTIME, _FLAGS, _UID, _GID)
_GROUP_SHIFT = 32
_COUNT_MASK = 0xFFFFFFFF
MAX_NS: Final = 999_999_999
_DIRECTORY = Flag.DIRECTORY.value
_CHUNKED = Flag.CHUNKED.value
_ALGORITHM_MASK = 0x700
_ALGORITHM_BITS = frozenset(algorithm.flag_bits for algorithm in HashAlgorithm)
_ONLY_INT = {int}
_ONLY_BYTES = {bytes}
_NULL = {None}
_is_not_null = partial(is_not, None)
_ONE_ATTRIBUTE = b"\1\1"  # version and number
_ONE_SHORT = 4  # and the two lengths
_unpack_key = struct.Struct("<qq").unpack


class Order(Enum):
    """How the entries of a directory follow on each other; the value is SQL."""

    NAME = "name"
    """By the bytes of their names."""
    KEY = f"name || CASE WHEN flags & {_DIRECTORY} THEN '/' ELSE '' END"
    """The names of directories count with a slash at the end: a walk is in the order of S3 then (``a-b``, ``a/``)."""

    def key(self, entry: Entry) -> bytes:
        """What to sort entries of one directory by."""
        return entry.path + b"/" if self is Order.KEY and entry.is_dir else entry.path


def _by_name(row: Row) -> Any:
    return row[_NAME]


def _by_key(row: Row) -> Any:
    return row[_NAME] + b"/" if row[_FLAGS] & _DIRECTORY else row[_NAME]


def _column(at: int) -> Any:
    return property(lambda entry: entry.row[at])


def _digest(entry: "RowEntry") -> ContentHash | None:
    digest, flags = entry.row[_HASH], entry.row[_FLAGS]
    return None if digest is None else ContentHash(digest, HashAlgorithm.from_flag_bits(flags))


class RowEntry(Entry):
    """An entry as it was read, equal to an ``Entry`` of the same values; copies are such. Chunked files never are one.

    Only ``entries_of`` makes these.
    """

    __slots__ = ("row",)

    row: Row
    mode = _column(_MODE)
    size = _column(_SIZE)
    mtime = _column(_MTIME)
    mtime_ns = _column(_MTIMENS)
    uid = _column(_UID)
    gid = _column(_GID)
    linkcount: Any = property(lambda entry: entry.row[_HARDLINKS] & _COUNT_MASK)
    hardlink_group: Any = property(lambda entry: entry.row[_HARDLINKS] >> _GROUP_SHIFT & _COUNT_MASK)
    flags = _column(_FLAGS)
    hash: Any = property(_digest)
    symlink = _column(_SYMLINK)
    xattrs: Any = property(lambda entry: decode_xattrs(entry.row[_XATTR]))
    chunks: Any = property(lambda _entry: ())

    def __new__(cls, *args: Any, **kwargs: Any) -> Entry:  # type: ignore[misc]  # an Entry, by intent
        """An ``Entry``, to which ``dataclasses.replace`` comes."""
        return Entry(*args, **kwargs)

    def __reduce__(self) -> tuple[type[Entry], tuple[Any, ...]]:
        return Entry, tuple(getattr(self, field.name) for field in fields(Entry))


_make = partial(object.__new__, RowEntry)
_set_path = vars(Entry)["path"].__set__  # the slot itself: the class forbids assignments
_set_row = vars(RowEntry)["row"].__set__


def entries_of(
    rows: list[Row], parent: bytes, order: Order | None, chunked: Callable[[Row], Entry]
) -> list[Entry] | None:
    """The entries of some rows of one directory; None when a row breaks the format.

    Args:
        rows: at least one.
        parent: the path of the directory.
        order: to bring them into; None is that of the rows.
        chunked: makes the entry of a chunked file.
    """
    flags = _sound_flags(tuple(zip(*rows, strict=True)), path_hash(parent))
    if flags is None:
        return None
    if order is not None:
        rows = sorted(rows, key=_by_key if order is Order.KEY else _by_name)
    prefix = parent + b"/"
    entries: list[Entry] = []
    for row in rows:
        path = prefix + row[_NAME]
        if _unpack_key(md5(path).digest()) != row[:2]:
            return None
        entry = _make()
        _set_path(entry, path)
        _set_row(entry, row)
        entries.append(entry)
    if any(bits & _CHUNKED for bits in flags):
        return [chunked(row) if row[_FLAGS] & _CHUNKED else entry for row, entry in zip(rows, entries, strict=True)]
    return entries


def _sound_flags(columns: Sequence[tuple[Any, ...]], parent: PathHash) -> set[int] | None:
    """The different flags of some rows of a directory, or None when there is a value that is not possible."""
    if any(set(map(type, columns[at])) != _ONLY_INT for at in _INTEGERS) or min(columns[_SIZE]) < 0:
        return None
    flags, times, digests = set(columns[_FLAGS]), set(columns[_MTIMENS]) - _NULL, set(columns[_HASH]) - _NULL
    sound = (
        set(zip(columns[2], columns[3], strict=True)) == {parent}
        and {bits & _ALGORITHM_MASK for bits in flags} <= _ALGORITHM_BITS
        and _sound_names(columns[_NAME])
        and all(type(value) is int and 0 <= value <= MAX_NS for value in times)
        and set(map(type, columns[_SYMLINK])) == _ONLY_BYTES
        and all(type(digest) is bytes and len(digest) == DIGEST_SIZE for digest in digests)
        and all(map(_sound_attributes, filter(_is_not_null, columns[_XATTR])))
    )
    return flags if sound else None


def _sound_names(names: Sequence[Any]) -> bool:
    if set(map(type, names)) != _ONLY_BYTES or not 0 < min(map(len, names)) <= max(map(len, names)) <= MAX_NAME:
        return False
    joined = b"/".join(names)
    return joined.count(b"/") == len(names) - 1 and b"\0" not in joined and b"." not in names and b".." not in names


def _sound_attributes(blob: Any) -> bool:
    if type(blob) is not bytes:
        return False
    if len(blob) > _ONE_SHORT and blob[:2] == _ONE_ATTRIBUTE:  # the usual case: nothing is cut out of it
        return blob[2] > 0 and len(blob) == _ONE_SHORT + blob[2] + blob[3]
    try:
        decode_xattrs(blob)
    except FormatError:
        return False
    return True
