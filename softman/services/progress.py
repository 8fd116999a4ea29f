"""How far a sync is, recorded from time to time for those who watch."""

import time
from collections.abc import Callable
from dataclasses import replace

from softman.adapters.ports import Records
from softman.errors import SoftmanError
from softman.model import SyncProgress
from softman.names import RepositoryName
from softman.services.counting import Amount
from softman.services.publication import Tally

_EVERY = 2.0
"""Seconds between two records."""


class ProgressRecorder:
    """Records the progress of one sync. Nobody is told when the records are away, and the work goes on.

    Args:
        records: where.
        name: the repository.
        scope: what is synced, in words.
        compared: how many objects and entries were compared so far.
        left: given how many objects are done, what is left, where that is known.
        clock: Unix time.
    """

    def __init__(
        self,
        records: Records,
        name: RepositoryName,
        scope: str,
        *,
        compared: Callable[[], int],
        left: Callable[[int], Amount | None],
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._name = name
        self._compared = compared
        self._left = left
        self._clock = clock
        now = clock()
        self._before = SyncProgress(str(name), scope, started_at=now, at=now)
        self._next = time.monotonic() + _EVERY

    def watch(self, tally: Tally) -> None:
        """To be called often."""
        if time.monotonic() >= self._next:
            self._record(self._with(tally))

    def committed(self, tally: Tally, revision: int | None) -> None:
        """A slice is done with."""
        self._before = self._with(tally)
        if revision is not None:
            self._before = replace(self._before, revision=revision)
        if time.monotonic() >= self._next:
            self._record(self._before)

    def end(self) -> None:
        """The sync is over, or is cut."""
        try:
            self._records.set_progress(self._name, None)
        except SoftmanError:
            return

    def _with(self, tally: Tally) -> SyncProgress:
        objects = self._before.objects + tally.objects
        left = self._left(objects)
        return replace(
            self._before,
            at=self._clock(),
            compared=self._compared(),
            objects=objects,
            bytes_read=self._before.bytes_read + tally.bytes_read,
            remaining=None if left is None else left.objects,
            remaining_bytes=None if left is None else left.bytes,
        )

    def _record(self, progress: SyncProgress) -> None:
        self._next = time.monotonic() + _EVERY
        try:
            self._records.set_progress(self._name, progress)
        except SoftmanError:
            return
