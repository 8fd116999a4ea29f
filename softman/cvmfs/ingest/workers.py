"""Who makes the objects: processes where the staging area is a directory, else threads.

Only ``softman repo`` may use processes: inside Celery's workers there can be none (decision 24).
"""

import os
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from softman.cvmfs.ingest.processes import Outcome, Processes

if TYPE_CHECKING:
    from concurrent.futures import Future

_THREADS_PER_CORE: Final = 4
"""Threads wait for the network most of the time."""


class Workers:
    """Makes objects, on all cores. A context manager: leaving it ends the workers. One thread at a time may use it.

    Args:
        processes: use processes. They are forked, so this should be entered before the process has threads, else they
            are started afresh, which takes longer.
        count: how many; by default one a core, or four threads a core.
    """

    def __init__(self, *, processes: bool, count: int | None = None) -> None:
        cores = len(os.sched_getaffinity(0))
        self.count = count or (cores if processes else _THREADS_PER_CORE * cores)
        self._crew: Processes | _Threads = Processes(self.count) if processes else _Threads(self.count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._crew.close()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Have ``function`` called; gives the number of the job. With processes, it and its arguments are pickled."""
        return self._crew.submit(function, *arguments)

    def wait(self) -> list[tuple[int, Outcome]]:
        """The jobs that were done since the last call, by their numbers; waits for one. Some must have been submitted.

        Raises:
            CvmfsError: a worker process was ended from outside.
        """
        return self._crew.wait()


class _Threads:
    def __init__(self, count: int) -> None:
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - processes do without

        self._pool = ThreadPoolExecutor(count, thread_name_prefix="ingest")
        self._running: dict[Future[Any], int] = {}
        self._last = 0

    def submit(self, function: Callable[..., Any], *arguments: Any) -> int:
        self._last += 1
        self._running[self._pool.submit(function, *arguments)] = self._last
        return self._last

    def wait(self) -> list[tuple[int, Outcome]]:
        from concurrent.futures import FIRST_COMPLETED, wait  # noqa: PLC0415 - same

        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        return [(self._running.pop(job), _outcome(job)) for job in done]

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _outcome(job: "Future[Any]") -> Outcome:
    error = job.exception()
    return (True, job.result()) if error is None else (False, error)
