"""Whether this worker was asked to stop: a flag that its child processes see.

In a warm shutdown Celery waits for running tasks, and tells the processes that run them nothing. A turn of a publisher
may take minutes, which is longer than any deployment waits before it kills. So turns look at this flag: a slice that
ends within seconds is committed, a longer one is handed back, and the task is sent again to whoever is left.
"""

import mmap
from typing import Any

from celery import signals

from softman.services.keeper import LeaseKeeper


class SharedFlag:
    """Set once, for this process and those it forked before or forks later."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)  # anonymous and shared

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._memory[0] != 0

    def set(self) -> None:
        """Set it."""
        self._memory[0] = 1


STOPPING = SharedFlag()
LeaseKeeper.stopping = STOPPING


@signals.worker_shutting_down.connect(dispatch_uid="softman.stopping")
def _stop(**_: Any) -> None:
    STOPPING.set()
