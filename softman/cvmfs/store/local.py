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
_NO_AREA = -1


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

    @cached_property
    def _device(self) -> int:
        return self.staging_root.stat().st_dev

    @cached_property
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
        """See ``Store.promote``."""
        base = self.staging_root if staged.is_relative_to(self.staging_root) else staged.parent
        parts = staged.relative_to(base).parts
        if not parts or ".." in parts:
            raise ObjectMissing(f"not a staged file: {staged}")
        with os_errors(str(staged)), _open_directory(base, parts[:-1]) as directory:
            self.promote_at(directory, parts[-1], content, kind)

    def promote_at(self, directory: int, staged: str, content: ContentHash, kind: ObjectKind) -> None:
        """Promote a staged file of an open directory; thousands come in a row, so this is kept short.

        A file of our own user is renamed. One of somebody else is copied while it is hashed, since its owner may hold
        it open and change it after any check.

        Raises:
            ObjectMissing: there is no such plain file.
            HashMismatch: it is not what it is named.
            OSError: the operating system refuses.
        """
        name = content.object_path(kind)
        target = f"{self.root}/{name}"
        source = _open_staged(staged, directory)
        try:
            before = os.fstat(source)
            if not stat.S_ISREG(before.st_mode):
                raise ObjectMissing(f"staged {staged} is not a plain file")
            if _is_stored(target, before.st_size) and self._has_hash(name, before.st_size, content):
                return
            if not self._is_ours(before):
                self._copy(source, before.st_size, content, target, staged)
                return
            _compare(_hash(source, before.st_size, content), content, staged)
            if stat.S_IMODE(before.st_mode) != self._file_mode:
                os.fchmod(source, self._file_mode)
            os.rename(staged, target, src_dir_fd=directory)
            if os.lstat(target).st_ino != before.st_ino:
                os.unlink(target)  # noqa: PTH108 - as fast as the rest
                raise HashMismatch(f"staged {staged} was exchanged while it was promoted")
        finally:
            os.close(source)

    def is_stored(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """See ``Store.is_stored``.

        Only a loss of power cuts files short, so what was written since this host started is whole. Older objects of
        unknown size are hashed, and count as new then: each of them is hashed once after a start at most.
        """
        name = content.object_path(kind)
        try:  # no context manager: this is asked for every object of a sync
            status = os.lstat(f"{self.root}/{name}")
        except FileNotFoundError:
            return False
        except OSError as exc:
            with os_errors(name):
                raise exc from None
        if not stat.S_ISREG(status.st_mode):
            return False
        if size is not None:
            return status.st_size == size
        if status.st_mtime > boot_time():
            return True
        try:
            with os_errors(name):
                return self._has_hash(name, status.st_size, content)
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
        wanted = [(staged_name(*each), *each) for each in dict.fromkeys(objects)]
        with ExitStack() as opened, os_errors(f"staged objects of {transaction}"):
            area = _NO_AREA
            with suppress(ObjectMissing):  # an earlier attempt may have promoted all of it
                area = opened.enter_context(_open_directory(self.staging_root, [check_transaction_id(transaction)]))
            staged = []
            for name, content, kind in wanted:
                if area != _NO_AREA and _is_there(name, area):
                    staged.append((name, content, kind))
                elif not self.is_stored(content, kind):
                    raise ObjectMissing(f"object {name} is neither staged nor stored")
            for name, content, kind in staged:
                self.promote_at(area, name, content, kind)

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
        return status.st_dev == self._device and status.st_uid == os.geteuid() and status.st_nlink == 1

    def _copy(self, source: int, size: int, content: ContentHash, target: str, staged: str) -> None:
        with self._temporary(Path(target)) as (descriptor, temporary):
            _compare(_hash(source, size, content, copy_to=descriptor), content, staged)
            temporary.rename(target)

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


def _compare(found: ContentHash, expected: ContentHash, staged: str) -> None:
    if found != expected:
        raise HashMismatch(f"staged {staged} has the hash {found}, not {expected}")


def _is_stored(target: str, size: int) -> bool:
    """Whether the object is there in full; it then counts as new again for a collector that goes by age."""
    try:
        if os.lstat(target).st_size != size:
            return False
        os.utime(target)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def _open_directory(base: Path, parts: Iterable[str]) -> Iterator[int]:
    """A descriptor of a directory below ``base``; no link on the way is followed."""
    with ExitStack() as opened:
        try:
            directory = open_at(opened, str(base), _OPEN_DIRECTORY, None)
            for part in parts:
                directory = open_at(opened, part, _OPEN_DIRECTORY, directory)
        except OSError as exc:
            raise _not_plain(base.name, exc) from exc
        yield directory


def _open_staged(name: str, directory: int) -> int:
    try:
        return os.open(name, _OPEN_STAGED, dir_fd=directory)
    except OSError as exc:
        raise _not_plain(name, exc) from exc


def _not_plain(name: str, error: OSError) -> Exception:
    """What to raise for ``error``: a publisher may have put anything in place of a directory or a file."""
    if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.ENOENT}:
        return ObjectMissing(f"staged {name} is not a plain file")
    return error


def _is_there(name: str, directory: int) -> bool:
    try:
        os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True
