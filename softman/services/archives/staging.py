"""From the bytes of an archive to a tree that is ready to be published: one pass, in bounded memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from threading import BoundedSemaphore
from typing import Final

from softman.cvmfs.errors import SourceError, StoreUnavailable
from softman.cvmfs.ingest.tarheaders import read_members, shown
from softman.cvmfs.ingest.tarstream import HEAD_SIZE, PieceStream, compression_of, inflate_parts
from softman.cvmfs.staging import Staging
from softman.services.archives.content import ContentStore
from softman.services.archives.kinds import ArchiveKind
from softman.services.archives.limits import ArchiveLimits, ArchiveRefused
from softman.services.archives.members import Members
from softman.services.archives.spool import Spool
from softman.services.archives.tree import StagedTree

FREE_BYTES: Final = 64 * 1024 * 1024
"""Bytes that any archive may inflate to, whatever its ratio: that much does no harm."""
_AT_A_TIME: Final = 2
_turns = BoundedSemaphore(_AT_A_TIME)


@contextmanager
def archive_turn() -> Iterator[None]:
    """Wait until this process may unpack one more archive: each takes up to some 180 MB of memory, and all cores.

    To be entered before the archive is asked for, so that no open download waits.
    """
    with _turns:
        yield


def stage_archive(
    chunks: Iterator[bytes], kind: ArchiveKind, staging: Staging, limits: ArchiveLimits, *, scratch: Path
) -> StagedTree:
    """Read an archive to its end, stage the content of its files, and keep its entries.

    Args:
        chunks: its bytes. Their errors pass through.
        kind: what its name says it is; its content must agree.
        staging: where content goes.
        limits: what it may hold.
        scratch: the directory for a temporary file.

    Raises:
        ArchiveRefused: it is damaged, exceeds a limit, or has a member that cannot be published. Nothing remains of it
            but staged objects that nobody refers to.
        StoreUnavailable: the staging area or ``scratch`` cannot be written now.
    """
    try:
        spool = Spool(scratch, staging.algorithm)
        try:
            return _Stager(spool, staging, limits).run(chunks, kind)
        except BaseException:
            spool.close()
            raise
    except sqlite3.Error as exc:
        raise StoreUnavailable(f"the scratch directory {scratch} cannot be written: {exc}") from exc


class _Stager:
    """Unpacks one archive."""

    def __init__(self, spool: Spool, staging: Staging, limits: ArchiveLimits) -> None:
        self._spool = spool
        self._staging = staging
        self._limits = limits
        self._packed = self._inflated = 0
        self._at = ""
        """The member being read, for messages."""

    def run(self, chunks: Iterator[bytes], kind: ArchiveKind) -> StagedTree:
        members = Members(self._spool, self._limits)
        try:
            stream = PieceStream(self._counted(_opened(self._received(chunks), kind)))
            with ContentStore(self._staging, self._spool) as contents:
                for member in read_members(stream):
                    self._at = f" (at {shown(member.name)})"
                    path = members.add(member)
                    if path is not None:
                        contents.add(path, member.size, lambda size: _taken(stream, size))
                contents.finish()
        except SourceError as exc:
            raise ArchiveRefused(f"{exc}{self._at}") from exc
        members.finish()
        empty = self._staging.write_object([])
        return StagedTree(self._spool, empty, entries=members.count, size=members.size)

    def _received(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._packed += len(chunk)
            yield chunk

    def _counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        limits = self._limits
        for piece in pieces:
            self._inflated += len(piece)
            if self._inflated > limits.size:
                raise ArchiveRefused(f"it inflates to more than {limits.size} bytes{self._at}")
            if self._inflated > FREE_BYTES and self._inflated > limits.ratio * self._packed:
                raise ArchiveRefused(f"it inflates to more than {limits.ratio} times its size{self._at}")
            yield piece


def _opened(chunks: Iterator[bytes], kind: ArchiveKind) -> Iterator[bytes]:
    """The archive, uncompressed; its first bytes must be those of its kind."""
    head = b""
    while len(head) < HEAD_SIZE and (chunk := next(chunks, None)) is not None:
        head += chunk
    if not head:
        raise ArchiveRefused("it is empty; even an archive without members has an end mark")
    compression = compression_of(head) or ArchiveKind.TAR.value
    if compression != kind.value:
        what = f"compressed with {compression}" if compression != ArchiveKind.TAR.value else "not compressed"
        raise ArchiveRefused(f"its name says that it is {kind.value}, but it is {what}")
    pieces = chain([head], chunks)
    return pieces if kind is ArchiveKind.TAR else inflate_parts(pieces, compression)


def _taken(stream: PieceStream, size: int) -> list[bytes]:
    pieces = list(stream.take(size))
    if sum(map(len, pieces)) != size:
        raise SourceError(f"the archive is cut short: it ends at byte {stream.position}, uncompressed")
    return pieces
