"""What each user of the broker may do and what not, tried on the real one."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import amqp
import pytest
from kombu import Connection

from softman.errors import Forbidden
from softman.settings import load_settings
from softman.tasks.catalogue import (
    BULK,
    COMMIT,
    CONNECTOR,
    DEAD,
    EVENTS,
    PROVISION,
    PUBLIC_EXCHANGE,
    PUBLISHER,
    RESIGN,
    RESYNC,
    STRATUM0,
    TASK_QUEUES,
)
from softman.tasks.client import TaskSender, client_app
from softman.tasks.queues import CONTROL, REASON_HEADER, REPLIES, TASK_EVENTS
from softman.tasks.waiting import WAITING_ROOMS, waiting_room

pytestmark = pytest.mark.stack
ENTRANCE = {room.name: room.entrance for room in WAITING_ROOMS}
CHATTER = {REPLIES, TASK_EVENTS}
WRITES = {
    "dashboard": {PUBLIC_EXCHANGE},
    "client": {PUBLIC_EXCHANGE},
    "events": {PUBLISHER, DEAD, *CHATTER},
    "publisher": {PUBLISHER, BULK, CONNECTOR, COMMIT, DEAD, ENTRANCE["publisher"], *CHATTER},
    "connector": {BULK, DEAD, ENTRANCE["connector"], *CHATTER},
    "commit": {DEAD, ENTRANCE["commit"], *CHATTER},
    "stratum0": {STRATUM0, PUBLISHER, BULK, CONNECTOR, DEAD, ENTRANCE["stratum0"], *CHATTER},
    "beat": {STRATUM0, PUBLISHER, BULK, TASK_EVENTS},
    "flower": {CONTROL},
    "operations": {*TASK_QUEUES, EVENTS, PUBLIC_EXCHANGE, CONTROL},
    "rgw": {EVENTS},
}
READS = {
    "events": {EVENTS},
    "publisher": {PUBLISHER, BULK},
    "connector": {CONNECTOR},
    "commit": {COMMIT},
    "stratum0": {STRATUM0},
    "operations": {DEAD},
}
KEYS = {
    **{queue: queue for queue in TASK_QUEUES},
    PUBLIC_EXCHANGE: RESYNC.name,
    EVENTS: "softman",
    **{room.entrance: room.routing_key(1, room.queues[0]) for room in WAITING_ROOMS},
}
"""A routing key that is right for each exchange; of ``softman.dead`` each role has its own."""
DEAD_KEYS = {
    "events": EVENTS, "publisher": BULK, "connector": CONNECTOR, "commit": COMMIT, "stratum0": STRATUM0,
}  # fmt: skip
EXCHANGES = (*TASK_QUEUES, PUBLIC_EXCHANGE, EVENTS, DEAD, CONTROL, *CHATTER, *ENTRANCE.values(), "", "amq.topic")


@contextmanager
def _channel(bench: Any, role: str) -> Iterator[Any]:
    with Connection(bench.stack.broker_url(role), transport_options={"confirm_publish": True}) as connection:
        yield connection.channel()


def _published(bench: Any, role: str, exchange: str, key: str, headers: dict[str, Any] | None = None) -> bool:
    with _channel(bench, role) as channel:
        try:
            channel.basic_publish(amqp.Message("?", application_headers=headers or {}), exchange, key)
        except amqp.exceptions.AccessRefused:
            return False
    return True


@pytest.mark.parametrize("role", WRITES)
def test_a_role_writes_to_its_own_exchanges_only(bench: Any, role: str) -> None:
    keys = {**KEYS, DEAD: DEAD_KEYS.get(role, PUBLISHER)}
    if role == "operations":  # puts notifications back under the name of their queue
        keys[EVENTS] = EVENTS
    written = {exchange for exchange in EXCHANGES if _published(bench, role, exchange, keys.get(exchange, STRATUM0))}
    assert written == WRITES[role]


@pytest.mark.parametrize("role", WRITES)
def test_a_role_reads_its_own_queues_only_and_declares_nothing(bench: Any, role: str) -> None:
    read = set()
    for queue in (*TASK_QUEUES, EVENTS, DEAD, *(room.level(0) for room in WAITING_ROOMS)):
        with _channel(bench, role) as channel:
            try:
                channel.basic_get(queue, no_ack=False)
            except amqp.exceptions.AccessRefused:
                continue
            read.add(queue)
    assert read == READS.get(role, set())
    attempts = {
        "queue_declare": {"queue": "mine"},
        "queue_delete": {"queue": PUBLISHER},
        "exchange_declare": {"exchange": "mine", "type": "topic"},
        "exchange_delete": {"exchange": CONTROL},
        "queue_purge": {"queue": COMMIT if role != "commit" else STRATUM0},
        "exchange_bind": {"source": PUBLISHER, "destination": STRATUM0, "routing_key": "#"},
    }
    for method, arguments in attempts.items():
        with _channel(bench, role) as channel, pytest.raises(amqp.exceptions.AccessRefused):
            getattr(channel, method)(**arguments)


@pytest.mark.parametrize(
    ("role", "exchange", "key"),
    [
        ("publisher", DEAD, STRATUM0),  # an administrator would put the letter back there
        ("events", DEAD, PROVISION.name),
        ("publisher", COMMIT, STRATUM0),
        ("publisher", ENTRANCE["publisher"], f"{'0.' * 16}1.{STRATUM0}"),
        ("client", PUBLIC_EXCHANGE, RESIGN.name),
        ("rgw", EVENTS, STRATUM0),
    ],
)
def test_routing_keys_tell_the_truth(bench: Any, role: str, exchange: str, key: str) -> None:
    assert not _published(bench, role, exchange, key)


@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_a_waiting_room_leads_to_no_other_pool_whatever_the_headers_say(bench: Any, header: str) -> None:
    """RabbitMQ 3.10 routes by these headers, too, and checks no right to their keys."""
    room = waiting_room(PUBLISHER)
    assert room is not None
    baits = [room.routing_key(1, queue) for queue in (*TASK_QUEUES, "softman.provision")]
    assert _published(bench, "publisher", room.entrance, room.routing_key(1, PUBLISHER), {header: baits})
    bench.wait(lambda: bench.depth(PUBLISHER) and bench.depth(BULK), "the message is in the room's own queues")
    assert {queue for queue in (*TASK_QUEUES, EVENTS, DEAD) if bench.depth(queue)} == {PUBLISHER, BULK}


@pytest.mark.parametrize("forged", [{}, {"chain": [{"task": "softman.resign", "args": [], "options": {}}]}])
def test_whoever_may_ask_for_one_task_cannot_ask_for_another_of_its_queue(bench: Any, forged: dict[str, Any]) -> None:
    worker = bench.worker("workers.stratum0", "-c1", SOFTMAN_BROKER_URL=bench.stack.broker_url("stratum0"))
    headers = {"task": "softman.create_repository", "id": "x", "lang": "py"}
    body = json.dumps([["alice.example.org"], {}, forged])
    with _channel(bench, "client") as channel:
        message = amqp.Message(
            body, application_headers=headers, content_type="application/json", content_encoding="utf-8"
        )
        channel.basic_publish(message, PUBLIC_EXCHANGE, PROVISION.name)
    bench.wait(lambda: bench.depth(DEAD) == 1, "it is refused")
    (letter,) = bench.take(DEAD)
    assert "cannot be asked for through the public exchange" in letter.headers[REASON_HEADER]
    assert letter.delivery_info["routing_key"] == PROVISION.name
    assert worker.alive()


def test_who_lacks_a_right_is_told_so(bench: Any) -> None:
    app = client_app(load_settings(broker_url=bench.stack.broker_url("client"), redis_url=bench.stack.redis_url))
    sender = TaskSender(app)
    sender.send(RESYNC, "alice.example.org")
    with pytest.raises(Forbidden, match=r"the message broker refuses: .*stratum0"):
        sender.send(RESIGN)
    with pytest.raises(Forbidden, match="the message broker refuses"):
        sender.send(RESYNC, "alice.example.org", countdown=1)
    app.close()
    assert len(bench.take(BULK)) == 1


def test_retries_wait_with_the_rights_of_their_role(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:publisher", "-c1", SOFTMAN_BROKER_URL=bench.stack.broker_url("publisher"))
    assert bench.client.send_task("probe.second", args=[unique], queue=PUBLISHER).get(timeout=120) == "run 3"
