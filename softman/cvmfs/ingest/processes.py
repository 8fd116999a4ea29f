"""Worker processes that cost little to begin: forked, with a pipe to and from each, and no threads to serve them.

What the library's process pool would take to be imported, and its two threads beside the one that publishes, is more
than a small publish has.
"""

import ctypes
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from softman.cvmfs.errors import CvmfsError

_PR_SET_PDEATHSIG: Final = 1
_LENGTH: Final = 8
"""Bytes before each answer that say how long it is."""
_PIECE: Final = 1024 * 1024
_AFRESH = "import sys; sys.path[:] = sys.argv[1:]; from softman.cvmfs.ingest.processes import serve_streams; "
_AFRESH += "serve_streams()"

Outcome = tuple[bool, Any]
"""Whether a job came to its end, and its result or else the error."""


@dataclass(slots=True, eq=False)
class _Process:
    """One worker process, seen from outside."""

    requests: int
    answers: int
    wait: Callable[[], object]
    unsent: deque[memoryview] = field(default_factory=deque)
    received: bytearray = field(default_factory=bytearray)
    numbers: deque[int] = field(default_factory=deque)
    """Of the jobs it has, in order."""


class Processes:
    """Worker processes. One thread at a time may use them.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        self._processes: list[_Process] = []
        self._done: list[tuple[int, Outcome]] = []
        self._last = 0
        begin = self._fork if threading.active_count() == 1 else self._start_afresh
        try:
            for _ in range(count):
                self._processes.append(begin())
        except BaseException:
            self.close()
            raise

    def submit(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Have ``function`` called by whoever has the least to do; gives the number of the job."""
        process = min(self._processes, key=lambda one: len(one.numbers))
        self._last += 1
        process.numbers.append(self._last)
        process.unsent.append(memoryview(pickle.dumps((function, arguments), pickle.HIGHEST_PROTOCOL)))
        self._pump(0)
        return self._last

    def wait(self) -> list[tuple[int, Outcome]]:
        """The jobs that were done since the last call, waiting for one.

        Raises:
            CvmfsError: a process was ended from outside.
        """
        while not self._done:
            self._pump(None)
        done, self._done = self._done, []
        return done

    def close(self) -> None:
        """End all; what they have not begun is not done."""
        for process in self._processes:
            os.close(process.requests)
            os.close(process.answers)
        for process in self._processes:
            process.wait()
        self._processes.clear()

    def _pump(self, timeout: float | None) -> None:
        """Send and receive what can be without waiting for more than one process, or for longer than ``timeout``."""
        poll = select.poll()
        for process in self._processes:
            poll.register(process.answers, select.POLLIN)
            if process.unsent:
                poll.register(process.requests, select.POLLOUT)
        ready = {descriptor for descriptor, _ in poll.poll(timeout)}
        for process in self._processes:
            try:
                if process.requests in ready:
                    _send(process)
                if process.answers in ready:
                    self._receive(process)
            except (BrokenPipeError, EOFError) as exc:
                raise CvmfsError("a worker process was ended from outside; was there too little memory?") from exc

    def _receive(self, process: _Process) -> None:
        data = os.read(process.answers, _PIECE)
        if not data:
            raise EOFError
        received = process.received
        received += data
        while len(received) >= _LENGTH:
            end = _LENGTH + int.from_bytes(received[:_LENGTH], "little")
            if len(received) < end:
                return
            outcome = pickle.loads(memoryview(received)[_LENGTH:end].toreadonly())  # noqa: S301 - of our own process
            self._done.append((process.numbers.popleft(), outcome))
            process.received = received = received[end:]

    def _fork(self) -> _Process:
        requests, answers = os.pipe(), os.pipe()
        pid = os.fork()
        if not pid:
            try:
                for other in self._processes:
                    os.close(other.requests)
                    os.close(other.answers)
                os.close(requests[1])
                os.close(answers[0])
                _serve(requests[0], answers[1])
            finally:
                os._exit(0)  # without what the other one does at its end
        os.close(requests[0])
        os.close(answers[1])
        os.set_blocking(requests[1], False)
        return _Process(requests[1], answers[0], lambda: os.waitpid(pid, 0))

    def _start_afresh(self) -> _Process:
        """Where there are threads, a fork might find their locks held for ever."""
        process = subprocess.Popen(
            [sys.executable, "-c", _AFRESH, *sys.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdin is not None  # noqa: S101 - as asked for
        assert process.stdout is not None  # noqa: S101 - same
        requests, answers = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
        process.stdin.close()
        process.stdout.close()
        os.set_blocking(requests, False)
        return _Process(requests, answers, process.wait)


def serve_streams() -> None:
    """Be a worker process: jobs come by standard input, answers go to standard output."""
    answers = os.dup(1)
    os.dup2(2, 1)
    _serve(0, answers)


def _send(process: _Process) -> None:
    while process.unsent:
        try:
            sent = os.write(process.requests, process.unsent[0])
        except BlockingIOError:
            return
        process.unsent[0] = process.unsent[0][sent:]
        if not process.unsent[0]:
            process.unsent.popleft()


def _serve(requests: int, answers: int) -> None:
    """Do jobs until there are no more. Ctrl-C is left to the parent; when that ends, this ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    with open(requests, "rb") as jobs, open(answers, "wb") as out:
        while True:
            try:
                function, arguments = pickle.load(jobs)  # noqa: S301 - of our own process
            except EOFError:
                return
            answer = _answer(function, arguments)
            try:
                out.write(len(answer).to_bytes(_LENGTH, "little"))
                out.write(answer)
                out.flush()
            except BrokenPipeError:  # nobody wants to know any more
                os._exit(0)


def _answer(function: Callable[..., Any], arguments: tuple[Any, ...]) -> bytes:
    try:
        return pickle.dumps((True, function(*arguments)), pickle.HIGHEST_PROTOCOL)
    except Exception as exc:  # noqa: BLE001 - raised again where the job came from
        return pickle.dumps((False, exc), pickle.HIGHEST_PROTOCOL)
