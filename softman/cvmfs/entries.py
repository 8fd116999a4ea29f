"""The entries that a writer makes: plain files, directories and symbolic links, owned by root, without set-id bits.

Pure: values in, ``Entry`` out. What the format or a client could not hold is refused here, before anything changes.
"""

import os
import stat
from collections.abc import Mapping
from types import MappingProxyType

from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.format import xattrs as xattr_format
from softman.cvmfs.format.entry import DIRECTORY_SIZE, Entry, Flag
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm
from softman.cvmfs.staging import ChunkedContent, StoredObject

NO_ATTRIBUTES: Mapping[bytes, bytes] = MappingProxyType({})
_MAX_NS = 999_999_999
_MIN_TIME, _MAX_TIME = -(2**63), 2**63 - 1
_MAX_TARGET = 4095
_SPECIAL_TYPES = frozenset({stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK})
_REFUSED_BITS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def file_entry(
    path: bytes,
    stored: StoredObject | ChunkedContent,
    mode: int,
    algorithm: HashAlgorithm,
    *,
    mtime: int = 0,
    mtime_ns: int | None = None,
    xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
) -> Entry:
    """A regular file with the content that was ``stored``.

    Raises:
        PathError: ``mode`` has set-id or sticky bits, or is that of a special file.
    """
    flags = Flag.FILE.value | algorithm.flag_bits | stored.compression.flag_bits
    if isinstance(stored, ChunkedContent):
        flags |= Flag.CHUNKED.value
    return Entry(
        path=path,
        mode=stat.S_IFREG | check_permissions(path, mode),
        size=stored.size,
        mtime=mtime,
        mtime_ns=mtime_ns,
        flags=flags,
        hash=None if isinstance(stored, ChunkedContent) else stored.hash,
        xattrs=dict(xattrs),
        chunks=stored.chunks if isinstance(stored, ChunkedContent) else (),
    )


def directory_entry(path: bytes, mode: int = 0o755) -> Entry:
    """A directory without sub-directories.

    Raises:
        PathError: ``mode`` has set-id or sticky bits. A file type in it is ignored.
    """
    return Entry(
        path=path,
        mode=stat.S_IFDIR | check_permissions(path, mode),
        size=DIRECTORY_SIZE,
        mtime=0,
        linkcount=2,
        flags=Flag.DIRECTORY.value,
    )


def symlink_entry(path: bytes, target: str | bytes) -> Entry:
    """A symbolic link; where it leads is not this library's business.

    Raises:
        PathError: ``target`` is empty, has a NUL, or is longer than a client's system calls take.
    """
    text = os.fsencode(target)
    if not 0 < len(text) <= _MAX_TARGET or b"\0" in text:
        raise PathError(f"{path!r}: {text[:80]!r} cannot be the target of a symbolic link")
    flags = Flag.FILE.value | Flag.SYMLINK.value
    return Entry(path=path, mode=stat.S_IFLNK | 0o777, size=len(text), mtime=0, flags=flags, symlink=text)


def check_permissions(path: bytes, mode: int) -> int:
    """The permission bits of ``mode``.

    Raises:
        PathError: it has set-id or sticky bits, or is that of a fifo, socket or device.
    """
    if stat.S_IFMT(mode) in _SPECIAL_TYPES:
        raise PathError(f"{path!r}: mode {mode:o} is that of a special file, and those are not published")
    if mode & _REFUSED_BITS:
        raise PathError(f"{path!r}: mode {stat.S_IMODE(mode):04o} has set-id or sticky bits, which are not published")
    return stat.S_IMODE(mode)


def marker_entry(path: bytes, empty: ContentHash, now: int, mode: int = 0o644) -> Entry:
    """An empty file that marks something. ``empty`` is its object, ``now`` its time of modification."""
    flags = Flag.FILE.value | empty.algorithm.flag_bits
    return Entry(path=path, mode=stat.S_IFREG | mode, size=0, mtime=now, flags=flags, hash=empty)


def check_movable(entry: Entry) -> None:
    """Accept what stock tools may have made as something that we would make, but for its owner.

    Raises:
        PathError: it is special or external, has set-id or sticky bits, or shows another catalog's content.
    """
    if entry.is_special or entry.is_external or entry.flags & Flag.BIND_MOUNTPOINT.value:
        raise PathError(f"{entry.path!r} is a special or external file or a bind mountpoint, which cannot be moved")
    check_permissions(entry.path, entry.mode)


def check_values(entry: Entry) -> None:
    """Accept times and extended attributes that a catalog can hold.

    Raises:
        FormatError: it cannot; the message names the path.
    """
    if not _MIN_TIME <= entry.mtime <= _MAX_TIME or not 0 <= (entry.mtime_ns or 0) <= _MAX_NS:
        raise FormatError(f"{entry.path!r}: the time {entry.mtime} s {entry.mtime_ns} ns is out of range")
    try:
        xattr_format.encode(entry.xattrs)
    except FormatError as exc:
        raise FormatError(f"{entry.path!r}: {exc}") from exc
