"""Changing a repository whose keys are at hand: ``with repository.transaction() as tx``."""

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from softman.cvmfs.catalog_tree import Base
from softman.cvmfs.dirtab import DIRTAB_PATH, MAX_DIRTAB_SIZE
from softman.cvmfs.entries import NO_ATTRIBUTES
from softman.cvmfs.errors import FormatError, SourceError
from softman.cvmfs.format.entry import Chunk, Compression
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import PIECE_SIZE
from softman.cvmfs.ingest.items import NANOSECONDS, Extent, IngestOptions, IngestReport, Progress, Source, attributes
from softman.cvmfs.ingest.objects import read_extent, stamp
from softman.cvmfs.ingest.run import Ingest
from softman.cvmfs.ingest.sources import open_source
from softman.cvmfs.ingest.workers import Workers
from softman.cvmfs.paths import repository_path
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Balance, Transaction

__all__ = ["Committed", "Editing", "Readable"]


class Readable(Protocol):
    """An open binary file, or anything else with its ``read``."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


@dataclass(frozen=True, slots=True)
class Committed:
    """What became of a transaction: the manifest in force after it, and whether it is a new one."""

    manifest: Manifest
    is_new: bool


class Editing(Transaction):
    """A transaction that also takes content, from wherever it is. ``Repository.transaction`` makes and commits it.

    All that is said of ``Transaction`` holds: ``add_`` methods replace what is there, and make missing parents. Without
    a time of modification the present time is taken. One thread at a time may use it.

    Args:
        snapshot: the revision to build on.
        staging: where objects go.
        now: the clock.
        work_dir: for scratch files; None takes the system's directory.
        balance: see ``Transaction``.
        workers: make the objects of trees; None for threads, one after the first use.

    Attributes:
        result: None until the transaction was committed.
        grafted: objects that ``graft`` was told of.
    """

    def __init__(
        self,
        snapshot: Base,
        staging: Staging,
        *,
        now: Callable[[], datetime],
        work_dir: Path | None = None,
        balance: Balance | None = None,
        workers: Workers | None = None,
    ) -> None:
        super().__init__(snapshot, staging, now=now, work_dir=work_dir, balance=balance)
        self.result: Committed | None = None
        self.grafted: list[tuple[ContentHash, ObjectKind]] = []
        self._objects = staging
        self._scratch = work_dir
        self._workers = workers
        self._owned = ExitStack()

    def close(self) -> None:
        """See ``Transaction.close``."""
        self._owned.close()
        super().close()

    def add_bytes(
        self,
        path: str | bytes,
        content: bytes,
        mode: int = 0o644,
        mtime: int | None = None,
        *,
        mtime_ns: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
        compression: Compression = Compression.ZLIB,
    ) -> None:
        """Add or replace a regular file with this content.

        Args:
            path: where.
            content: all of it.
            mode: permission bits.
            mtime: seconds; None for now.
            mtime_ns: nanoseconds within that second, or None.
            xattrs: extended attributes.
            compression: how the content is stored.

        Raises:
            PathError: as ``Transaction.add_file``.
            FormatError: as ``Transaction.add_file``; or rules for ``/.cvmfsdirtab`` that are none.
            StoreUnavailable: the storage cannot be written now.
        """
        self._add(
            path,
            iter((content,)),
            mode,
            mtime,
            mtime_ns=mtime_ns,
            xattrs=xattrs,
            compression=compression,
        )

    def add_stream(
        self,
        path: str | bytes,
        content: Readable | Iterable[bytes],
        mode: int = 0o644,
        mtime: int | None = None,
        *,
        mtime_ns: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
        compression: Compression = Compression.ZLIB,
    ) -> None:
        """Add or replace a regular file, content read to its end or piece by piece; memory stays bounded.

        Args and errors are as for ``add_bytes``; errors of ``content`` pass through.
        """
        pieces = _pieces(content)
        self._add(path, pieces, mode, mtime, mtime_ns=mtime_ns, xattrs=xattrs, compression=compression)

    def add_path(
        self,
        path: str | bytes,
        source: Path,
        *,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
        compression: Compression = Compression.ZLIB,
    ) -> None:
        """Add or replace a regular file or symbolic link with what is at ``source``, mode and times included.

        Set-id and sticky bits are left out.

        Args:
            path: where.
            source: a path of this machine; not followed if it is a link.
            xattrs: extended attributes.
            compression: how the content is stored.

        Raises:
            SourceError: it cannot be read, changes meanwhile, or is neither a file nor a link.
            PathError: as for ``add_bytes``. FormatError and StoreUnavailable, too.
        """
        place = os.fsencode(source)
        try:
            status = os.lstat(place)
            target = os.readlink(place) if stat.S_ISLNK(status.st_mode) else b""  # noqa: PTH115 - names are bytes here
        except OSError as exc:
            raise SourceError(f"{source} cannot be read: {exc.strerror}") from exc
        found = attributes(status.st_mode, status.st_mtime_ns)
        seconds, rest = found.mtime // NANOSECONDS, found.mtime % NANOSECONDS
        if target:
            self.add_symlink(path, target, seconds, xattrs, mtime_ns=rest)
        elif stat.S_ISREG(status.st_mode):
            content = read_extent(Extent(place, 0, status.st_size, stamp(status)))
            self._add(
                path,
                content,
                found.mode,
                seconds,
                mtime_ns=rest,
                xattrs=xattrs,
                compression=compression,
            )
        else:
            raise SourceError(f"{source} is neither a file nor a symbolic link; trees are added with add_tree")

    def add_tree(
        self,
        path: str | bytes,
        source: Path | Source,
        *,
        options: IngestOptions | None = None,
        with_xattrs: bool = False,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Add everything in a directory or tar archive; what is there and differs is replaced.

        Args:
            path: the directory that becomes like the source, made when it is not there; the root keeps its attributes.
            source: a path of this machine, or what ``open_source`` gives.
            options: how content is stored and compared, and whether what the source lacks is removed.
            with_xattrs: publish extended attributes of the user name space; an opened source knows itself.
            progress: is told what is done.

        Returns:
            What was done. Entries that cannot be published are left out and named there.

        Raises:
            SourceError: the source cannot be read, is damaged, or changed meanwhile; the transaction is of no use then.
            PathError: ``path`` is no directory.
            StoreUnavailable: the storage cannot be written now.
        """
        ingest = Ingest(
            self,
            self._objects,
            self._made_by(),
            options=options or IngestOptions(),
            base=repository_path(path),
            progress=progress,
            work_dir=self._scratch,
        )
        if not isinstance(source, Path):
            return ingest.run(source)
        with open_source(source, with_xattrs=with_xattrs) as opened:
            return ingest.run(opened)

    def graft(
        self,
        path: str | bytes,
        content: ContentHash | Sequence[Chunk],
        size: int,
        mode: int,
        mtime: int,
        *,
        compression: Compression = Compression.ZLIB,
        mtime_ns: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
    ) -> None:
        """See ``Transaction.graft``."""
        super().graft(path, content, size, mode, mtime, compression=compression, mtime_ns=mtime_ns, xattrs=xattrs)
        if isinstance(content, ContentHash):
            self.grafted.append((content, ObjectKind.FILE))
        else:
            self.grafted += [(chunk.hash, ObjectKind.CHUNK) for chunk in content]

    def _add(
        self,
        path: str | bytes,
        content: Iterator[bytes],
        mode: int,
        mtime: int | None,
        *,
        mtime_ns: int | None,
        xattrs: Mapping[bytes, bytes],
        compression: Compression,
    ) -> None:
        seconds = self._seconds() if mtime is None else mtime
        if repository_path(path) == DIRTAB_PATH:
            self.set_dirtab(_whole(content), seconds)
            return
        self._writable(path, is_file=True)  # before anything is stored
        stored = self._objects.write_file(content, compression=compression)
        self.add_file(path, stored, mode, seconds, mtime_ns=mtime_ns, xattrs=xattrs)

    def _made_by(self) -> Workers:
        if self._workers is None:
            self._workers = self._owned.enter_context(Workers(processes=False))
        return self._workers


def _pieces(content: Readable | Iterable[bytes]) -> Iterator[bytes]:
    if isinstance(content, Iterable) and not hasattr(content, "read"):
        yield from content
        return
    while piece := content.read(PIECE_SIZE):
        yield piece


def _whole(content: Iterator[bytes]) -> bytes:
    """A dirtab: small, whatever comes."""
    data = b""
    for piece in content:
        data += piece
        if len(data) > MAX_DIRTAB_SIZE:
            raise FormatError(f".cvmfsdirtab has more than {MAX_DIRTAB_SIZE} bytes")
    return data
