"""Queues and exchanges, declared once, by us, and by nobody else (decision 6).

Every queue is a durable quorum queue with a topic exchange of its own name, so rights to write are given per queue. A
message that is refused, or was delivered too often, moves to ``softman.dead`` with at-least-once dead-lettering.
The queues of public tasks are bound to the public exchange as well, by task name.

Celery is given the same queues with ``no_declare``: publishing and consuming never declares anything, so a client
needs no right to configure, and a misspelt queue is an error instead of a new classic queue.

Retries wait in the broker: Celery's native delayed delivery (28 exchanges and quorum queues ``celery_delayed_N``, one
per bit of the delay). Message TTL and at-least-once dead-lettering of quorum queues need RabbitMQ 3.10. It works for
topic exchanges only.
"""

import time
from typing import Any

import amqp.exceptions
from kombu import Connection, Exchange, Queue
from kombu.transport.native_delayed_delivery import (
    bind_queue_to_native_delayed_delivery_exchange,
    declare_native_delayed_delivery_exchanges_and_queues,
)

from softman.errors import Forbidden
from softman.tasks.catalogue import DEAD, EVENTS, PUBLIC_EXCHANGE, TASK_QUEUES, TASKS

DELIVERY_LIMIT = 20
"""A message that came back so often (lost worker, lost connection) is dead-lettered by the broker."""

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
        connection: a connection with the right to configure; channels opened on it are closed again, except those of
            native delayed delivery, which end with the connection. Use one that is closed afterwards.

    Raises:
        Forbidden: the broker does not let this user configure, or something exists with other properties.
    """
    try:
        with connection.channel() as channel:
            _declare(channel)
        declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum")
        for queue in task_queues():
            bind_queue_to_native_delayed_delivery_exchange(connection, queue)
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
