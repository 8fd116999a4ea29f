"""The members of an archive, stored and waiting to become a tree in a repository."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from softman.cvmfs.entries import NO_ATTRIBUTES
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.paths import MARKER
from softman.cvmfs.staging import ChunkedContent, StoredObject
from softman.cvmfs.transaction import Transaction
from softman.services.archives.spool import Spool, SpoolEntry, SpoolKind

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644


class StagedTree:
    """What ``stage_archive`` made: content in the staging area, entries in a scratch file. To be closed.

    Args:
        spool: the entries; closed with this.
        empty: the object of an empty file.
        entries: how many there are, without the mountpoint.
        size: bytes of all files; hard links in one directory count once.
    """

    def __init__(self, spool: Spool, empty: StoredObject, *, entries: int, size: int) -> None:
        self.entries = entries
        self.bytes = size
        self._spool = spool
        self._empty = empty

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove the scratch file; nothing happens the second time. What is staged stays."""
        self._spool.close()

    def apply(
        self,
        transaction: Transaction,
        path: bytes,
        *,
        mtime: int,
        mtime_ns: int | None = None,
        xattrs: Mapping[bytes, bytes] = NO_ATTRIBUTES,
    ) -> None:
        """Replace what is at ``path`` by the tree, as a nested catalog of its own.

        Everything in it has the mode and time of its member, and no extended attributes.

        Args:
            transaction: of the staging area that the tree was staged in.
            path: where; must not be the root of the repository.
            mtime: seconds, of the directory itself and of those that the archive does not name.
            mtime_ns: nanoseconds within that second.
            xattrs: of the directory itself.

        Raises:
            PathError: there can be no such directory, or its path is so long that members' paths exceed 4095 bytes.
            CvmfsError: it would be at or below a bind mountpoint.
        """
        if transaction.lookup(path) is not None:
            transaction.remove(path)
        transaction.add_directory(path, _DIRECTORY_MODE, mtime, xattrs, mtime_ns=mtime_ns)
        marker = path + b"/" + MARKER
        transaction.add_file(marker, self._empty, _FILE_MODE, mtime, mtime_ns=mtime_ns)
        for entry in self._spool.entries():
            if not entry.path:
                transaction.add_directory(path, entry.mode, mtime, xattrs, mtime_ns=mtime_ns)
            elif entry.kind is SpoolKind.IMPLIED:
                place = path + b"/" + entry.path
                transaction.add_directory(place, _DIRECTORY_MODE, mtime, mtime_ns=mtime_ns)
            else:
                _add(transaction, path, entry)

    def is_shown(self, transaction: Transaction, path: bytes) -> bool:
        """Whether the tree at ``path`` has just these members with this content, modes and times.

        Of the directory itself, and of those that the archive does not name, nothing but their being there is compared.
        """
        count = 0
        for entry in self._spool.entries():
            if entry.path:
                shown = transaction.lookup(path + b"/" + entry.path)
                if shown is None or not _is_same(transaction, path, entry, shown):
                    return False
                count += entry.path != MARKER
        marker = transaction.lookup(path + b"/" + MARKER)
        return marker is not None and marker.is_file and count + 1 == sum(1 for _ in transaction.walk(path))


def _is_same(transaction: Transaction, path: bytes, entry: SpoolEntry, shown: Entry) -> bool:
    if entry.kind is SpoolKind.IMPLIED:
        return shown.is_dir
    if entry.kind is SpoolKind.HARD_LINK:
        leader = transaction.lookup(path + b"/" + entry.link)
        return leader is not None and shown.hardlink_group == leader.hardlink_group != 0
    if (entry.mtime, entry.mtime_ns) != (shown.mtime, shown.mtime_ns or 0):
        return False
    if entry.kind is SpoolKind.LINK:
        return shown.symlink == entry.link
    return shown.permissions == entry.mode and _has_content(shown, entry.content)


def _has_content(shown: Entry, content: StoredObject | ChunkedContent | None) -> bool:
    if content is None:
        return shown.is_dir
    if isinstance(content, ChunkedContent):
        return shown.chunks == content.chunks
    return shown.hash == content.hash


def _add(transaction: Transaction, path: bytes, entry: SpoolEntry) -> None:
    place = path + b"/" + entry.path
    nanoseconds = entry.mtime_ns or None
    if entry.kind is SpoolKind.DIRECTORY:
        transaction.add_directory(place, entry.mode, entry.mtime, mtime_ns=nanoseconds)
    elif entry.kind is SpoolKind.LINK:
        transaction.add_symlink(place, entry.link, entry.mtime, mtime_ns=nanoseconds)
    elif entry.kind is SpoolKind.HARD_LINK:
        transaction.add_hardlink(place, path + b"/" + entry.link)
    else:
        assert entry.content is not None  # noqa: S101 - all content was stored before the tree was made
        transaction.add_file(place, entry.content, entry.mode, entry.mtime, mtime_ns=nanoseconds)
