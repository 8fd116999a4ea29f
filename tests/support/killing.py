"""A process that changes a repository and is killed, really, at the n-th thing that it does to the storage.

``python -m tests.support.killing KEYS`` reads one request a line and forks for each, so that Python starts once. What
counts is every call that changes a directory or a file below the repository's root: files opened for writing, renamed,
removed and so on (as Python's audit events tell, before the call), and each ``os.write``, before it and half done.
What is killed is the process itself, or a worker process of it.
"""

import ctypes
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from softman.cli.repo.keyfiles import KeyFiles
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.format.chunker import ChunkSizes
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.ingest import IngestOptions, Workers
from softman.cvmfs.repository import Repository, Tagging
from tests.support.keys import check_private_keys_once
from tests.support.writing import NAME, Workshop, add

_ROOT = Path(__file__).resolve().parents[2]
# Where an event has paths, and the directories that they are relative to: see "Audit events table" in Python's manual.
_PLACES = {
    "os.rename": ((0, 2), (1, 3)),
    "os.link": ((0, 2), (1, 3)),
    "os.remove": ((0, 1),),
    "os.rmdir": ((0, 1),),
    "os.mkdir": ((0, 2),),
    "os.symlink": ((1, 2),),
    "os.truncate": ((0, None),),
    "os.utime": ((0, 3),),
    "os.chmod": ((0, 2),),
}
_PR_SET_CHILD_SUBREAPER = 36
LOST = 75
"""Exit code of a process that lost a worker and ended in order."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass
class Killer:
    """The process, as its parent sees it."""

    process: subprocess.Popen[str]

    def run(self, operation: str, workshop: Workshop, source: Path, steps: int) -> bool:
        """Let ``operation``, or a worker of it, be killed before its ``steps``-th step; whether it came so far."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        request = [operation, str(workshop.root), workshop.time.isoformat(), str(source), steps]
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = int(self.process.stdout.readline())
        assert answer in {0, LOST, -signal.SIGKILL}, f"{operation} ended with {answer} at step {steps}"
        return answer != 0


@contextmanager
def killer(pickled: Path) -> Iterator[Killer]:
    """Start the process; ``pickled`` is a file with a pickled ``RepositoryKeys``, scratch files are left beside it."""
    command = [sys.executable, "-m", "tests.support.killing", str(pickled)]
    environment = {**os.environ, "TMPDIR": str(pickled.parent)}
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield Killer(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()


class Countdown:
    """Kills this process when so many steps were done below ``root``."""

    def __init__(self, root: str, steps: int) -> None:
        self._below = root + "/"
        self._left = steps
        self._write = os.write
        sys.addaudithook(self._on_event)
        os.write = self._on_write  # type: ignore[assignment]  # bytes are all that is ever written here

    def _step(self) -> bool:
        self._left -= 1
        return self._left < 0

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            counts = isinstance(flags, int) and bool(flags & _WRITING) and self._is_ours(path)
        else:
            counts = any(
                self._is_ours(arguments[path], -1 if directory is None else arguments[directory])
                for path, directory in _PLACES.get(event, ())
            )
        if counts and self._step():
            os.kill(os.getpid(), signal.SIGKILL)

    def _on_write(self, descriptor: int, data: bytes, /) -> int:
        if self._is_ours(descriptor):
            if self._step():
                os.kill(os.getpid(), signal.SIGKILL)
            if self._step():
                self._write(descriptor, bytes(data)[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
        return self._write(descriptor, data)

    def _is_ours(self, path: Any, directory: int = -1) -> bool:
        if isinstance(path, int):
            path = f"/proc/self/fd/{path}"
        if directory != -1:
            path = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), os.fsdecode(path))  # noqa: PTH115, PTH118
        text = os.fsdecode(path)
        if text.startswith("/proc/self/fd/"):
            text = os.readlink(text)  # noqa: PTH115 - no path object is worth it here
        return text.startswith(self._below)


Arm = Callable[[], object]


def publish(workshop: Workshop, source: Path, arm: Arm) -> None:
    """As ``softman repo publish``: objects go to their final place."""
    options = IngestOptions(chunks=ChunkSizes(1024, 2048, 4096))
    arm()
    with (
        Workers(processes=False, count=1) as workers,
        workshop.repository.transaction(tagging=Tagging("published"), workers=workers) as transaction,
    ):
        transaction.add_tree("/tree", source, options=options)
        transaction.remove("/f")


def publish_on_top(workshop: Workshop, source: Path, arm: Arm) -> None:
    """The same after somebody else was faster."""
    del source
    with workshop.repository.transaction() as transaction:
        transaction.add_bytes("/late", b"late", mtime=1)
        with Repository(workshop.store, NAME, workshop.keys, now=workshop.now).transaction() as other:
            other.add_bytes("/early", b"early", mtime=1)
        arm()


def commit(workshop: Workshop, source: Path, arm: Arm) -> None:
    """As a publisher of the service and stratum 0: objects are staged, inspected, promoted."""
    del source
    arm()
    workshop.publish(add("/d/f", b"content"))


def publish_by_processes(workshop: Workshop, source: Path, arm: Arm) -> None:
    """As ``publish``, with worker processes, which this one leaves behind when it is killed."""
    with Workers(processes=True, count=2) as workers:
        arm()
        _publish_tree(workshop, source, workers)


def lose_workers(workshop: Workshop, source: Path, arm: Arm) -> None:
    """The same, but it is the workers that are killed."""
    try:
        with Workers(processes=True, count=2) as workers:
            for _ in range(workers.count):
                workers.submit(_arm_worker, arm)
            armed = 0
            while armed < workers.count:
                armed += len(workers.wait())
            _publish_tree(workshop, source, workers)
    except CvmfsError as error:
        assert "ended from outside" in str(error)  # noqa: PT017 - there is no pytest in this process
        os._exit(LOST)


def _publish_tree(workshop: Workshop, source: Path, workers: Workers) -> None:
    with workshop.repository.transaction(workers=workers) as transaction:
        transaction.add_tree("/tree", source, options=IngestOptions(chunks=ChunkSizes(1024, 2048, 4096)))


def _arm_worker(arm: Arm) -> None:
    arm()


def create(workshop: Workshop, source: Path, arm: Arm) -> None:
    """As ``softman repo create``: keys, then the repository, in two directories below that of ``workshop``."""
    del source
    arm()
    keys = ReadyKeys(workshop.root / "keys", workshop.name, workshop.keys).make(workshop.now())
    Workshop(workshop.root / "srv", keys=keys, time=workshop.time).create()


class ReadyKeys(KeyFiles):
    """Key files of keys that were computed before."""

    def __init__(self, directory: Path, name: str, ready: RepositoryKeys) -> None:
        super().__init__(directory, name)
        self._ready = ready

    def _generate(self, now: datetime) -> RepositoryKeys:
        del now
        return self._ready


COMMITS = {
    "publish": publish,
    "publish on top": publish_on_top,
    "commit": commit,
    "publish by processes": publish_by_processes,
    "lose workers": lose_workers,
}
"""What makes a revision."""
OPERATIONS = {**COMMITS, "create": create}


def _serve(keys: Path) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    found = pickle.loads(keys.read_bytes())  # noqa: S301 - the test's own
    check_private_keys_once()
    found.check()  # here, for all children
    for line in sys.stdin:
        operation, root, time, source, steps = json.loads(line)
        child = os.fork()
        if child == 0:
            workshop = Workshop(Path(root), keys=found, time=datetime.fromisoformat(time))
            OPERATIONS[operation](workshop, Path(source), partial(Countdown, root, steps))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        with suppress(ChildProcessError):  # workers that it left end, too
            while True:
                os.waitpid(-1, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
