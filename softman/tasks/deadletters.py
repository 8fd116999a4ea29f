"""The dead letters in the broker: read without taking them away, put back to their queues, or thrown away.

A letter got here on one of two ways. We put it here, with ``REASON_HEADER`` and ``BURIED_HEADER``; or the broker did,
with its header ``x-death``, because the letter was rejected or came back too often. What happened before a letter was
put back is kept in ``HISTORY_HEADER``: the broker's own headers must not travel along, since it counts on in them.

Where a letter goes back to is read from its routing key, which the broker has checked against the rights of its sender;
what its headers say of that may be forged.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from celery import Celery
from kombu import Producer

from softman.errors import InvalidInput, ServiceUnavailable
from softman.model import DeadLetter, Death, Fate
from softman.tasks.catalogue import DEAD, EVENTS, PUBLIC_EXCHANGE, PUBLIC_TASKS, TASK_QUEUES
from softman.tasks.client import CONFIRM_SECONDS, broker_errors
from softman.tasks.queues import BURIED_HEADER, HISTORY_HEADER, REASON_HEADER, topic
from softman.tasks.waiting import without_wait

MAX_HISTORY = 20
"""Deaths that are remembered of one letter."""
_MAX_ARGUMENTS = 2000
_ID_DIGITS = 12
_KNOWN_QUEUES = frozenset((*TASK_QUEUES, EVENTS))
_BROKERS_HEADERS = ("x-death", "x-first-death-exchange", "x-first-death-queue", "x-first-death-reason")
_VOLATILE_HEADERS = (*_BROKERS_HEADERS, "x-delivery-count", REASON_HEADER, BURIED_HEADER, HISTORY_HEADER)
_NO_LONGER_TRUE = ("retries", "expires", "eta")
"""Headers of the task that would keep a letter that was put back from being worked on, or from being retried."""
_KEPT_PROPERTIES = ("content_type", "content_encoding", "correlation_id", "reply_to", "priority")
_WORDS = {
    "delivery_limit": "it came back too often: its workers were lost, or cut off from the broker",
    "rejected": "a worker refused it",
    "expired": "nobody took it in time",
    "maxlen": "its queue was full",
}


class BrokerDeadLetters:
    """``DeadLetters`` in RabbitMQ.

    Args:
        app: a Celery application with the settings of ``softman.tasks.config``.
    """

    def __init__(self, app: Celery[Any]) -> None:
        self._app = app

    def count(self) -> int:
        """See ``DeadLetters.count``."""
        with broker_errors(self._app), self._app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            return int(channel.queue_declare(DEAD, passive=True).message_count)

    def visit(self, decide: Callable[[DeadLetter], Fate]) -> None:
        """See ``DeadLetters.visit``."""
        with broker_errors(self._app), self._app.connection_for_write() as connection:
            # Two channels: closing the reading one gives back what was not acknowledged.
            reading: Any = connection.channel()
            back = _WayBack(connection.channel())
            for _ in range(int(reading.queue_declare(DEAD, passive=True).message_count)):
                message = reading.basic_get(DEAD)
                if message is None:  # somebody else took the rest
                    return
                letter = read_letter(_body(message), message.headers, message.delivery_info["routing_key"])
                fate = decide(letter)
                if fate is Fate.REQUEUE:
                    back.send(letter, message)
                if fate is not Fate.KEEP:
                    reading.basic_ack(message.delivery_tag)


class _WayBack:
    """Puts letters back to their queues, confirmed."""

    def __init__(self, channel: Any) -> None:
        self._returned: list[str] = []
        self._producer = Producer(channel, on_return=lambda exc, *_: self._returned.append(str(exc)))

    def send(self, letter: DeadLetter, message: Any) -> None:
        if not letter.queue:
            msg = f"dead letter {letter.id} cannot go back: the queue it came from is not known"
            raise InvalidInput(msg)
        key = message.delivery_info["routing_key"]
        public = key in PUBLIC_TASKS  # back through the same door, with its checks
        self._producer.publish(
            letter.body,
            exchange=topic(PUBLIC_EXCHANGE if public else letter.queue),
            routing_key=key if public else letter.queue,
            headers=headers_back(letter, message.headers or {}),
            delivery_mode=2,
            mandatory=True,
            confirm_timeout=CONFIRM_SECONDS,
            **properties_back(message.properties),
        )
        if self._returned:
            msg = f"the queue {letter.queue} is not there: {self._returned.pop()}"
            raise ServiceUnavailable(msg)


def read_letter(body: bytes, headers: Mapping[str, Any] | None, routing_key: str) -> DeadLetter:
    """What a message in ``softman.dead`` says of itself. Never fails: anything may lie there."""
    fields = dict(headers or {})
    queue = _origin(fields, routing_key)
    task = fields.get("task")
    return DeadLetter(
        id=_identify(body, fields, queue or routing_key),
        queue=queue,
        task=str(task) if task else "",
        task_id=str(fields.get("id") or "") if task else "",
        arguments=_arguments(body) if task else "",
        deaths=_deaths(fields, queue),
        body=body,
    )


def headers_back(letter: DeadLetter, headers: Mapping[str, Any]) -> dict[str, Any]:
    """The headers of a letter on its way back: the task's own, and what happened to it so far."""
    kept = {name: value for name, value in headers.items() if name not in _VOLATILE_HEADERS}
    if letter.task:
        kept.update(dict.fromkeys(_NO_LONGER_TRUE), retries=0)
    history = [[death.at, death.queue, death.reason] for death in letter.deaths[:MAX_HISTORY]]
    return {**kept, HISTORY_HEADER: json.dumps(history)}


def properties_back(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties of a letter on its way back."""
    kept = {name: properties[name] for name in _KEPT_PROPERTIES if properties.get(name) is not None}
    # Without them kombu would say that the body is text, which says nothing about a notification.
    return {"content_type": "application/octet-stream", "content_encoding": "binary", **kept}


def _body(message: Any) -> bytes:
    body = message.body
    return body.encode("utf-8", "surrogateescape") if isinstance(body, str) else bytes(body)


def _origin(headers: Mapping[str, Any], routing_key: str) -> str:
    key = without_wait(routing_key)
    if key in _KNOWN_QUEUES:
        return key
    if key in PUBLIC_TASKS:
        return PUBLIC_TASKS[key]
    # Notifications come with the name of their topic.
    return EVENTS if any(death.get("queue") == EVENTS for death in _broker_deaths(headers)) else ""


def _deaths(headers: Mapping[str, Any], queue: str) -> tuple[Death, ...]:
    found = []
    if REASON_HEADER in headers:
        found.append(Death(_number(headers.get(BURIED_HEADER)), queue, str(headers[REASON_HEADER])))
    for death in _broker_deaths(headers):
        if death.get("queue") in _KNOWN_QUEUES:  # not: the end of a wait for a retry
            reason = str(death.get("reason"))
            found.append(Death(_unix(death.get("time")), str(death["queue"]), _WORDS.get(reason, reason)))
    return (*(found or [Death(0.0, queue, "not known")]), *_history(headers))


def _history(headers: Mapping[str, Any]) -> list[Death]:
    try:
        return [
            Death(_number(at), str(queue), str(reason)) for at, queue, reason in json.loads(headers[HISTORY_HEADER])
        ]
    except (KeyError, TypeError, ValueError):
        return []


def _broker_deaths(headers: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of ``x-death``, the last one first, as the broker has them."""
    deaths = headers.get("x-death")
    return [death for death in deaths if isinstance(death, Mapping)] if isinstance(deaths, list) else []


def _identify(body: bytes, headers: Mapping[str, Any], origin: str) -> str:
    told = [origin, str(headers.get("task")), str(headers.get("id"))]
    return sha256(json.dumps(told).encode() + body).hexdigest()[:_ID_DIGITS]


def _arguments(body: bytes) -> str:
    """The arguments of a task message: ``[1, 2]``, or ``[1] {"a": 2}`` with those by name."""
    try:
        args, kwargs, _embedded = json.loads(body)
    except (ValueError, TypeError, RecursionError):
        return ""
    text = json.dumps(args, ensure_ascii=False)
    return (text if not kwargs else f"{text} {json.dumps(kwargs, ensure_ascii=False)}")[:_MAX_ARGUMENTS]


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


def _unix(value: object) -> float:
    """AMQP's timestamps: datetimes without a zone, in UTC."""
    return value.replace(tzinfo=UTC).timestamp() if isinstance(value, datetime) else 0.0
