"""How long the door to stratum 0 waits: for a worker to begin, and then for its answer."""

from types import SimpleNamespace
from typing import Any

import pytest
from celery import states

from softman.adapters.circuit import FIRST_PAUSE, Circuit
from softman.errors import Outage, ServiceUnavailable
from softman.model import Base, CommitAnswer, CommitRequest
from softman.tasks import client
from softman.tasks.client import CeleryCommitDoor, TaskSender

REQUEST = CommitRequest("alice.example.org", "one", Base(7, "a" * 40), "b" * 40, "key", "signature")
DONE = {"committed": True, "revision": 8, "root_hash": "b" * 40, "reason": ""}
TIMEOUT, PATIENCE = 100.0, 10.0


class Pool:
    """Stratum 0 in a time of its own: begins and answers when it is told to."""

    connection_errors = (ConnectionError,)

    def __init__(self) -> None:
        self.now = 0.0
        self.begins, self.answers = 0.0, 1.0
        self.sent = 0

    def get_task_meta(self, _task_id: str, *, cache: bool) -> dict[str, Any]:
        assert not cache
        if self.now >= self.answers:
            return {"status": states.SUCCESS, "result": DONE}
        return {"status": states.STARTED if self.now >= self.begins else states.PENDING, "result": None}

    def send(self, *_args: object, **_options: object) -> str:
        self.sent += 1
        self.begins, self.answers = self.now + self.begins, self.now + self.answers
        return "id"

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Pool:
    pool = Pool()
    monkeypatch.setattr(client, "time", SimpleNamespace(monotonic=lambda: pool.now, sleep=pool.sleep))
    monkeypatch.setattr(TaskSender, "send", lambda _self, *args, **options: pool.send(*args, **options))
    return pool


@pytest.fixture
def door(pool: Pool) -> CeleryCommitDoor:
    circuit = Circuit("the pool", lambda: pool.now, most=1)
    app: Any = SimpleNamespace(backend=pool)
    return CeleryCommitDoor(app, TIMEOUT, patience=PATIENCE, circuit=circuit)


def test_a_commit_that_nobody_begins_is_given_up_soon(pool: Pool, door: CeleryCommitDoor) -> None:
    pool.begins = pool.answers = TIMEOUT
    with pytest.raises(Outage, match="within 10 s: no worker has begun"):
        door.commit(REQUEST)
    assert PATIENCE <= pool.now < PATIENCE + 1
    with pytest.raises(Outage, match="it is asked again in"):
        door.commit(REQUEST)
    assert pool.sent == 1
    pool.now += FIRST_PAUSE
    pool.begins, pool.answers = 0.0, 1.0
    assert door.commit(REQUEST) == CommitAnswer(committed=True, current=Base(8, "b" * 40))


def test_one_that_was_begun_is_waited_for(pool: Pool, door: CeleryCommitDoor) -> None:
    pool.begins, pool.answers = PATIENCE - 1, TIMEOUT - 1
    assert door.commit(REQUEST).committed
    assert pool.now >= TIMEOUT - 1


def test_one_that_takes_too_long_says_nothing_of_the_others(pool: Pool, door: CeleryCommitDoor) -> None:
    pool.answers = 2 * TIMEOUT
    with pytest.raises(ServiceUnavailable, match="no answer from stratum 0 within 100 s") as caught:
        door.commit(REQUEST)
    assert not isinstance(caught.value, Outage)
    pool.begins, pool.answers = 0.0, 1.0
    assert door.commit(REQUEST).committed
