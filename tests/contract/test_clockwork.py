"""What ``Clockwork`` promises, held by Redis and by the memory version alike."""

from collections.abc import Iterator

import pytest

from softman.adapters.clockwork import RedisClockwork
from softman.adapters.memory_clockwork import MemoryClockwork
from softman.adapters.ports import Clockwork
from softman.adapters.redis_client import redis_client
from softman.standalone.process import wait_until
from softman.standalone.stack import Stack


@pytest.fixture
def shared(stack: Stack) -> Iterator[Clockwork]:
    with redis_client(stack.redis_url) as client:
        yield RedisClockwork(client)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
def clockwork(request: pytest.FixtureRequest) -> Clockwork:
    if request.param == "memory":
        return MemoryClockwork()
    found: Clockwork = request.getfixturevalue("shared")
    return found


def test_a_turn_is_taken_once(clockwork: Clockwork, unique: str) -> None:
    assert clockwork.claim(unique, 100) == 0
    assert 0 < clockwork.claim(unique, 100) <= 100
    assert clockwork.claim(f"{unique}-other", 100) == 0


def test_the_next_turn_is_due_when_it_was_said(clockwork: Clockwork, unique: str) -> None:
    assert clockwork.claim(unique, 3.0) == 0
    assert 0 < clockwork.claim(unique, 100) <= 3.0
    wait_until(lambda: clockwork.claim(unique, 100) == 0, "the next turn is due", seconds=60)


def test_a_turn_that_came_to_nothing_is_due_again(clockwork: Clockwork, unique: str) -> None:
    assert clockwork.claim(unique, 100) == 0
    clockwork.give_back(unique)
    assert clockwork.claim(unique, 100) == 0


def test_signs_of_life(clockwork: Clockwork, unique: str) -> None:
    clockwork.alive(unique)
    clockwork.alive(f"{unique}-b")
    first = clockwork.beats()[unique]
    wait_until(lambda: clockwork.beats()[unique] > first, "time passes", seconds=60)
    clockwork.alive(unique)
    ages = clockwork.beats()
    assert ages[unique] < ages[f"{unique}-b"] < 60
