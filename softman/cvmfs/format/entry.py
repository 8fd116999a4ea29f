"""One entry of a repository's tree, as a catalog row describes it, and the bits in the row's flags.

Source: ``cvmfs/directory_entry.h`` and ``catalog_sql.h`` of CernVM-FS 2.12 (see ``docs/format.md``).
"""

import stat
from dataclasses import dataclass, field
from enum import Enum, IntFlag

from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind

MAX_NAME = 255
"""Bytes of one path component."""
DIRECTORY_SIZE = 4096
"""What the stock writer stores as the size of a directory (from ``lstat`` on ext4)."""


class Flag(IntFlag):
    """Bits of a catalog row's flags. Bits 8 to 10 hold the hash algorithm, bits 11 to 13 the compression."""

    DIRECTORY = 0x1
    NESTED_MOUNTPOINT = 0x2
    """The row in the parent catalog of a directory whose content lies in a nested catalog."""
    FILE = 0x4
    """Set for regular files, and for symbolic links and special files too."""
    SYMLINK = 0x8
    SPECIAL = 0x10
    NESTED_ROOT = 0x20
    """The row of that same directory in the nested catalog."""
    CHUNKED = 0x40
    EXTERNAL = 0x80
    """Content is fetched by path from another server, never from ``data/``."""
    BIND_MOUNTPOINT = 0x4000
    HIDDEN = 0x8000
    DIRECT_IO = 0x10000


# Plain numbers: operations on an IntFlag build an enum member each time, which a walk of a million entries notices.
_DIRECTORY = Flag.DIRECTORY.value
_MOUNTPOINT = (Flag.NESTED_MOUNTPOINT | Flag.BIND_MOUNTPOINT).value
_BIND = Flag.BIND_MOUNTPOINT.value
_FILE = Flag.FILE.value
_SYMLINK = Flag.SYMLINK.value
_SPECIAL = Flag.SPECIAL.value
_CHUNKED = Flag.CHUNKED.value
_EXTERNAL = Flag.EXTERNAL.value
_HIDDEN = Flag.HIDDEN.value
_TYPE = _DIRECTORY | _FILE | _SYMLINK | _SPECIAL
_COMPRESSION_BITS = 0x3800


class Compression(Enum):
    """How a file's content is stored: the value is the name in settings."""

    ZLIB = "zlib"
    NONE = "none"

    @property
    def flag_bits(self) -> int:
        """The compression as stored in bits 11 to 13 of a catalog row's flags."""
        return 0 if self is Compression.ZLIB else 0x800

    @classmethod
    def from_flag_bits(cls, flags: int) -> "Compression":
        """The compression in bits 11 to 13 of ``flags``.

        Raises:
            FormatError: the bits name no known algorithm.
        """
        bits = flags & _COMPRESSION_BITS
        if bits == 0:
            return cls.ZLIB
        if bits == cls.NONE.flag_bits:
            return cls.NONE
        msg = f"unknown compression in catalog flags {flags:#x}"
        raise FormatError(msg)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of a chunked file. ``offset`` and ``size`` count uncompressed bytes."""

    offset: int
    size: int
    hash: ContentHash


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One file, directory, symbolic link or special file.

    ``path`` is absolute inside the repository without a trailing slash, ``b""`` for the root. ``mode`` is the full
    ``st_mode``. ``mtime`` is in seconds, ``mtime_ns`` the nanoseconds within that second where the repository has
    them. ``size`` is that of the uncompressed content (symbolic links: of the target; devices: their number).
    ``hash`` is None for everything but plain files; chunked files have ``chunks`` instead.
    """

    path: bytes
    mode: int
    size: int
    mtime: int
    mtime_ns: int | None = None
    uid: int = 0
    gid: int = 0
    linkcount: int = 1
    hardlink_group: int = 0
    flags: int = _FILE
    hash: ContentHash | None = None
    symlink: bytes = b""
    xattrs: dict[bytes, bytes] = field(default_factory=dict)
    chunks: tuple[Chunk, ...] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Entry):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in Entry.__slots__)

    __hash__ = None  # type: ignore[assignment]  # for its dictionary

    @property
    def name(self) -> bytes:
        """The last component of the path; empty for the root."""
        return self.path.rpartition(b"/")[2]

    @property
    def parent(self) -> bytes:
        """The path of the directory that holds it; the root is its own parent."""
        return self.path.rpartition(b"/")[0]

    @property
    def is_dir(self) -> bool:
        """A directory, mountpoints included."""
        return self.flags & _DIRECTORY != 0

    @property
    def is_file(self) -> bool:
        """A regular file, chunked and external ones included."""
        return self.flags & _TYPE == _FILE

    @property
    def is_symlink(self) -> bool:
        """A symbolic link."""
        return self.flags & _SYMLINK != 0

    @property
    def is_special(self) -> bool:
        """A fifo, socket or device."""
        return self.flags & _SPECIAL != 0

    @property
    def is_chunked(self) -> bool:
        """A regular file stored in pieces."""
        return self.flags & _CHUNKED != 0

    @property
    def is_external(self) -> bool:
        """A regular file whose content is on another server."""
        return self.flags & _EXTERNAL != 0

    @property
    def is_mountpoint(self) -> bool:
        """A directory whose content lies in another catalog (nested or bind mountpoint)."""
        return self.flags & _MOUNTPOINT != 0

    @property
    def is_bind_mountpoint(self) -> bool:
        """A directory that shows the content of another revision's catalog."""
        return self.flags & _BIND != 0

    @property
    def is_hidden(self) -> bool:
        """Not shown by ``readdir``."""
        return self.flags & _HIDDEN != 0

    @property
    def permissions(self) -> int:
        """The mode without the file type."""
        return stat.S_IMODE(self.mode)

    @property
    def compression(self) -> Compression:
        """How the content is stored."""
        return Compression.from_flag_bits(self.flags)

    @property
    def algorithm(self) -> HashAlgorithm:
        """The algorithm of the content's hashes."""
        return HashAlgorithm.from_flag_bits(self.flags)

    def objects(self) -> tuple[tuple[ContentHash, ObjectKind], ...]:
        """The objects that hold the content, in order; a bulk object of a chunked file comes first."""
        bulk = ((self.hash, ObjectKind.FILE),) if self.hash is not None else ()
        return bulk + tuple((chunk.hash, ObjectKind.CHUNK) for chunk in self.chunks)


def check_name(name: bytes) -> None:
    """Accept ``name`` as one path component.

    Raises:
        PathError: it is empty, over 255 bytes, ``.`` or ``..``, or has a slash or NUL.
    """
    if not 0 < len(name) <= MAX_NAME:
        msg = f"the name {name[:80]!r} has {len(name)} bytes; 1 to {MAX_NAME} are possible"
        raise PathError(msg)
    if name in {b".", b".."} or b"/" in name or b"\0" in name:
        msg = f"{name!r} cannot be the name of a file"
        raise PathError(msg)
