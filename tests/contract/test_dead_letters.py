"""What ``DeadLetters`` promises, held by RabbitMQ and by the memory version alike."""

import json
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
from celery import Celery
from kombu import Connection

from softman.adapters.memory_letters import MemoryDeadLetters
from softman.adapters.ports import DeadLetters
from softman.errors import InvalidInput
from softman.model import DeadLetter, Fate
from softman.settings import load_settings
from softman.standalone.process import wait_until
from softman.standalone.stack import Stack
from softman.tasks.catalogue import DEAD, EVENTS, PUBLISH_CHANGES, PUBLISHER
from softman.tasks.client import bury, client_app
from softman.tasks.deadletters import BrokerDeadLetters
from softman.tasks.queues import declare_all

NOTIFICATION = b"not \xff JSON"


class Office(Protocol):
    """A place with letters, and how they come there."""

    letters: DeadLetters

    def kill_task(self, name: str, reason: str) -> None: ...
    def kill_event(self, body: bytes, reason: str) -> None: ...
    def kill_stranger(self) -> None: ...
    def kill_again(self, reason: str) -> None: ...
    def returned(self) -> list[tuple[str, bytes]]: ...


class MemoryOffice:
    def __init__(self) -> None:
        self.memory = MemoryDeadLetters()
        self.letters: DeadLetters = self.memory

    def _bury(self, queue: str, body: bytes, reason: str, **fields: str) -> None:
        task = {"task": "", "task_id": "", "arguments": "", **fields}
        self.memory.bury(DeadLetter(f"{hash(body):012x}", queue, deaths=(), body=body, **task), reason, 1.0)

    def kill_task(self, name: str, reason: str) -> None:
        body = json.dumps([[name], {}, None]).encode()
        arguments = json.dumps([name])
        self._bury(PUBLISHER, body, reason, task=PUBLISH_CHANGES.name, task_id=f"id of {name}", arguments=arguments)

    def kill_event(self, body: bytes, reason: str) -> None:
        self._bury(EVENTS, body, reason)

    def kill_stranger(self) -> None:
        self._bury("", b"?", "nobody knows")

    def kill_again(self, reason: str) -> None:
        self.memory.bury(self.memory.returned.pop(), reason, 2.0)

    def returned(self) -> list[tuple[str, bytes]]:
        return [(letter.queue, letter.body) for letter in self.memory.returned]


class BrokerOffice:
    def __init__(self, app: Celery[Any], connection: Connection) -> None:
        self._app = app
        self._channel: Any = connection.default_channel
        self.letters: DeadLetters = BrokerDeadLetters(app)

    def kill_task(self, name: str, reason: str) -> None:
        self._app.send_task(PUBLISH_CHANGES.name, args=(name,), task_id=f"id of {name}", ignore_result=True, retries=7)
        message = self._take(PUBLISHER)
        properties = {name: message.properties.get(name) for name in ("content_type", "content_encoding")}
        headers = message.headers
        bury(
            self._app, message.body, reason=reason, routing_key=PUBLISHER, properties={**properties, "headers": headers}
        )
        self._channel.basic_ack(message.delivery_tag)

    def kill_event(self, body: bytes, reason: str) -> None:
        bury(self._app, body, reason=reason, routing_key=EVENTS)

    def kill_stranger(self) -> None:
        bury(self._app, b"?", reason="nobody knows", routing_key="elsewhere")

    def kill_again(self, reason: str) -> None:
        message = self._take(PUBLISHER)
        if reason == "a worker refused it":
            self._channel.basic_reject(message.delivery_tag, requeue=False)
            return
        bury(self._app, message.body, reason=reason, routing_key=PUBLISHER, properties={"headers": message.headers})
        self._channel.basic_ack(message.delivery_tag)

    def returned(self) -> list[tuple[str, bytes]]:
        found = []
        for queue in (PUBLISHER, EVENTS):
            while (message := self._channel.basic_get(queue)) is not None:
                body = message.body
                found.append((queue, body.encode("utf-8", "surrogateescape") if isinstance(body, str) else body))
        return found

    def _take(self, queue: str) -> Any:
        found: list[Any] = []

        def arrived() -> bool:
            found.extend(filter(None, [self._channel.basic_get(queue)]))
            return bool(found)

        wait_until(arrived, f"there is a message in {queue}", seconds=180)
        return found[0]


@pytest.fixture
def broker_office(stack: Stack) -> Iterator[Office]:
    app = client_app(load_settings(broker_url=stack.amqp_url, redis_url=stack.redis_url))
    with app.connection_for_write() as connection:
        declare_all(connection)
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        for queue in (PUBLISHER, EVENTS, DEAD):
            channel.queue_purge(queue)
        yield BrokerOffice(app, connection)
    app.close()


@pytest.fixture(params=["memory", pytest.param("broker", marks=pytest.mark.stack)])
def office(request: pytest.FixtureRequest) -> Office:
    if request.param == "memory":
        return MemoryOffice()
    found: Office = request.getfixturevalue("broker_office")
    return found


def _all(letters: DeadLetters) -> list[DeadLetter]:
    found: list[DeadLetter] = []

    def keep(letter: DeadLetter) -> Fate:
        found.append(letter)
        return Fate.KEEP

    letters.visit(keep)
    return found


def _wait(letters: DeadLetters, count: int) -> None:
    """Quorum queues tell their length a moment late."""
    wait_until(lambda: letters.count() == count, f"there are {count} letters", seconds=180)


def test_letters_are_shown_oldest_first_and_stay(office: Office) -> None:
    office.kill_task("alice.example.org", "gave up")
    office.kill_event(NOTIFICATION, "is no JSON")
    office.kill_stranger()
    _wait(office.letters, 3)
    task, event, stranger = first = _all(office.letters)
    assert (task.queue, task.task, task.task_id) == (PUBLISHER, PUBLISH_CHANGES.name, "id of alice.example.org")
    assert (task.arguments, task.reason, len(task.deaths)) == ('["alice.example.org"]', "gave up", 1)
    assert (event.queue, event.task, event.body, event.reason) == (EVENTS, "", NOTIFICATION, "is no JSON")
    assert (stranger.queue, stranger.body) == ("", b"?")
    assert all(letter.at > 0 for letter in first)
    _wait(office.letters, 3)
    assert _all(office.letters) == first


def test_letters_go_back_to_their_queues_or_away(office: Office) -> None:
    office.kill_task("alice.example.org", "gave up")
    office.kill_task("bob.example.org", "gave up")
    office.kill_event(NOTIFICATION, "is no JSON")
    _wait(office.letters, 3)
    office.letters.visit(lambda letter: Fate.DISCARD if "bob" in letter.arguments else Fate.REQUEUE)
    assert office.letters.count() == 0
    task, event = office.returned()
    assert (task[0], json.loads(task[1])[0]) == (PUBLISHER, ["alice.example.org"])
    assert event == (EVENTS, NOTIFICATION)


def test_a_letter_remembers_every_death(office: Office) -> None:
    office.kill_task("alice.example.org", "gave up")
    _wait(office.letters, 1)
    before = _all(office.letters)[0]
    for reason in ("gave up again", "a worker refused it"):
        office.letters.visit(lambda _letter: Fate.REQUEUE)
        office.kill_again(reason)
        _wait(office.letters, 1)
    (letter,) = _all(office.letters)
    assert [death.reason for death in letter.deaths] == ["a worker refused it", "gave up again", "gave up"]
    assert {death.queue for death in letter.deaths} == {PUBLISHER}
    assert (letter.id, letter.task, letter.arguments) == (before.id, before.task, before.arguments)


def test_whoever_stops_half_way_loses_nothing(office: Office) -> None:
    for number in range(3):
        office.kill_task(f"t{number}.example.org", "gave up")
    _wait(office.letters, 3)
    seen: list[str] = []

    def stop_at_the_third(letter: DeadLetter) -> Fate:
        seen.append(letter.arguments)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return Fate.KEEP if len(seen) == 1 else Fate.DISCARD

    with pytest.raises(KeyboardInterrupt):
        office.letters.visit(stop_at_the_third)
    _wait(office.letters, 2)
    assert sorted(letter.arguments for letter in _all(office.letters)) == sorted([seen[0], seen[2]])


def test_a_letter_of_unknown_origin_cannot_go_back(office: Office) -> None:
    office.kill_stranger()
    _wait(office.letters, 1)
    with pytest.raises(InvalidInput, match="not known"):
        office.letters.visit(lambda _letter: Fate.REQUEUE)
    _wait(office.letters, 1)
