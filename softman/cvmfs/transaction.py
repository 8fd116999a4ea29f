"""A transaction: the next revision, made from the current one by adding, replacing and removing entries.

Catalogs are copied to scratch files and edited there; nothing else changes until stratum 0 commits the candidate. One
thread at a time may use a transaction; its ``Staging`` may be used by many.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from softman.cvmfs.balancing import Balance, balance_catalogs
from softman.cvmfs.catalog_tree import Base, CatalogTree
from softman.cvmfs.check import chunk_problems
from softman.cvmfs.dirtab import DIRTAB_PATH, MAX_DIRTAB_SIZE, Dirtab
from softman.cvmfs.editor import Editor
from softman.cvmfs.entries import NO_ATTRIBUTES, directory_entry, file_entry, marker_entry, symlink_entry
from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.format.counters import CatalogCounters
from softman.cvmfs.format.entry import Chunk, Compression, Entry
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.moving import move
from softman.cvmfs.nesting import Nesting
from softman.cvmfs.paths import MARKER, check_writable, repository_path
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject

__all__ = ["Balance", "Base", "Candidate", "Transaction"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A root catalog that waits in the staging area to become the next revision."""

    base_revision: int
    base_root_hash: ContentHash
    root_hash: ContentHash
    root_size: int
    """Bytes of the database, uncompressed."""


class Transaction:
    """Builds the next revision on top of ``snapshot``. Use it as a context manager: leaving it removes scratch files.

    Paths are absolute inside the repository, text or bytes. Missing parents are made with mode 0755. A file takes the
    place of a directory with all that is in it, and the reverse; but a file is never turned into a directory because
    something is to be added below it. Owners are always 0. Every method raises ``PathError`` for an impossible path,
    and ``CvmfsError`` when a change would fall on or below a bind mountpoint.

    Nested catalogs are opened when something below them is looked at or changed, and only those that differ in the end
    are written, with those above them. A directory with a file ``.cvmfscatalog`` becomes a nested catalog when the
    transaction is sealed, and ceases to be one when the file is gone. So does one that the rules of ``set_dirtab``
    match.

    Args:
        snapshot: the revision to build on; must stay open as long as the transaction.
        staging: where objects are staged and ``seal`` puts the catalogs.
        now: the clock, for parents made by themselves and the time of the revision.
        work_dir: for scratch files; None takes the system's temporary directory.
        balance: limits between which catalogs are split and merged automatically; None leaves them alone.

    Attributes:
        editor: changes entries as they are, without the rules for new ones; for other modules of this library.

    Raises:
        FormatError: the root catalog cannot be read, or is of a schema revision that cannot be written.
    """

    def __init__(
        self,
        snapshot: Base,
        staging: Staging,
        *,
        now: Callable[[], datetime],
        work_dir: Path | None = None,
        balance: Balance | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._staging = staging
        self._now = now
        self._balance = balance
        self._dirtab: Dirtab | None = None
        self._dirtab_is_new = False
        self._matched: set[bytes] = set()
        self._directory = Path(tempfile.mkdtemp(prefix="softman-transaction-", dir=work_dir))
        self._tree = CatalogTree(snapshot, self._directory)
        self.editor = Editor(self._tree, now=self._seconds, directory_made=self._directory_made)
        try:
            self._tree.writer(self._tree.root)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove scratch files; what is staged stays."""
        self._tree.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def counters(self) -> CatalogCounters:
        """What the root catalog adds up to now. Changes in nested catalogs are added when the transaction is sealed."""
        return self._tree.writer(self._tree.root).counters

    def lookup(self, path: str | bytes) -> Entry | None:
        """The entry at ``path`` as of now, or None."""
        return self.editor.lookup(repository_path(path))

    def listdir(self, path: str | bytes) -> Iterator[Entry]:
        """The entries of a directory in the order of their names' bytes.

        Raises:
            PathError: there is no such directory.
        """
        return self.editor.listdir(repository_path(path))

    def walk(self, path: str | bytes = b"") -> Iterator[Entry]:
        """Everything below a directory, depth first, children in the order of their names' bytes.

        Nested catalogs are included, bind mountpoints are not entered. Nothing may be changed meanwhile.

        Raises:
            PathError: there is no such directory.
        """
        pending = [self.listdir(path)]
        while pending:
            entry = next(pending[-1], None)
            if entry is None:
                pending.pop()
                continue
            yield entry
            if entry.is_dir and not entry.is_bind_mountpoint:
                pending.append(self.editor.listdir(entry.path))

    def add_file(
        self,
        path: str | bytes,
        stored: StoredObject | ChunkedContent,
        mode: int,
        mtime: int,
        *,
        mtime_ns: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
    ) -> None:
        """Add or replace a regular file.

        Args:
            path: where.
            stored: its content, as ``Staging`` stored it.
            mode: permission bits; that it is a regular file may be said, too.
            mtime: seconds.
            mtime_ns: nanoseconds within that second, or None.
            xattrs: extended attributes.

        Raises:
            PathError: also for set-id and sticky bits, the mode of a special file, and when a parent is no directory.
            FormatError: extended attributes or times that the format cannot hold.
        """
        where, algorithm = self._writable(path, is_file=True), self._staging.algorithm
        self.editor.put(file_entry(where, stored, mode, algorithm, mtime=mtime, mtime_ns=mtime_ns, xattrs=xattrs))

    def add_directory(
        self,
        path: str | bytes,
        mode: int = 0o755,
        mtime: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
        *,
        mtime_ns: int | None = None,
    ) -> None:
        """Add a directory, or give the one that is there these attributes; its content stays.

        Args and errors are as for ``add_file``; without ``mtime`` the present time is taken.
        """
        entry = directory_entry(self._writable(path), mode)
        when = self._seconds() if mtime is None else mtime
        self.editor.put(replace(entry, mtime=when, mtime_ns=mtime_ns, xattrs=dict(xattrs)))

    def add_symlink(
        self,
        path: str | bytes,
        target: str | bytes,
        mtime: int,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
        *,
        mtime_ns: int | None = None,
    ) -> None:
        """Add or replace a symbolic link.

        Args and errors are as for ``add_file``; a ``target`` that is empty, has a NUL or exceeds 4095 bytes is a
        ``PathError``.
        """
        entry = symlink_entry(self._writable(path), target)
        self.editor.put(replace(entry, mtime=mtime, mtime_ns=mtime_ns, xattrs=dict(xattrs)))

    def add_hardlink(self, path: str | bytes, target: str | bytes) -> None:
        """Make ``path`` another name of the file or symbolic link at ``target``, in the same directory.

        All names of a file have the same attributes; one that is replaced or gets other ones leaves the group.

        Raises:
            PathError: ``target`` is no file or link, or in another directory; ``path`` is a directory.
        """
        self.editor.link(repository_path(target), self._writable(path, is_file=True))

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
        """Add or replace a regular file whose content is stored already; the commit checks that it is.

        Args:
            path: where.
            content: its object, or its chunks in order.
            size: bytes of the content, uncompressed.
            mode: as for ``add_file``.
            mtime: as for ``add_file``.
            compression: how the objects are stored.
            mtime_ns: as for ``add_file``.
            xattrs: as for ``add_file``.

        Raises:
            PathError: as for ``add_file``.
            FormatError: as for ``add_file``; or chunks that do not cover the file, or another hash algorithm than the
                repository's.
        """
        stored: StoredObject | ChunkedContent
        if isinstance(content, ContentHash):
            hashes = [content]
            stored = StoredObject(content, size, 0, compression)
        else:
            hashes = [chunk.hash for chunk in content]
            stored = ChunkedContent(tuple(content), size, 0, compression)
            for problem in chunk_problems(repository_path(path), stored.chunks, size):
                raise FormatError(problem)
        if size < 0 or any(one.algorithm is not self._staging.algorithm for one in hashes):
            raise FormatError(f"{repository_path(path)!r}: a negative size, or not the repository's hash algorithm")
        self.add_file(path, stored, mode, mtime, mtime_ns=mtime_ns, xattrs=xattrs)

    def dirtab(self) -> Dirtab:
        """The rules for catalogs that hold now."""
        if self._dirtab is None:
            self._dirtab = Dirtab()
            entry = self.editor.lookup(DIRTAB_PATH)
            if entry is not None and entry.is_file and entry.size <= MAX_DIRTAB_SIZE:
                self._dirtab = Dirtab.parse(b"".join(self._snapshot.read_entry(entry)))
        return self._dirtab

    def set_dirtab(self, content: bytes, mtime: int) -> None:
        """Store ``/.cvmfsdirtab``, the rules for directories that get a catalog of their own; see ``dirtab``.

        They hold for what is there and for what comes. ``remove`` takes the file away, and leaves the catalogs.

        Raises:
            FormatError: it has more than 1 MiB, or a line is no rule.
            StoreUnavailable: the staging area cannot be written now.
        """
        if len(content) > MAX_DIRTAB_SIZE:
            raise FormatError(f".cvmfsdirtab has {len(content)} bytes; {MAX_DIRTAB_SIZE} are possible")
        self._dirtab, self._dirtab_is_new = Dirtab.parse(content), True
        stored = self._staging.write_object([content])
        self.editor.put(file_entry(DIRTAB_PATH, stored, 0o644, self._staging.algorithm, mtime=mtime))

    def set_xattrs(self, path: str | bytes, xattrs: Mapping[bytes, bytes]) -> None:
        """Replace the extended attributes of an entry; the root has them too.

        Raises:
            PathError: there is no such entry.
            FormatError: attributes that the format cannot hold.
        """
        entry = self._there(path)
        # A hard link with attributes of its own cannot stay in its group: members have the same data.
        linkcount = entry.linkcount if entry.is_dir else 1
        self.editor.put(replace(entry, xattrs=dict(xattrs), hardlink_group=0, linkcount=linkcount))

    def rename(self, path: str | bytes, target: str | bytes) -> None:
        """Move an entry, a directory with everything below it. Its owner becomes root.

        A file or link at ``target`` is replaced, a directory is not. A file that moves to another directory leaves its
        hard-link group; groups in a directory that moves stay together.

        Raises:
            PathError: there is nothing at ``path``; ``target`` is a directory or lies inside ``path``; or something
                that moves could not be made by ``add_`` methods: special and external files, set-id bits.
        """
        entry, place = self._there(path), repository_path(target)
        if DIRTAB_PATH in {entry.path, place} or not entry.path:
            raise PathError(f"{entry.path or place!r} cannot be moved")
        if entry.path != place:
            move(self.editor, entry, place)

    def remove(self, path: str | bytes) -> None:
        """Remove an entry, a directory with everything below it, nested catalogs included. Its parents stay.

        Raises:
            PathError: there is no such entry, or it is the root.
        """
        entry = self._there(path)
        if not entry.path:
            raise PathError("the root of the repository cannot be removed")
        if entry.path == DIRTAB_PATH:
            self._dirtab = Dirtab()
        self.editor.remove(entry)

    def remove_empty_parents(self, path: str | bytes, keep: Callable[[Entry], bool]) -> None:
        """Remove the directories above ``path`` that are empty, from below, up to the first that ``keep`` wants.

        One that has nothing but the markers of an automatic catalog is empty, too.

        Args:
            path: need not exist any more.
            keep: asked for each empty directory; the root is never removed.
        """
        parent = repository_path(path).rpartition(b"/")[0]
        while parent:
            entry = self.editor.lookup(parent)
            if entry is not None:  # one that is gone already may have been the last in its own parent
                bind = entry.is_bind_mountpoint
                if not entry.is_dir or bind or not self.editor.is_empty(parent) or keep(entry):
                    return
                self.editor.remove(entry)
            parent = parent.rpartition(b"/")[0]

    def seal(self) -> Candidate | None:
        """End the transaction: stage all catalogs that changed as a candidate for the next revision.

        Returns:
            The candidate, or None when in the end nothing differs from the base; the transaction goes on then.

        Raises:
            StoreUnavailable: the staging area cannot be written now.
            FormatError: the dirtab of the base has a line that is no rule.
        """
        if not self._tree.differs():
            return None
        now = self._seconds()
        self._add_markers(now)
        nesting = Nesting(self._tree, self._staging.algorithm)
        nesting.follow_markers(self.editor.marked)
        if self._balance is not None:
            balance_catalogs(self._tree, nesting, self._balance, empty=self._empty_file, now=now)
        root = self._tree.write(self._staging, now=now)
        return Candidate(self._snapshot.manifest.revision, self._snapshot.manifest.root_hash, root.hash, root.size)

    def _add_markers(self, now: int) -> None:
        """Put a marker in each directory that the dirtab wants a catalog for, as far as that can have changed."""
        wanted = {path for path in self.editor.marked if self.dirtab().matches(path)} if self.editor.marked else set()
        wanted |= self._matched
        if self._dirtab_is_new:
            wanted.update(self.dirtab().find(self._subdirectories))
        for directory in sorted(wanted):
            entry = self.editor.lookup(directory)
            marker = directory + b"/" + MARKER
            if entry is not None and entry.is_dir and not entry.is_bind_mountpoint and not self.editor.lookup(marker):
                self.editor.put(marker_entry(marker, self._empty_file(), now))

    def _subdirectories(self, path: bytes) -> list[bytes]:
        return [e.name for e in self.editor.listdir(path) if e.is_dir and not e.is_bind_mountpoint]

    def _directory_made(self, path: bytes) -> None:
        if self.dirtab().matches(path):
            self._matched.add(path)

    def _empty_file(self) -> ContentHash:
        return self._staging.write_object([]).hash

    def _writable(self, path: str | bytes, *, is_file: bool = False) -> bytes:
        where = repository_path(path)
        check_writable(where, is_file=is_file)
        if where == DIRTAB_PATH:
            raise PathError(f"{where!r} must be stored with set_dirtab, which checks its rules")
        return where

    def _there(self, path: str | bytes) -> Entry:
        where = repository_path(path)
        entry = self.editor.lookup(where)
        if entry is None:
            raise PathError(f"{where!r} does not exist")
        return entry

    def _seconds(self) -> int:
        return int(self._now().timestamp())
