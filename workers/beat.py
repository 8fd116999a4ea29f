"""Beat, any number of them with one schedule: each entry's turn is taken by one, and if Redis is away by each.

There is no leader. When an entry is due, every beat tries to take its turn; one gets it and sends the task, the others
learn when the next turn is due and try again then. So nobody has to notice that a beat has died: at the next turn it is
simply not among those that try. Redis holds the turns and nothing else:

- flushed: a task is asked for once more, at most, which does no harm, since all of them compare and ensure;
- away: every beat sends what is due (no turns can be taken), which does no harm either; beat stays alive;
- no memory of beat's own is kept: after a start, what is not known to have been asked for lately is asked for at once.

Each beat leaves a sign of life every ``TICK_SECONDS``. ``softman status`` and the events worker miss it.
"""

import os
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

from celery.beat import Scheduler, SchedulingError

from softman import wiring
from softman.adapters.ports import Clockwork
from softman.adapters.signs import give_sign
from softman.errors import TransientError
from softman.log import get_logger
from workers.base import settings

TICK_SECONDS = 2.0
"""Longest time between two looks at the schedule."""
_log = get_logger(__name__)


class SharedScheduler(Scheduler):
    """Celery's scheduler with turns that are shared.

    Args:
        args: Celery's.
        clockwork: where turns are taken; that of the settings when None.
        kwargs: Celery's.
    """

    def __init__(self, *args: Any, clockwork: Clockwork | None = None, **kwargs: Any) -> None:
        self._clockwork = clockwork or wiring.clockwork(settings())
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._away = False
        super().__init__(*args, **{**kwargs, "max_interval": TICK_SECONDS})

    def setup_schedule(self) -> None:
        """Take in the table; every entry counts as never asked for."""
        super().setup_schedule()
        for entry in self.schedule.values():
            entry.last_run_at = datetime.fromtimestamp(0, UTC)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Give a sign of life and send what is due."""
        try:
            self._clockwork.alive(self._name)
            self._away = False
        except TransientError as exc:
            if not self._away:
                _log.warning("beat works alone: turns cannot be shared", error=str(exc))
            self._away = True
        give_sign(settings().state_dir, "beat")
        return float(super().tick(*args, **kwargs))

    def is_due(self, entry: Any) -> tuple[bool, float]:
        """Whether the entry is due and its turn is ours."""
        due, again = entry.is_due()
        if not due:
            return due, again
        left = self._claim(entry)
        if left <= 0:
            return True, again
        # As if we had asked when the other did.
        entry.last_run_at = datetime.now(UTC) - timedelta(seconds=entry.schedule.seconds - left)
        return False, left

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """Send the task of an entry; if that fails its turn is given back, and due again."""
        _log.info("task is due", entry=entry.name)
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except SchedulingError as exc:
            _log.warning("task cannot be asked for; its turn is given back", entry=entry.name, error=str(exc))
            self.schedule[entry.name].last_run_at = datetime.fromtimestamp(0, UTC)
            self._heap = None  # made anew at the next tick, with this entry on top
            self._give_back(entry)

    def _claim(self, entry: Any) -> float:
        try:
            return self._clockwork.claim(entry.name, entry.schedule.seconds)
        except TransientError:
            return 0.0

    def _give_back(self, entry: Any) -> None:
        try:
            self._clockwork.give_back(entry.name)
        except TransientError:
            return
