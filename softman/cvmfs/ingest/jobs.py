"""What a publish has its workers do, and what becomes of the results; bounded in number."""

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, Final, TypeVar

from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.ingest.workers import Workers

_JOBS_PER_WORKER: Final = 3

_Result = TypeVar("_Result")


class Jobs:
    """The jobs in flight.

    Args:
        workers: who does them.
    """

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._running: dict[Future[Any], Callable[[Any], None]] = {}

    def start(self, then: Callable[[_Result], None], function: Callable[..., _Result], *arguments: Any) -> None:
        """Have a job done, once there is room for it.

        Args:
            then: is given the result, by a later call of this or of ``finish``.
            function: what to do; it and its arguments may go to another process.
            arguments: of the function.
        """
        while len(self._running) >= _JOBS_PER_WORKER * self._workers.count:
            self._settle()
        self._running[self._workers.submit(function, *arguments)] = then

    def finish(self) -> None:
        """Wait for all jobs, those included that results lead to."""
        while self._running:
            self._settle()

    def cancel(self) -> None:
        """Forget all jobs; those that were begun go on to their end."""
        for job in self._running:
            job.cancel()
        self._running.clear()

    def _settle(self) -> None:
        done, _ = wait(self._running, return_when=FIRST_COMPLETED)
        for job in done:
            then = self._running.pop(job)
            try:
                result = job.result()
            except BrokenExecutor as exc:
                raise CvmfsError("a worker process was ended from outside; was there too little memory?") from exc
            then(result)
