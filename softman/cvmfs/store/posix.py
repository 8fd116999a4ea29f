"""Calls to the operating system that the store on disk is made of, with errors of ours."""

import ctypes
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from softman.cvmfs.errors import CvmfsError, ObjectMissing, StoreError, StoreUnavailable

_POLL = 0.02
"""Seconds between two attempts to get a lock."""
_REFUSALS = (PermissionError, NotADirectoryError, IsADirectoryError)


@contextmanager
def os_errors(what: str) -> Iterator[None]:
    """Turn what the operating system says into errors of ours; ours pass."""
    try:
        yield
    except CvmfsError:
        raise
    except FileNotFoundError as error:
        raise ObjectMissing(f"{what} does not exist") from error
    except _REFUSALS as error:
        raise StoreError(f"{what}: {error.strerror}") from error
    except OSError as error:
        raise StoreUnavailable(f"{what}: {error.strerror}") from error


@contextmanager
def open_plain(path: Path) -> Iterator[BinaryIO]:
    """Open a file that must be a plain one, for reading; a link is not followed, a fifo not waited for.

    Raises:
        ObjectMissing: it does not exist, or is something else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ObjectMissing(f"{path.name} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ObjectMissing(f"{path.name} is not a plain file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def open_at(opened: ExitStack, name: str, flags: int, directory: int | None) -> int:
    """Open ``name`` below an open directory; closed with ``opened``."""
    descriptor = os.open(name, flags, dir_fd=directory)
    opened.callback(os.close, descriptor)
    return descriptor


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def fsync_directory(directory: Path) -> None:
    """Make the names in ``directory`` survive a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def boot_time() -> float:
    """When this host was started, in Unix time."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def current_umask() -> int:
    """This process's umask. Asking with ``os.umask`` would change it for a moment, for every thread."""
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def sync_file_system(descriptor: int) -> None:
    """Make everything on the file system of an open file survive a loss of power; without ``syncfs``, on all."""
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:  # not this C library
        os.sync()
    elif function(ctypes.c_int(descriptor)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@contextmanager
def file_lock(path: Path, repository: str, timeout: float) -> Iterator[None]:
    """Hold a lock file (``flock``), which stays.

    Args:
        path: the file; its directory is made.
        repository: whose it is, for messages.
        timeout: seconds to wait for another holder.

    Raises:
        StoreUnavailable: another holder kept it for longer.
    """
    with os_errors(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + timeout
        while not _locks(descriptor, path):
            if time.monotonic() >= deadline:
                raise StoreUnavailable(f"{repository} is being changed by somebody else for over {timeout:g} s")
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _locks(descriptor: int, path: Path) -> bool:
    """Lock an open file, if nobody else has it now."""
    with os_errors(str(path)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
