"""Puts the files of dead processes together, so that their number does not grow while workers come and go.

What they counted must stay in the sums: a sum that falls would look like a restart to Prometheus, and count twice.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from prometheus_client.mmap_dict import MmapedDict

from softman.metrics.counted import host

_GONE = "gone"


def gather(directory: Path) -> int:
    """Put the files of this host's processes that are no more together.

    Args:
        directory: where processes count.

    Returns:
        How many files went.
    """
    count = 0
    with _only_one(directory):
        for file in sorted(directory.glob(f"*_{host()}-*.db")):
            kind, _, rest = file.stem.partition("_")
            process = rest.rpartition("-")[2]
            if process.isdigit() and not psutil.pid_exists(int(process)):
                _add(file, directory / f"{kind}_{host()}-{_GONE}.db")
                file.unlink()
                count += 1
    return count


def _add(file: Path, total: Path) -> None:
    sums = MmapedDict(str(total))
    try:
        for key, value, timestamp, _ in MmapedDict.read_all_values_from_file(str(file)):
            sums.write_value(key, sums.read_value(key)[0] + value, timestamp)
    finally:
        sums.close()


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
