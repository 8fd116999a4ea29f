"""Who makes the objects: processes where the staging area is a directory, else threads.

Only ``softman repo`` may use processes: inside Celery's workers there can be none (decision 24).
"""

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Final, Self, TypeVar

_PR_SET_PDEATHSIG: Final = 1
_THREADS_PER_CORE: Final = 4
"""Threads wait for the network most of the time."""
_Result = TypeVar("_Result")


class Workers:
    """Makes objects, on all cores. A context manager: leaving it ends the workers.

    Args:
        processes: use processes. They are forked, so this must be entered before the process has threads, else they are
            started afresh, which takes longer.
        count: how many; by default one a core, or four threads a core.
    """

    def __init__(self, *, processes: bool, count: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0))
        self.count = count or (cores if processes else _THREADS_PER_CORE * cores)
        self._pool: ProcessPoolExecutor | ThreadPoolExecutor
        if processes:
            method = "fork" if threading.active_count() == 1 else "forkserver"
            self._pool = ProcessPoolExecutor(self.count, mp_context=get_context(method), initializer=_begin)
            self._pool.submit(os.getpid)  # forks all of them now, while there is little to copy
        else:
            self._pool = ThreadPoolExecutor(self.count, thread_name_prefix="ingest")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def submit(self, function: Callable[..., _Result], *arguments: Any) -> "Future[_Result]":
        """Have ``function`` called; with processes, it and its arguments are pickled."""
        return self._pool.submit(function, *arguments)


def _begin() -> None:
    """What a worker process does first: leave Ctrl-C to its parent, and end when the parent does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
