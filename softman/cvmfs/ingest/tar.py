"""A tar archive as the source of a publish. Whoever made it is not trusted: nothing in it can reach out of its tree."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from softman.cvmfs.errors import SourceError
from softman.cvmfs.format.objects import PIECE_SIZE
from softman.cvmfs.ingest import tarheaders
from softman.cvmfs.ingest.items import (
    DirectoryItem,
    Extent,
    FileItem,
    HardLinkItem,
    Item,
    LinkItem,
    Refusal,
    attributes,
)
from softman.cvmfs.ingest.objects import stamp
from softman.cvmfs.ingest.tarheaders import Member, Stream, member_path, read_members, shown, type_name
from softman.cvmfs.ingest.tarstream import PieceStream, PlainStream, open_stream

MAX_MEMBER = 1024**4
"""Bytes of a member that are accepted: 1 TiB."""
_PUBLISHED = frozenset({tarheaders.REGULAR, tarheaders.DIRECTORY, tarheaders.SYMBOLIC_LINK, tarheaders.HARD_LINK})
_FILE, _DIRECTORY, _LINK = 0, 1, 2
_USER_ATTRIBUTES = b"user."
_MAX_RECENT = 100_000
"""Paths of an archive that are known in memory; more are in a file."""


class TarSource:
    """The members of a tar archive: plain, gzip, bzip2, xz or zstd.

    Refused are absolute names, ``..``, members below anything that is no directory, a second member of the same name
    (directories excepted), hard links to anything but a file that came before, sparse files, special files, and files
    of more than ``max_member`` bytes. A symbolic link is taken verbatim, and nothing is ever put below one.

    Args:
        archive: the file.
        with_xattrs: publish extended attributes of the user name space.
        max_member: bytes.
    """

    def __init__(self, archive: Path, *, with_xattrs: bool = False, max_member: int = MAX_MEMBER) -> None:
        self._archive = archive
        self._with_xattrs = with_xattrs
        self._max_member = max_member
        self._seen: _Seen | None = None

    def items(self) -> Iterator[Item]:
        """See ``Source.items``."""
        self.close()
        self._seen = seen = _Seen()
        with open_stream(self._archive) as stream:
            before = stamp(self._archive.stat())
            for member in read_members(stream):
                if member.kind != tarheaders.VOLUME_LABEL:
                    yield self._item(member, stream, seen)
            if stamp(self._archive.stat()) != before:
                raise SourceError(f"{self._archive} was changed while it was published; try again")

    def lacks(self, path: bytes) -> bool:
        """See ``Source.lacks``."""
        return self._seen is None or self._seen.kind(path) is None

    def close(self) -> None:
        """See ``Source.close``."""
        if self._seen is not None:
            self._seen.close()
            self._seen = None

    def _item(self, member: Member, stream: PlainStream | PieceStream, seen: "_Seen") -> Item:
        path = member_path(member.name)
        if path is None:
            return Refusal(
                member.name, "is an absolute name" if member.name[:1] == b"/" else "leads out of the archive"
            )
        reason = self._refusal(member, path, seen)
        if reason:
            return Refusal(path, reason)
        xattrs = ((k, v) for k, v in member.xattrs.items() if self._with_xattrs and k.startswith(_USER_ATTRIBUTES))
        found = attributes(member.mode, member.mtime, xattrs)
        if member.kind == tarheaders.DIRECTORY:
            seen.add(path, _DIRECTORY)
            return DirectoryItem(path, found)
        if member.kind == tarheaders.SYMBOLIC_LINK:
            seen.add(path, _LINK)
            return LinkItem(path, member.link, found)
        seen.add(path, _FILE)
        if member.kind == tarheaders.HARD_LINK:
            return HardLinkItem(path, member_path(member.link) or b"")
        return FileItem(path, found, member.size, self._content(member, stream))

    def _refusal(self, member: Member, path: bytes, seen: "_Seen") -> str:
        """Why a member is not taken; empty when it is."""
        if member.is_sparse:
            return "is a sparse file, which are not read"
        if member.kind not in _PUBLISHED:
            return f"is {type_name(member.kind)}, which are not published"
        if member.size > self._max_member and member.kind == tarheaders.REGULAR:
            return f"has {member.size} bytes; up to {self._max_member} are published"
        return _obstacle(member, path, seen)

    def _content(self, member: Member, stream: PlainStream | PieceStream) -> Extent | Iterator[bytes]:
        if isinstance(stream, PlainStream):
            return Extent(os.fsencode(self._archive), member.offset, member.size)
        return _pieces(stream, member.size)


def _obstacle(member: Member, path: bytes, seen: "_Seen") -> str:
    """What came before in the archive and is in the way of a member; empty when nothing is."""
    if not path and member.kind != tarheaders.DIRECTORY:
        return "has no name"
    if (above := seen.obstacle(path)) is not None:
        return f"lies below {shown(above)}, which is no directory"
    before = seen.kind(path)
    if before is not None and not (before == _DIRECTORY and member.kind == tarheaders.DIRECTORY):
        return "comes a second time"
    if member.kind == tarheaders.HARD_LINK:
        target = member_path(member.link)
        if target is None or seen.kind(target) != _FILE:
            return f"is a hard link to {shown(member.link)}, which is no file that came before in the archive"
    return ""


def _pieces(stream: Stream, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, PIECE_SIZE))
        if not piece:
            raise SourceError(f"the archive is cut short: it ends at byte {stream.position}, uncompressed")
        size -= len(piece)
        yield piece


class _Seen:
    """What came in the archive so far, with the directories that it implies: the rest in a temporary database."""

    def __init__(self) -> None:
        self._recent: dict[bytes, int] = {}
        self._db: sqlite3.Connection | None = None
        self._parent: bytes | None = None

    def close(self) -> None:
        if self._db is not None:
            self._db.close()

    def kind(self, path: bytes) -> int | None:
        found = self._recent.get(path)
        if found is not None or self._db is None:
            return found
        row = self._db.execute("SELECT kind FROM seen WHERE path=?", (path,)).fetchone()
        return None if row is None else int(row[0])

    def obstacle(self, path: bytes) -> bytes | None:
        """What is above ``path`` and no directory, if anything."""
        above = path.rpartition(b"/")[0]
        while above and above != self._parent:
            if self.kind(above) not in {None, _DIRECTORY}:
                return above
            above = above.rpartition(b"/")[0]
        return None

    def add(self, path: bytes, kind: int) -> None:
        self._recent[path] = kind
        parent = above = path.rpartition(b"/")[0]
        while above and above != self._parent:
            if self.kind(above) is None:
                self._recent[above] = _DIRECTORY
            above = above.rpartition(b"/")[0]
        self._parent = parent
        if len(self._recent) >= _MAX_RECENT:
            self._spill()

    def _spill(self) -> None:
        if self._db is None:
            self._db = sqlite3.connect("", isolation_level=None)  # in a nameless file
            self._db.execute("CREATE TABLE seen (path BLOB PRIMARY KEY, kind INTEGER) WITHOUT ROWID")
            self._db.execute("BEGIN")
        self._db.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", self._recent.items())
        self._recent.clear()
