"""A repository in a directory, laid out as the stock tools do it (``cvmfs/upload_local.cc``), for any web server.

Files are written under a temporary name on the same file system and renamed. Objects are not synchronised to disk one
by one: ``sync`` is one barrier before the manifest, which alone makes objects matter. After a crash a name may hence
belong to a file that is too short; ``promote`` does not take such a file for the object.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

from softman.cvmfs.areas import (
    STAGING_DIRECTORY,
    DirectoryArea,
    check_transaction_id,
    discard_area,
    new_transaction_id,
    oldest_area,
    open_staged,
    staged_name,
    sweep_areas,
)
from softman.cvmfs.direct import DirectArea
from softman.cvmfs.errors import HashMismatch, ObjectMissing, StoreError
from softman.cvmfs.format.hashes import ContentHash, Hasher, ObjectKind
from softman.cvmfs.format.objects import PIECE_SIZE
from softman.cvmfs.store.base import Readable, StoredFile, check_name, is_name, read_all
from softman.cvmfs.store.posix import (
    boot_time,
    current_umask,
    file_lock,
    fsync_directory,
    open_at,
    os_errors,
    sync_file_system,
    write_all,
)

LOCK_NAME: Final = ".cvmfs_softman.lock"

_TEMPORARY = ".tmp-"
_READ = os.O_RDONLY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A publisher might put a fifo or a link to something else in place of a staged file.
_OPEN_STAGED = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FILE_MODE = 0o666


class LocalStore:
    """The repository in directory ``root``.

    Args:
        root: absolute path of the directory that holds ``.cvmfspublished``.
        lock_path: the file that ``lock`` locks; ``.cvmfs_softman.lock`` in ``root`` when not given. Everybody who
            changes the repository must use the same.
    """

    def __init__(self, root: Path, *, lock_path: Path | None = None) -> None:
        self.root = root
        self._lock_path = lock_path or root / LOCK_NAME

    @cached_property
    def _file_mode(self) -> int:
        return _FILE_MODE & ~current_umask()  # once: it is read from a file, and thousands are promoted in a row

    @property
    def staging_root(self) -> Path:
        """Where temporary files lie, and the staging areas of transactions: the same file system as the objects."""
        return self.root / STAGING_DIRECTORY

    def ensure_directories(self) -> None:
        """Make ``data/00`` to ``data/ff`` and ``data/txn``, with what lies above."""
        with os_errors("data"):
            self.staging_root.mkdir(parents=True, exist_ok=True)
            for number in range(256):
                (self.root / "data" / f"{number:02x}").mkdir(exist_ok=True)

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """See ``ReadableStore.open``."""
        with os_errors(name):
            file = self._path(name).open("rb")
        with file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise StoreError(f"{name} is not a plain file")
            yield _File(file, name)

    def get(self, name: str, *, max_size: int) -> bytes:
        """See ``ReadableStore.get``."""
        with self.open(name) as file:
            return read_all(file, name, max_size=max_size)

    def exists(self, name: str) -> bool:
        """See ``ReadableStore.exists``."""
        try:
            with os_errors(name):
                return stat.S_ISREG(self._path(name).stat().st_mode)
        except ObjectMissing:
            return False

    def put(self, name: str, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
        """See ``Store.put``."""
        target = self._path(name)
        pieces = [data] if isinstance(data, bytes) else data
        with os_errors(name), self._temporary(target) as (descriptor, temporary):
            for piece in pieces:
                write_all(descriptor, piece)
            if durable:
                os.fsync(descriptor)
            temporary.rename(target)
            if durable:
                fsync_directory(target.parent)

    def promote(self, staged: Path, content: ContentHash, kind: ObjectKind) -> None:
        """See ``Store.promote``.

        A file of our own user is renamed. One of somebody else is copied while it is hashed, since its owner may hold
        it open and change it after any check.
        """
        name = content.object_path(kind)
        target = self._path(name)
        with os_errors(str(staged)), self._open_plain(staged) as (directory, source):
            before = os.fstat(source)
            if not stat.S_ISREG(before.st_mode):
                raise ObjectMissing(f"staged {staged.name} is not a plain file")
            if _is_stored(target, before.st_size) and self._has_hash(name, before.st_size, content):
                return
            if self._is_ours(before):
                _compare(_hash(source, before.st_size, content), content, staged)
                os.fchmod(source, self._file_mode)
                os.rename(staged.name, target, src_dir_fd=directory)
                if target.lstat().st_ino != before.st_ino:
                    target.unlink()
                    raise HashMismatch(f"staged {staged.name} was exchanged while it was promoted")
                return
            with self._temporary(target) as (descriptor, temporary):
                _compare(_hash(source, before.st_size, content, copy_to=descriptor), content, staged)
                temporary.rename(target)

    def is_stored(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """See ``Store.is_stored``.

        Only a loss of power cuts files short, so what was written since this host started is whole. Older objects of
        unknown size are hashed, and count as new then: each of them is hashed once after a start at most.
        """
        name = content.object_path(kind)
        try:
            with os_errors(name):
                status = self._path(name).lstat()
                if not stat.S_ISREG(status.st_mode):
                    return False
                if size is not None:
                    return status.st_size == size
                return status.st_mtime > boot_time() or self._has_hash(name, status.st_size, content)
        except ObjectMissing:
            return False

    def listing(self, prefix: str = "") -> Iterator[StoredFile]:
        """See ``Store.listing``."""
        yield from self._list("", prefix)
        if prefix.startswith("data/") or "data/".startswith(prefix):
            for number in range(256):
                directory = f"data/{number:02x}/"
                if prefix.startswith(directory) or directory.startswith(prefix):
                    yield from self._list(directory, prefix)

    def names(self, prefix: str = "") -> Iterator[str]:
        """See ``Store.names``."""
        return (file.name for file in self.listing(prefix))

    def delete(self, name: str) -> None:
        """See ``Store.delete``."""
        with suppress(ObjectMissing), os_errors(name):
            self._path(name).unlink()

    def sync(self) -> None:
        """One barrier for the whole file system (``syncfs``)."""
        with os_errors("data"):
            descriptor = os.open(self.root, _OPEN_DIRECTORY & ~os.O_NOFOLLOW)
            try:
                sync_file_system(descriptor)
            finally:
                os.close(descriptor)

    @contextmanager
    def lock(self, repository: str, *, timeout: float = 60) -> Iterator[None]:
        """See ``Store.lock``: ``flock`` on the lock file, which stays."""
        with file_lock(self._lock_path, repository, timeout):
            yield

    def new_area(self) -> DirectoryArea:
        """See ``StagedStore.new_area``."""
        return DirectoryArea(self.staging_root / new_transaction_id())

    def begin_direct(self) -> DirectArea:
        """See ``DirectStore.begin_direct``."""
        return DirectArea.begin(self.root)

    @contextmanager
    def open_staged(self, transaction: str, name: str) -> Iterator[Readable]:
        """See ``StagedStore.open_staged``."""
        with open_staged(self.staging_root, transaction, name) as file:
            yield _File(file, f"staged {name}")

    def promote_staged(self, transaction: str, objects: Iterable[tuple[ContentHash, ObjectKind]]) -> None:
        """See ``StagedStore.promote_staged``."""
        area = self.staging_root / check_transaction_id(transaction)
        staged = []
        for content, kind in dict.fromkeys(objects):
            path = area / staged_name(content, kind)
            with os_errors(f"staged {path.name}"):
                is_staged = path.exists()
            if is_staged:
                staged.append((path, content, kind))
            elif not self.is_stored(content, kind):
                raise ObjectMissing(f"object {path.name} is neither staged nor stored")
        for path, content, kind in staged:
            self.promote(path, content, kind)

    def discard_staged(self, transaction: str) -> None:
        """See ``StagedStore.discard_staged``."""
        discard_area(self.staging_root, transaction)

    def oldest_staged(self) -> float | None:
        """See ``StagedStore.oldest_staged``."""
        return oldest_area(self.staging_root)

    def sweep_staged(self, older_than: float) -> int:
        """See ``StagedStore.sweep_staged``; so do temporary files that crashes left beside the manifest."""
        removed = sweep_areas(self.staging_root, older_than)
        for path in self.root.glob(_TEMPORARY + "*"):
            with suppress(OSError):  # gone meanwhile, or another user's: the next sweep sees
                if path.lstat().st_mtime < older_than:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, name: str) -> Path:
        return self.root / check_name(name)

    def _has_hash(self, name: str, size: int, content: ContentHash) -> bool:
        descriptor = os.open(self._path(name), _OPEN_STAGED)
        try:
            if _hash(descriptor, size, content) != content:
                return False
            with suppress(PermissionError):  # a publisher may look, but not touch
                os.utime(descriptor)
        finally:
            os.close(descriptor)
        return True

    def _list(self, directory: str, prefix: str) -> Iterator[StoredFile]:
        with os_errors(directory or "the repository"):
            try:
                entries = sorted(path.name for path in (self.root / directory).iterdir())
            except FileNotFoundError:
                return
        for name in (directory + entry for entry in entries):
            if name.startswith(prefix) and is_name(name) and name != LOCK_NAME:
                try:
                    with os_errors(name):
                        status = (self.root / name).lstat()
                except ObjectMissing:  # removed meanwhile
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield StoredFile(name, status.st_size, status.st_mtime)

    def _is_ours(self, status: os.stat_result) -> bool:
        """Whether nobody else can change the file once it is renamed."""
        same_device = status.st_dev == self.staging_root.stat().st_dev
        return same_device and status.st_uid == os.geteuid() and status.st_nlink == 1

    @contextmanager
    def _temporary(self, target: Path) -> Iterator[tuple[int, Path]]:
        """A new file on the file system of ``target``, to be renamed; removed again when it was not."""
        directory = target.parent if target.parent == self.root else self.staging_root
        temporary = directory / f"{_TEMPORARY}{secrets.token_hex(12)}"
        descriptor = os.open(temporary, _CREATE, _FILE_MODE)
        try:
            yield descriptor, temporary
        except BaseException:
            with suppress(FileNotFoundError):
                temporary.unlink()
            raise
        finally:
            os.close(descriptor)

    @contextmanager
    def _open_plain(self, staged: Path) -> Iterator[tuple[int, int]]:
        """Descriptors of the staged file's directory and of the file; no link on the way below txn is followed."""
        base = self.staging_root if staged.is_relative_to(self.staging_root) else staged.parent
        parts = staged.relative_to(base).parts
        if not parts or ".." in parts:
            raise ObjectMissing(f"not a staged file: {staged}")
        with ExitStack() as opened:
            try:
                directory = open_at(opened, str(base), _OPEN_DIRECTORY, None)
                for part in parts[:-1]:
                    directory = open_at(opened, part, _OPEN_DIRECTORY, directory)
                source = open_at(opened, parts[-1], _OPEN_STAGED, directory)
            except OSError as error:
                if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}:
                    raise ObjectMissing(f"staged {staged.name} is not a plain file") from error
                raise
            yield directory, source


class _File:
    """A file being read, with our errors."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name

    def read(self, size: int, /) -> bytes:
        with os_errors(self._name):
            return self._file.read(size)


def _hash(source: int, size: int, like: ContentHash, *, copy_to: int | None = None) -> ContentHash:
    """The hash of the first ``size`` bytes of ``source``, copied on the way when asked for."""
    hasher = Hasher(like.algorithm)
    left = size
    while left > 0 and (piece := os.read(source, min(left, PIECE_SIZE))):
        hasher.update(piece)
        if copy_to is not None:
            write_all(copy_to, piece)
        left -= len(piece)
    return hasher.finish()


def _compare(found: ContentHash, expected: ContentHash, staged: Path) -> None:
    if found != expected:
        raise HashMismatch(f"staged {staged.name} has the hash {found}, not {expected}")


def _is_stored(target: Path, size: int) -> bool:
    """Whether the object is there in full; it then counts as new again for a collector that goes by age."""
    try:
        if target.lstat().st_size != size:
            return False
        os.utime(target)
    except FileNotFoundError:
        return False
    return True
