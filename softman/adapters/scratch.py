"""Temporary files of worker processes: each process has a directory, which the next one removes when it was killed.

A directory belongs to the process that holds the lock of a file in it (``flock``): a lock ends with its process,
however that ended, and a process id that is used again takes nobody in. Making one and sweeping exclude each other.
"""

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SWEEP_SECONDS = 600.0
"""How often a process looks for what others left."""
_NAME = re.compile(r"[0-9]+-[0-9a-f]{16}")
_LOCK = ".lock"
_GUARD = ".sweeping"


@dataclass(slots=True)
class _Own:
    """This process's directory below a root."""

    directory: Path
    lock: int
    swept: float


_own: dict[tuple[int, Path], _Own] = {}
"""By process, since a fork takes the table along, and root."""


def own_directory(root: Path) -> Path:
    """This process's directory below ``root``, made when it asks first; what killed ones left is removed at times.

    Args:
        root: for directories of processes of one host; made with its parents, for this user alone.

    Raises:
        OSError: it cannot be made.
    """
    key = os.getpid(), root
    own, now = _own.get(key), time.monotonic()
    if own is None or not own.directory.is_dir():
        own = _own[key] = _make(root, now)
        sweep(root)
    elif now - own.swept > SWEEP_SECONDS:
        own.swept = now
        sweep(root)
    return own.directory


def sweep(root: Path) -> int:
    """Remove the directories of processes that have ended; how many there were. Nothing happens without ``root``.

    Raises:
        OSError: ``root`` cannot be read or written.
    """
    if not root.is_dir():
        return 0
    with _guarded(root):
        left = [path for path in root.iterdir() if _NAME.fullmatch(path.name) and not _is_held(path)]
        for directory in left:
            shutil.rmtree(directory, ignore_errors=True)
    return len(left)


def _make(root: Path, now: float) -> _Own:
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _guarded(root):
        directory = root / f"{os.getpid()}-{secrets.token_hex(8)}"
        directory.mkdir(mode=0o700)
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return _Own(directory, lock, now)


def _is_held(directory: Path) -> bool:
    """Whether its process lives; also when that cannot be found out."""
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # it ended before it had begun
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _guarded(root: Path) -> Iterator[None]:
    descriptor = os.open(root / _GUARD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
