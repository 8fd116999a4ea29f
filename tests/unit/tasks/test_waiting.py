"""Routing keys of messages that wait."""

import pytest

from softman.tasks.catalogue import BULK, COMMIT, EVENTS, PUBLISHER, TASK_QUEUES
from softman.tasks.waiting import WAITING_ROOMS, waiting_room, without_wait


@pytest.mark.parametrize(
    ("seconds", "digits"), [(1, "0.0.0.1"), (5, "0.1.0.1"), (15, "1.1.1.1"), (16, "1.1.1.1"), (0, "0.0.0.1")]
)
def test_the_digits_are_the_seconds_between_one_and_the_longest(seconds: int, digits: str) -> None:
    room = waiting_room(COMMIT)
    assert room is not None
    assert room.routing_key(seconds, COMMIT) == f"{digits}.{COMMIT}"
    assert without_wait(f"{digits}.{COMMIT}") == COMMIT


def test_every_queue_of_tasks_has_one_room_and_rooms_lead_to_nobody_elses() -> None:
    assert sorted(queue for room in WAITING_ROOMS for queue in room.queues) == sorted(TASK_QUEUES)
    assert waiting_room(EVENTS) is None
    assert waiting_room(PUBLISHER) is waiting_room(BULK)
