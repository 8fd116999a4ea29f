"""Beats that share one schedule, on turns in memory and with time that passes only when told to."""

from typing import Any

import pytest
from celery import Celery
from celery.beat import SchedulingError

from softman.adapters.memory_clockwork import MemoryClockwork
from softman.errors import ServiceUnavailable
from workers.beat import TICK_SECONDS, SharedScheduler


class Beat(SharedScheduler):
    """Notes what it sends; ``broken`` tells how often that fails."""

    def __init__(self, app: Celery[Any], clockwork: Any) -> None:
        self.sent: list[str] = []
        self.broken = 0
        super().__init__(app, clockwork=clockwork)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **kwargs: Any) -> Any:  # noqa: ARG002
        if self.broken:
            self.broken -= 1
            msg = "the broker is away"
            raise SchedulingError(msg)
        self.sent.append(entry.name)

    producer: Any = None

    def run(self, ticks: int = 10) -> None:
        for _ in range(ticks):
            assert self.tick() <= TICK_SECONDS


class Away:
    """Redis that does not answer."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            msg = f"Redis does not answer ({name})"
            raise ServiceUnavailable(msg)

        return fail


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def app() -> Celery[Any]:
    app: Celery[Any] = Celery("beats", set_as_current=False)
    app.conf.beat_schedule = {
        name: {"task": name, "schedule": float(seconds)} for name, seconds in (("often", 1000), ("seldom", 9000))
    }
    app.conf.result_expires = None
    return app


def test_after_a_start_everything_is_asked_for_once(app: Celery[Any], time: Time) -> None:
    beat = Beat(app, MemoryClockwork(time))
    beat.run()
    assert sorted(beat.sent) == ["often", "seldom"]


def test_two_beats_ask_once(app: Celery[Any], time: Time) -> None:
    clockwork = MemoryClockwork(time)
    beats = Beat(app, clockwork), Beat(app, clockwork)
    for beat in beats:
        beat.run()
    assert sorted(beats[0].sent) == ["often", "seldom"]
    assert beats[1].sent == []
    assert len(clockwork.beats()) == 1  # one process, one name


def test_a_beat_that_starts_later_asks_when_the_next_turn_is_due(app: Celery[Any], time: Time) -> None:
    clockwork = MemoryClockwork(time)
    Beat(app, clockwork).run()
    time.now = 400.0
    late = Beat(app, clockwork)
    late.run()
    assert late.sent == []
    due, left = late.is_due(late.schedule["often"])
    assert not due
    assert left == pytest.approx(600, abs=5)


def test_nobody_has_to_notice_that_a_beat_died(app: Celery[Any], time: Time) -> None:
    """A beat that tried in vain tries again when the turn of the dead one is over."""
    clockwork = MemoryClockwork(time)
    Beat(app, clockwork).run()
    time.now = 1000.0
    other = Beat(app, clockwork)
    other.run()
    assert other.sent == ["often"]


def test_without_redis_beat_goes_on_alone(app: Celery[Any]) -> None:
    beat = Beat(app, Away())
    beat.run()
    assert sorted(beat.sent) == ["often", "seldom"]


def test_a_flush_in_between_asks_for_nothing_before_it_is_due(app: Celery[Any], time: Time) -> None:
    clockwork = MemoryClockwork(time)
    beat = Beat(app, clockwork)
    beat.run()
    clockwork.flush()
    beat.run()
    assert len(beat.sent) == 2


def test_what_could_not_be_sent_is_due_again_for_anybody(app: Celery[Any], time: Time) -> None:
    clockwork = MemoryClockwork(time)
    beat, other = Beat(app, clockwork), Beat(app, clockwork)
    beat.broken = 1
    beat.tick()
    other.run()
    assert beat.sent == []
    assert sorted(other.sent) == ["often", "seldom"]
    clockwork.flush()
    beat.broken = 3
    beat.run()
    assert sorted(beat.sent) == ["often", "seldom"]
