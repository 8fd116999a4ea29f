"""What a publish has its workers do, and what becomes of the results; bounded in number."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

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
        self._running: dict[int, Callable[[Any], None]] = {}

    def start(self, then: Callable[[_Result], None], function: Callable[..., _Result], *arguments: Any) -> None:
        """Have a job done, once there is room for it.

        Args:
            then: is given the result, by a later call of this or of ``finish``.
            function: what to do; it and its arguments may go to another process.
            arguments: of the function.

        Raises:
            CvmfsError: a worker process was ended from outside.
        """
        while len(self._running) >= _JOBS_PER_WORKER * self._workers.count:
            self._settle()
        self._running[self._workers.submit(function, *arguments)] = then

    def finish(self) -> None:
        """Wait for all jobs, those included that results lead to. Errors are those of ``start``."""
        while self._running:
            self._settle()

    def cancel(self) -> None:
        """Forget all jobs; those that were begun go on to their end."""
        self._running.clear()

    def _settle(self) -> None:
        for number, (is_done, result) in self._workers.wait():
            then = self._running.pop(number, None)
            if then is None:  # of a publish that was given up
                continue
            if not is_done:
                raise result
            then(result)
