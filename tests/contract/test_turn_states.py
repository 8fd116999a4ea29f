"""What ``TurnStates`` promises, held by Redis and by the memory version alike."""

from collections.abc import Iterator

import pytest

from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.ports import TurnStates
from softman.adapters.redis_client import redis_client
from softman.adapters.turn_states import MAX_STRANGERS, RedisTurnStates
from softman.model import Failure, Stranger
from softman.names import RepositoryName
from softman.standalone.process import wait_until
from softman.standalone.stack import Stack


@pytest.fixture
def shared(stack: Stack) -> Iterator[RedisTurnStates]:
    with redis_client(stack.redis_url) as client:
        client.delete("softman:strangers")
        yield RedisTurnStates(client, lease_seconds=60)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
def states(request: pytest.FixtureRequest) -> TurnStates:
    if request.param == "memory":
        return MemoryTurnStates()
    found: TurnStates = request.getfixturevalue("shared")
    return found


def test_failures_are_kept_until_they_are_over(states: TurnStates, unique: str) -> None:
    name, other = RepositoryName(unique, "example.org"), RepositoryName(f"{unique}-b", "example.org")
    failure = Failure("over its \u00fc quota", "candidate-refused", 1.0, 2.0, 3, 4.5)
    states.set_failure(name, failure)
    assert states.failure(name) == failure
    assert states.failure(other) is None
    states.set_failure(name, None)
    assert states.failure(name) is None


def test_strangers_are_kept_once_each_and_bounded(states: TurnStates) -> None:
    first = Stranger("B.\n\u00fc", "no label", 1.0)
    states.add_stranger(first)
    for number in range(MAX_STRANGERS + 5):
        states.add_stranger(Stranger(f"a{number:04}", "why", 2.0))
    again = Stranger("B.\n\u00fc", "no label", 3.0)
    states.add_stranger(again)
    found = states.strangers()
    assert len(found) == MAX_STRANGERS
    assert found[0] == again
    assert found[1:] == [Stranger(f"a{number:04}", "why", 2.0) for number in range(MAX_STRANGERS - 1)]


def test_an_owner_has_so_many_places(states: TurnStates, unique: str) -> None:
    first, second = states.enter(unique, 2), states.enter(unique, 2)
    assert first is not None
    assert second is not None
    assert states.enter(unique, 2) is None
    assert states.enter(f"{unique}-b", 2) is not None
    assert first.renew()
    states.leave(unique, second)
    assert states.enter(unique, 2) is not None


@pytest.mark.stack
def test_the_place_of_the_dead_is_free_after_a_while(stack: Stack, unique: str) -> None:
    with redis_client(stack.redis_url) as client:
        states = RedisTurnStates(client, lease_seconds=0.5)
        place = states.enter(unique, 1)
        assert place is not None
        wait_until(lambda: states.enter(unique, 1) is not None, "the place is free", seconds=60)
        assert not place.renew()
