"""Missing beat: who waits for events anyway looks whether anybody still asks for what happens by the clock."""

import time
from collections.abc import Callable

from softman.adapters.ports import Clockwork
from softman.errors import SoftmanError
from softman.log import get_logger

LOOK_SECONDS = 15.0
MISSED_SECONDS = 60.0
"""So long after the last sign of life, or after we began to look, beat is missed."""
REPEAT_SECONDS = 600.0
"""How often that is said."""
_log = get_logger(__name__)


class BeatWatch:
    """Looks for signs of life of any beat, and says so when there are none.

    Args:
        clockwork: where they are.
        clock: seconds that never go back.
    """

    def __init__(self, clockwork: Clockwork, clock: Callable[[], float] = time.monotonic) -> None:
        self._clockwork = clockwork
        self._clock = clock
        self._seen = self._looked = clock()
        self._said: float | None = None

    def look(self) -> None:
        """Say so when beat is missed. Asks Redis every ``LOOK_SECONDS`` only; when that is away nothing is known."""
        now = self._clock()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            try:
                self._seen = max(self._seen, now - min(self._clockwork.beats().values(), default=float("inf")))
            except SoftmanError:
                self._seen = now
        missed = now - self._seen > MISSED_SECONDS
        if missed and (self._said is None or now - self._said >= REPEAT_SECONDS):
            self._said = now
            _log.error("no beat runs: nothing is reconciled, drained or signed anew by itself")
        if not missed:
            self._said = None
