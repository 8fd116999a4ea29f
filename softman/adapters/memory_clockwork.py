"""What beats share, in memory, for tests."""

import threading
import time
from collections.abc import Callable


class MemoryClockwork:
    """``Clockwork``.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[str, float] = {}
        self._beats: dict[str, float] = {}
        self._lock = threading.Lock()

    def flush(self) -> None:
        """Forget everything, as Redis may at any time."""
        with self._lock:
            self._due.clear()
            self._beats.clear()

    def claim(self, entry: str, seconds: float) -> float:
        """See ``Clockwork.claim``."""
        with self._lock:
            now = self._clock()
            if (due := self._due.get(entry, now)) > now:
                return due - now
            self._due[entry] = now + seconds
            return 0.0

    def give_back(self, entry: str) -> None:
        """See ``Clockwork.give_back``."""
        with self._lock:
            self._due.pop(entry, None)

    def alive(self, name: str) -> None:
        """See ``Clockwork.alive``."""
        with self._lock:
            self._beats[name] = self._clock()

    def beats(self) -> dict[str, float]:
        """See ``Clockwork.beats``."""
        with self._lock:
            return {name: self._clock() - at for name, at in self._beats.items()}
