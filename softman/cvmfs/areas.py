"""Staging areas: where a publisher leaves new objects until stratum 0 has checked and promoted them.

A transaction's area is ``data/txn/<transaction>`` in the repository's storage, flat, one file an object, named as in
``data/`` without the slash (``abcdef...P``). Every file appears under its name whole.
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from softman.cvmfs.errors import ObjectMissing, PathError, StoreUnavailable
from softman.cvmfs.format.hashes import ContentHash, ObjectKind

STAGING_DIRECTORY = "data/txn"
"""Below a repository's root; stock tools keep temporary files there."""
SPOOL_BYTES = 1024 * 1024
"""Bytes of an object in the making that wait in memory; more wait in a file."""
_TRANSACTION = re.compile(r"[0-9a-f]{32}")
_TEMPORARY = ".tmp-"
_MOST_KNOWN = 50_000
"""Names that an area remembers to have."""
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A publisher might leave a fifo: opening must not wait for it.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Spool(Protocol):
    """An object in the making: its name, the hash, is known only at its end. Memory stays bounded."""

    def write(self, data: bytes, /) -> object:
        """Add ``data``; what comes back means nothing."""

    def keep_as(self, name: str) -> None:
        """Put what was written into the area under ``name``. To be called once, last.

        Raises:
            StoreUnavailable: the staging area cannot be written now.
        """


class StagingArea(Protocol):
    """The staging area of one transaction, for its publisher. Safe to be shared by threads."""

    @property
    def transaction(self) -> str:
        """The transaction's id."""

    def spool(self) -> AbstractContextManager[Spool]:
        """Begin an object; nothing is left of one that was not kept."""

    def holds(self, name: str) -> bool:
        """Whether an object was kept under ``name`` before."""

    def discard(self) -> None:
        """Remove the area with all that is in it; nothing happens when it is gone."""


def new_transaction_id() -> str:
    """A name for a transaction that nobody can guess: 32 hex digits."""
    return secrets.token_hex(16)


def check_transaction_id(text: str) -> str:
    """Return ``text`` when it is a transaction's name.

    Raises:
        PathError: it is not 32 lower-case hex digits.
    """
    if not _TRANSACTION.fullmatch(text):
        raise PathError(f"{text[:80]!r} is no transaction: 32 hex digits are")
    return text


def staged_name(content_hash: ContentHash, kind: ObjectKind) -> str:
    """The file name of a staged object."""
    return f"{content_hash}{kind.value}"


class DirectoryArea:
    """A staging area that is a directory.

    Args:
        directory: its last component is the transaction's id; made if it does not exist, its parents must.

    Raises:
        PathError: the last component is no transaction id.
        StoreUnavailable: the directory cannot be made.
    """

    def __init__(self, directory: Path) -> None:
        self.transaction = check_transaction_id(directory.name)
        self.directory = directory
        self._kept: set[str] = set()
        self._numbers = count()
        self._temporary = f"{directory}/{_TEMPORARY}{secrets.token_hex(8)}-"
        with storage_errors():
            directory.mkdir(mode=0o770, exist_ok=True)

    def spool(self) -> AbstractContextManager[Spool]:
        """See ``StagingArea.spool``."""
        return FileSpool(self.directory, lambda name: self.directory / name)

    def holds(self, name: str) -> bool:
        """See ``StagingArea.holds``."""
        return (self.directory / name).exists()

    def keep(self, name: str, stored: bytes) -> None:
        """Put a small object into the area, as it is to be stored; nothing happens when it is there.

        Raises:
            StoreUnavailable: the staging area cannot be written now.
        """
        kept, path = self._kept, f"{self.directory}/{name}"
        if name in kept or (len(kept) >= _MOST_KNOWN and os.path.lexists(path)):
            return
        temporary = f"{self._temporary}{next(self._numbers)}"
        with storage_errors():
            descriptor = os.open(temporary, _CREATE, 0o644)
            try:
                view = memoryview(stored)
                while view:
                    view = view[os.write(descriptor, view) :]
            except BaseException:
                os.unlink(temporary)  # noqa: PTH108 - same
                raise
            finally:
                os.close(descriptor)
            os.rename(temporary, path)  # noqa: PTH104 - same
        if len(kept) < _MOST_KNOWN:
            kept.add(name)

    def discard(self) -> None:
        """See ``StagingArea.discard``."""
        _remove_tree(self.directory)


class FileSpool:
    """Collects the bytes of an object: in memory while they are few, else in a temporary file of the area.

    Args:
        directory: for temporary files.
        place: where an object of a name goes, on the same file system.
        mode: of the file, before the umask.
    """

    def __init__(self, directory: Path, place: Callable[[str], Path | str], *, mode: int = 0o644) -> None:
        self._directory = directory
        self._place = place
        self._mode = mode
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def write(self, data: bytes, /) -> None:
        """See ``Spool.write``."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > SPOOL_BYTES:
            with storage_errors():
                self._flush()

    def keep_as(self, name: str) -> None:
        """See ``Spool.keep_as``."""
        with storage_errors():
            file, path = self._flush()
            file.close()
            path.replace(self._place(name))
        self._path = None

    def _flush(self) -> tuple[BinaryIO, Path]:
        if self._file is None or self._path is None:
            self._path = self._directory / (_TEMPORARY + secrets.token_hex(8))
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, self._mode)
            self._file = os.fdopen(descriptor, "wb")
        self._file.writelines(self._pieces)
        self._pieces.clear()
        self._size = 0
        return self._file, self._path


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn errors of the operating system into ``StoreUnavailable``."""
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(f"the staging area cannot be written: {exc.strerror or exc}") from exc


@contextmanager
def open_staged(staging_root: Path, transaction: str, name: str) -> Iterator[BinaryIO]:
    """A staged file as stratum 0 must open it: a plain file, no link on the way followed.

    Args:
        staging_root: ``data/txn`` of the repository.
        transaction: its id.
        name: see ``staged_name``.

    Raises:
        ObjectMissing: there is no such plain file.
    """
    try:
        directory = os.open(staging_root / check_transaction_id(transaction), _OPEN_DIRECTORY)
        try:
            descriptor = os.open(name, _OPEN_FILE, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as exc:
        raise ObjectMissing(f"staged {name} cannot be read: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ObjectMissing(f"staged {name} is no plain file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def discard_area(staging_root: Path, transaction: str) -> None:
    """Remove a transaction's area; what cannot be removed is left for ``sweep_areas``."""
    _remove_tree(staging_root / check_transaction_id(transaction))


def sweep_areas(staging_root: Path, older_than: float) -> int:
    """Remove staging areas and temporary files of which nothing changed since ``older_than``.

    Symbolic links are removed, never followed. What is not ours to remove stays.

    Args:
        staging_root: ``data/txn`` of the repository.
        older_than: Unix time, seconds.

    Returns:
        How many were removed.
    """
    removed = 0
    for item in staging_root.iterdir() if staging_root.is_dir() else ():
        try:
            if _last_change(item) >= older_than:
                continue
            if stat.S_ISDIR(item.lstat().st_mode):
                removed += _remove_tree(item)
            else:
                item.unlink()
                removed += 1
        except OSError:  # gone meanwhile, or another user's: the next sweep sees
            continue
    return removed


def oldest_area(staging_root: Path) -> float | None:
    """Since when the oldest staging area is in use, in Unix time, or None when there is none.

    Args:
        staging_root: ``data/txn`` of the repository.
    """
    starts = []
    for item in staging_root.iterdir() if staging_root.is_dir() else ():
        if _TRANSACTION.fullmatch(item.name):
            with suppress(OSError):  # gone meanwhile
                starts.append(_first_change(item))
    return min(starts, default=None)


def _remove_tree(directory: Path) -> bool:
    """Remove a directory with all that is in it, as far as possible; whether it is gone.

    Areas are flat, but a publisher could build one so deep that ``rmtree`` gives up.
    """
    with suppress(RecursionError):
        shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def _last_change(item: Path) -> float:
    status = item.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return status.st_mtime
    with os.scandir(item) as entries:
        return max(chain((status.st_mtime,), (e.stat(follow_symlinks=False).st_mtime for e in entries)))


def _first_change(area: Path) -> float:
    with os.scandir(area) as entries:
        changes = (entry.stat(follow_symlinks=False).st_mtime for entry in entries)
        return min(chain((area.lstat().st_mtime,), changes))
