"""What a source hands to a publish, one item after the other, and what it reports in the end.

Items are named tuples: there are millions, and a frozen dataclass takes three times as long to make.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from softman.cvmfs.entries import NO_ATTRIBUTES
from softman.cvmfs.format.chunker import ChunkSizes
from softman.cvmfs.format.entry import Compression

NANOSECONDS = 10**9

Stamp = tuple[int, int, int, int]
"""Inode, size, mtime and ctime (ns) of a file: another stamp, another content."""


class Extent(NamedTuple):
    """Bytes of a file on this machine.

    ``stamp`` is what the file must have before and after it is read, None for files that nobody else changes;
    ``discard`` says that it is a temporary file to be removed after reading.
    """

    path: bytes
    offset: int
    length: int
    stamp: Stamp | None = None
    discard: bool = False


class Attributes(NamedTuple):
    """What an entry has beside its content. ``mtime`` is in nanoseconds; set-id and sticky bits are not in ``mode``."""

    mode: int
    mtime: int
    xattrs: dict[bytes, bytes] | None = None

    @property
    def seconds(self) -> int:
        """The mtime in whole seconds."""
        return self.mtime // NANOSECONDS

    @property
    def nanoseconds(self) -> int:
        """The nanoseconds of the mtime within its second."""
        return self.mtime % NANOSECONDS


class DirectoryItem(NamedTuple):
    """A directory; its content comes later. ``path`` is relative to the source, ``b""`` for the source itself."""

    path: bytes
    attributes: Attributes


class LinkItem(NamedTuple):
    """A symbolic link, ``target`` verbatim."""

    path: bytes
    target: bytes
    attributes: Attributes


class FileItem(NamedTuple):
    """A regular file. ``content`` that is no extent must be taken before the next item is asked for."""

    path: bytes
    attributes: Attributes
    size: int
    content: Extent | Iterator[bytes]


class HardLinkItem(NamedTuple):
    """Another name of the file at ``target``, which came before."""

    path: bytes
    target: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    """Something that is not published, and why. ``path`` is relative to the source."""

    path: bytes
    reason: str


Item = DirectoryItem | LinkItem | FileItem | HardLinkItem | Refusal


class Source(Protocol):
    """What is published: a tree of files from somewhere."""

    def items(self) -> Iterator[Item]:
        """Everything, directories before what is in them.

        Raises:
            SourceError: the source cannot be read, or changed meanwhile.
        """

    def lacks(self, path: bytes) -> bool:
        """Whether there is nothing to publish at ``path``; asked when ``items`` has come to its end."""

    def close(self) -> None:
        """Let go of what was needed to answer."""


@dataclass(frozen=True, slots=True)
class IngestOptions:
    """How content is stored and compared.

    Attributes:
        compression: of the objects.
        level: of the compression, see ``format.objects``; None takes the default.
        chunks: where large files are cut; a number for chunks of that many bytes, None for whole files only.
        compare_content: read every file, instead of trusting size and time of modification.
        delete: remove what the source lacks.
    """

    compression: Compression = Compression.ZLIB
    level: int | None = None
    chunks: ChunkSizes | int | None = field(default_factory=ChunkSizes)
    compare_content: bool = False
    delete: bool = False


class Progress(Protocol):
    """Is told how a publish goes on."""

    def __call__(self, files: int, size: int, /) -> None:
        """So many more files, with so many bytes, are done."""


@dataclass(slots=True)
class IngestReport:
    """What a publish did. Sizes are in bytes.

    Attributes:
        files: regular files in the source, hard links included.
        directories: in the source.
        links: symbolic links in the source.
        size: of all files.
        read: bytes of files that were read: the others had not changed.
        unchanged: files that were not read.
        objects: new objects in the storage.
        stored: their size.
        deduplicated: objects that were there already, or came twice.
        removed: entries removed, a directory with all below it counting once.
        refusals: how many entries were refused.
        refused: the first of them.
    """

    files: int = 0
    directories: int = 0
    links: int = 0
    size: int = 0
    read: int = 0
    unchanged: int = 0
    objects: int = 0
    stored: int = 0
    deduplicated: int = 0
    removed: int = 0
    refusals: int = 0
    refused: list[Refusal] = field(default_factory=list)


def attributes(mode: int, mtime: int, xattrs: Iterable[tuple[bytes, bytes]] = ()) -> Attributes:
    """Attributes as they are published: without set-id and sticky bits.

    Args:
        mode: of the file; its type is left out.
        mtime: nanoseconds.
        xattrs: extended attributes.
    """
    return Attributes(mode & 0o777, mtime, dict(xattrs) or None)


def xattrs_of(found: Attributes) -> dict[bytes, bytes]:
    """The extended attributes as transactions take them."""
    return dict(NO_ATTRIBUTES) if found.xattrs is None else found.xattrs
