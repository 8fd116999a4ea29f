"""Queues and exchanges, declared once, by us, and by nobody else (decision 6).

Every queue is a durable quorum queue with a topic exchange of its own name, so rights to write are given per queue. A
message that is refused, or was delivered too often, moves to ``softman.dead`` with at-least-once dead-lettering.
The queues of public tasks are bound to the public exchange as well, by task name.

Celery is given the same queues with ``no_declare``: publishing and consuming never declares anything, so a client
needs no right to configure, and a misspelt queue is an error instead of a new classic queue.

Retries wait in the broker (``softman.tasks.waiting``). Message TTL and at-least-once dead-lettering of quorum queues
need RabbitMQ 3.10.

Only an administrator declares (``softman broker setup``): nobody else has the right to configure more than a queue for
Celery's remote control. The exchanges of that are here, too.
"""

import time
from typing import Any

import amqp.exceptions
from kombu import Connection, Exchange, Queue

from softman.errors import Forbidden
from softman.tasks.catalogue import DEAD, EVENTS, PUBLIC_EXCHANGE, TASK_QUEUES, TASKS
from softman.tasks.waiting import WAITING_ROOMS, WaitingRoom

DELIVERY_LIMIT = 20
"""A message that came back so often (lost worker, lost connection) is dead-lettered by the broker."""

CONTROL, REPLIES, TASK_EVENTS = "celery.pidbox", "reply.celery.pidbox", "celeryev"
"""Celery's exchanges: commands to workers, their answers, and what they tell of their tasks (Flower)."""
_CHATTER = {CONTROL: "fanout", REPLIES: "direct", TASK_EVENTS: "topic"}

MAX_DEAD = 100_000
"""Messages kept in ``softman.dead``; the oldest go first."""

REASON_HEADER = "x-softman-reason"
"""The header of a dead letter that says in words why it is there."""
BURIED_HEADER = "x-softman-buried"
"""Since when, in whole seconds of Unix time."""
HISTORY_HEADER = "x-softman-history"
"""What happened to a message that was put back: JSON, a list of ``[at, queue, reason]``, the last one first."""
MAX_REASON = 1000
"""Characters of a reason."""

_QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}
_WORK: dict[str, Any] = {
    **_QUORUM,
    "x-delivery-limit": DELIVERY_LIMIT,
    "x-dead-letter-exchange": DEAD,
    # At least once: a letter leaves its queue only when the dead-letter queue has it. Needs reject-publish.
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}


def dead_headers(reason: str) -> dict[str, str | int]:
    """The headers that a message gets on its way to ``softman.dead``."""
    return {REASON_HEADER: reason[:MAX_REASON], BURIED_HEADER: int(time.time())}


def topic(name: str) -> Exchange:
    """The durable topic exchange of that name."""
    return Exchange(name, type="topic", durable=True)


def _queue(name: str, routing_key: str, arguments: dict[str, Any], *, no_declare: bool) -> Queue:
    return Queue(
        name,
        exchange=topic(name),
        routing_key=routing_key,
        durable=True,
        queue_arguments=dict(arguments),
        no_declare=no_declare,
    )


def task_queue(name: str, *, no_declare: bool = True) -> Queue:
    """A queue of the catalogue with its own exchange; the routing key is its name."""
    return _queue(name, name, _WORK, no_declare=no_declare)


def task_queues() -> list[Queue]:
    """All queues that Celery workers consume, for ``Celery.conf.task_queues``."""
    return [task_queue(name) for name in TASK_QUEUES]


def events_queue(*, no_declare: bool = True) -> Queue:
    """The queue of raw S3 notifications. The object store publishes with the name of its topic as routing key."""
    return Queue(
        EVENTS,
        exchange=topic(EVENTS),
        routing_key="#",
        durable=True,
        queue_arguments=dict(_WORK),
        no_declare=no_declare,
    )


def dead_queue(*, no_declare: bool = True) -> Queue:
    """The dead letters of all queues, with their first routing key."""
    arguments = {**_QUORUM, "x-max-length": MAX_DEAD, "x-overflow": "drop-head"}
    return _queue(DEAD, "#", arguments, no_declare=no_declare)


def declare_all(connection: Connection) -> None:
    """Make sure that every exchange, queue and binding exists. Safe to repeat and to run from many processes.

    Args:
        connection: a connection with the right to configure; the channel opened on it is closed again.

    Raises:
        Forbidden: the broker does not let this user configure, or something exists with other properties.
    """
    try:
        with connection.channel() as channel:
            _declare(channel)
    except (amqp.exceptions.AccessRefused, amqp.exceptions.PreconditionFailed) as exc:
        msg = f"the broker refuses to declare the queues: {exc}"
        raise Forbidden(msg) from exc


def _declare(channel: Any) -> None:
    topic(PUBLIC_EXCHANGE)(channel).declare()
    queues = (
        dead_queue(no_declare=False),
        events_queue(no_declare=False),
        *(task_queue(name, no_declare=False) for name in TASK_QUEUES),
    )
    for queue in queues:
        queue(channel).declare()
    for spec in TASKS:
        if spec.public:
            task_queue(spec.queue)(channel).bind_to(PUBLIC_EXCHANGE, routing_key=spec.name)
    for room in WAITING_ROOMS:
        _declare_room(channel, room)
    for name, kind in _CHATTER.items():
        Exchange(name, type=kind, durable=True)(channel).declare()


def _declare_room(channel: Any, room: WaitingRoom) -> None:
    """Each level passes a message to the next one, at once by a binding, or from its queue when its time is over."""
    lower = topic(room.way_out)
    lower(channel).declare()
    for number in range(room.bits):
        level = topic(room.level(number))
        passed = "*." * (room.bits - 1 - number)
        arguments = {
            **_QUORUM,
            "x-message-ttl": 2**number * 1000,
            "x-dead-letter-exchange": lower.name,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        _queue(level.name, f"{passed}1.#", arguments, no_declare=False)(channel).declare()
        lower(channel).bind_to(level.name, f"{passed}0.#")
        lower = level
    for name in room.queues:
        topic(name)(channel).bind_to(room.way_out, f"#.{name}")
        task_queue(name)(channel).bind_to(name, f"#.{name}")
