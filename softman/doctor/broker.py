"""RabbitMQ: login, exchanges, queues with their arguments, who works on them, and dead letters."""

from collections.abc import Iterable, Iterator
from typing import Any

import amqp.exceptions
from kombu import Connection, Queue

from softman.doctor.finding import Finding, broken, fine, unknown, warning
from softman.errors import Forbidden, ServiceUnavailable
from softman.settings import Settings
from softman.tasks.catalogue import DEAD, EVENTS, PUBLIC_EXCHANGE, TASK_QUEUES
from softman.tasks.client import broker_errors, client_app
from softman.tasks.queues import dead_queue, events_queue, task_queue, topic

AREA = "broker"
OLDEST = (3, 10)
"""The first RabbitMQ whose quorum queues have message TTL and dead-letter at least once."""
_CONNECT_SECONDS = 5
_SET_UP = "softman broker setup, with the URL of an administrator's user"
_WORKERS = {EVENTS: "workers.events"} | {name: f"workers.{name.split('.')[-1]}" for name in TASK_QUEUES}
_WORKERS["publisher.bulk"] = "workers.publisher"


def check_broker(settings: Settings) -> Iterator[Finding]:
    """Look at the broker with this process's user."""
    app = client_app(settings)
    try:
        with broker_errors(app), app.connection_for_read(connect_timeout=_CONNECT_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0)
            yield from _looked_at(connection)
    except Forbidden as exc:
        yield broken(AREA, str(exc), "correct user and password in SOFTMAN_BROKER_URL; softman broker definitions")
    except ServiceUnavailable as exc:
        yield broken(AREA, str(exc), "is RabbitMQ running, and is SOFTMAN_BROKER_URL right? rabbitmq-diagnostics ping")


def _looked_at(connection: Connection) -> Iterator[Finding]:
    yield _version(connection.connection.server_properties)
    missing = [
        name for name in (PUBLIC_EXCHANGE, EVENTS, DEAD, *TASK_QUEUES) if not _exchange_is_there(connection, name)
    ]
    if missing:
        yield broken(AREA, f"exchanges are missing: {', '.join(missing)}", _SET_UP)
    else:
        yield fine(AREA, "every exchange is there")
    for name in (*TASK_QUEUES, EVENTS, DEAD):
        yield from _queue(connection, name)


def _version(properties: Any) -> Finding:
    text = str(properties.get("version", ""))
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST:
        return broken(AREA, f"RabbitMQ {text} is too old", f"install {'.'.join(map(str, OLDEST))} or newer")
    return fine(AREA, f"RabbitMQ {text or 'of unknown version'} takes our login")


def _exchange_is_there(connection: Connection, name: str) -> bool:
    try:
        with connection.channel() as channel:
            topic(name)(channel).declare(passive=True)
    except amqp.exceptions.NotFound:
        return False
    except amqp.exceptions.AccessRefused:
        return True  # somebody guards it
    return True


def _queue(connection: Connection, name: str) -> Iterable[Finding]:
    try:
        with connection.channel() as channel:
            found: Any = channel.queue_declare(name, passive=True)  # type: ignore[attr-defined]  # amqp's has it
    except amqp.exceptions.NotFound:
        return [broken(AREA, f"the queue {name} is missing", _SET_UP)]
    except amqp.exceptions.ResourceLocked as exc:
        return [broken(AREA, f"the queue {name} is locked: {exc}", "delete it; then softman broker setup")]
    kept = list(_arguments(connection, name))
    if name == DEAD:
        return [*kept, _dead_letters(found.message_count)]
    waiting = f"{found.message_count:,} messages wait"
    if found.consumer_count:
        return [*kept, fine(AREA, f"the queue {name} has {found.consumer_count} consumers, {waiting}")]
    start = f"celery -A {_WORKERS[name]} worker"
    return [*kept, broken(AREA, f"nobody works on the queue {name}, {waiting}", f"start a worker: {start}")]


def _ours(name: str) -> Queue:
    """The queue as it should be."""
    special = {EVENTS: events_queue, DEAD: dead_queue}.get(name)
    return special(no_declare=False) if special else task_queue(name, no_declare=False)


def _arguments(connection: Connection, name: str) -> Iterator[Finding]:
    """Declare it as it should be: the broker refuses when it is otherwise, and changes nothing when it is the same."""
    try:
        with connection.channel() as channel:
            _ours(name)(channel).queue_declare()
    except amqp.exceptions.AccessRefused:
        if name == DEAD:  # said once
            yield unknown(AREA, "the arguments of queues can only be compared with an administrator's user")
    except amqp.exceptions.PreconditionFailed as exc:
        yield broken(
            AREA,
            f"the queue {name} has other arguments than ours: {exc.reply_text}",
            f"empty it, rabbitmqctl delete_queue {name}, then {_SET_UP}",
        )


def _dead_letters(count: int) -> Finding:
    if not count:
        return fine(AREA, "there are no dead letters")
    return warning(
        AREA, f"{count:,} dead letters", "softman dead list shows why; softman dead requeue sends them again"
    )
