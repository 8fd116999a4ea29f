"""A missing beat is said once in a while, and not while Redis is away."""

from typing import Any

import pytest
import structlog

from softman.adapters.memory_clockwork import MemoryClockwork
from softman.errors import ServiceUnavailable
from softman.events.watch import MISSED_SECONDS, REPEAT_SECONDS, BeatWatch


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def _said(watch: BeatWatch, time: Time, seconds: float) -> int:
    """How often it is said in so many seconds."""
    with structlog.testing.capture_logs() as logs:
        for _ in range(int(seconds)):
            time.now += 1
            watch.look()
    return len(logs)


def test_a_missing_beat_is_said_once_in_a_while(time: Time) -> None:
    clockwork = MemoryClockwork(time)
    watch = BeatWatch(clockwork, time)
    assert _said(watch, time, MISSED_SECONDS - 1) == 0
    clockwork.alive("b")
    assert _said(watch, time, MISSED_SECONDS - 1) == 0
    assert _said(watch, time, REPEAT_SECONDS) == 1
    assert _said(watch, time, REPEAT_SECONDS) == 1
    clockwork.alive("b")
    assert _said(watch, time, MISSED_SECONDS - 1) == 0


def test_without_redis_nothing_is_known(time: Time) -> None:
    class Away:
        def __getattr__(self, name: str) -> Any:
            raise ServiceUnavailable(name)

    assert _said(BeatWatch(Away(), time), time, 10 * MISSED_SECONDS) == 0
