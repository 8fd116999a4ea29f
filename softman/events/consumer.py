"""The consumer of raw S3 notifications: parse, fold, remember, enqueue, and only then acknowledge.

It is a thread with a broker connection of its own, started and stopped by a bootstep of the events worker, because
Redis and confirms may block, which Celery's event loop must not.

Nothing is lost: a message is acknowledged after its keys are in the pending sets and the publish tasks are confirmed.
When Redis or the broker is away, the connection is closed, which gives every unacknowledged message back to the queue;
nothing is consumed until what was in hand could be passed on (decision 10). Messages that cannot be understood go to
``softman.dead`` with the reason in a header, and are acknowledged after the broker has confirmed that.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import amqp.exceptions
import kombu.exceptions
from celery import bootsteps
from kombu import Connection, Consumer

from softman.adapters.ports import PendingKeys
from softman.errors import MalformedMessage, TransientError
from softman.events.intake import Folder
from softman.events.messages import parse_notification
from softman.log import get_logger
from softman.names import RepositoryName
from softman.settings import EventSettings
from softman.tasks.queues import events_queue

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 10.0
"""Seconds between attempts while something is away."""
IDLE_SECONDS = 1.0
"""How long the thread waits for a message before it looks whether it shall stop."""
HEARTBEAT = 30.0
STOP_SECONDS = 20.0

_CONNECTION_ERRORS = (kombu.exceptions.OperationalError, amqp.exceptions.AMQPError, OSError)
_log = get_logger(__name__)

Changes = dict[RepositoryName, frozenset[str]]


class Outlet(Protocol):
    """Where the consumer's results go."""

    def publish_changes(self, repository: RepositoryName) -> None:
        """Enqueue ``softman.publish_changes``; returns when the broker has confirmed it.

        Raises:
            ServiceUnavailable: it has not.
        """

    def bury(self, body: bytes | str, reason: str, properties: dict[str, Any]) -> None:
        """Put a message into the dead letters; returns when the broker has confirmed it.

        Raises:
            ServiceUnavailable: it has not.
        """

    def refuse(self, bucket: str, reason: str) -> None:
        """Tell administrators that events of a bucket are refused. Never raises."""


class Dispatcher:
    """Passes folded changes on: keys into the pending sets, one publish task for each repository that needs one.

    Args:
        pending: the pending sets.
        outlet: where tasks go.
    """

    def __init__(self, pending: PendingKeys, outlet: Outlet) -> None:
        self._pending = pending
        self._outlet = outlet
        self._owed: set[RepositoryName] = set()

    def dispatch(self, changes: Changes) -> int:
        """Pass ``changes`` on; repeat with the same ones after an error.

        Returns:
            How many tasks were enqueued.

        Raises:
            TransientError: Redis or the broker is away.
        """
        if changes:
            # Claimed but not yet enqueued: a repetition would not be told to enqueue them again.
            self._owed.update(self._pending.add_many(changes))
        count = 0
        for name in sorted(self._owed):
            self._outlet.publish_changes(name)
            self._owed.discard(name)
            count += 1
        return count


@dataclass(slots=True)
class _Batch:
    """Messages in hand, not acknowledged yet."""

    folder: Folder
    due: float = 0.0
    last: Any = None
    count: int = 0
    malformed: list[tuple[Any, str]] = field(default_factory=list)


class EventConsumer:
    """Consumes ``s3-events`` until it is told to stop.

    Args:
        connect: makes a new broker connection.
        dispatcher: passes changes on; called in this object's thread only.
        outlet: where malformed messages go.
        settings: how long and how much to fold.
        domain: of the repositories.
        watch: called every now and then, between messages; must not raise.
        count: told of each batch: ``folded`` and ``malformed`` messages, ``strangers`` among buckets, ``tasks`` sent.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], Connection],
        dispatcher: Dispatcher,
        outlet: Outlet,
        settings: EventSettings,
        domain: str,
        watch: Callable[[], None] = lambda: None,
        count: Callable[..., None] = lambda **_: None,
    ) -> None:
        self._count = count
        self._watch = watch
        self._connect = connect
        self._dispatcher = dispatcher
        self._outlet = outlet
        self._settings = settings
        self._domain = domain
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="s3-events", daemon=True)
        self._batch = self._new_batch()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Pass on what is in hand, stop, and wait for that. What cannot be passed on goes back to the queue."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS)

    def run(self) -> None:
        """Consume, and begin anew after every failure, with growing pauses."""
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                with self._connect() as connection:
                    self._serve(connection)
            except (TransientError, *_CONNECTION_ERRORS) as exc:
                _log.warning("events wait", error=str(exc), pause=pause)
            except Exception:  # noqa: BLE001 - a defect here must not silence the events of all repositories
                _log.exception("events wait after an internal error")
            self._recover()
            if time.monotonic() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            self._stopping.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _serve(self, connection: Connection) -> None:
        """Consume on one connection; returns when it is time to stop."""
        self._batch = self._new_batch()
        connection.connect()
        with connection.channel() as channel:
            consumer = Consumer(
                channel,
                queues=[events_queue()],
                accept=["json"],  # never used: bodies are handed over undecoded
                on_message=self._take,
                auto_declare=False,
                prefetch_count=self._settings.fold_events,
            )
            with consumer:
                _log.info("events are consumed")
                while not self._stopping.is_set():
                    self._step(connection)
                self._flush()

    def _step(self, connection: Connection) -> None:
        batch = self._batch
        if not batch.count:
            self._watch()
        left = batch.due - time.monotonic() if batch.count else IDLE_SECONDS
        if left <= 0 or batch.count >= self._settings.fold_events:
            self._flush()
            return
        with suppress(TimeoutError):
            connection.drain_events(timeout=min(left, IDLE_SECONDS))
        connection.heartbeat_check()

    def _take(self, message: Any) -> None:
        """Fold one message; never raises because of what is in it."""
        batch = self._batch
        if not batch.count:
            batch.due = time.monotonic() + self._settings.fold_seconds
        batch.count += 1
        batch.last = message
        try:
            batch.folder.add(parse_notification(message.body))
        except MalformedMessage as exc:
            batch.malformed.append((message, str(exc)))
        except Exception as exc:  # noqa: BLE001 - a defect of ours, and still one message among many
            _log.exception("notification cannot be read")
            batch.malformed.append((message, f"{type(exc).__name__}: {exc}"))

    def _flush(self) -> None:
        """Pass the batch on and acknowledge it.

        Raises:
            TransientError: something is away; the batch is kept for ``_recover``.
        """
        batch = self._batch
        if not batch.count:
            return
        changes = batch.folder.changes
        tasks = self._dispatcher.dispatch(changes)
        for message, reason in batch.malformed:
            _log.warning("notification is malformed", reason=reason)
            self._outlet.bury(message.body, reason, _properties(message))
        batch.last.ack(multiple=True)
        self._report(batch, changes, tasks)
        self._batch = self._new_batch()

    def _recover(self) -> None:
        """With nothing consumed, pass on what was in hand; its messages come again, which does no harm."""
        changes, self._batch = self._batch.folder.changes, self._new_batch()
        pause = FIRST_PAUSE
        while changes and not self._stopping.is_set():
            try:
                self._dispatcher.dispatch(changes)
            except TransientError as exc:
                _log.warning("events wait", error=str(exc), pause=pause)
                self._stopping.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                return

    def _report(self, batch: _Batch, changes: Changes, tasks: int) -> None:
        folder = batch.folder
        for bucket, reason in folder.strangers.items():
            self._outlet.refuse(bucket, reason)
        if folder.strangers:
            bucket, reason = next(iter(folder.strangers.items()))
            _log.warning(
                "events of buckets that are no repository", buckets=len(folder.strangers), first=bucket, reason=reason
            )
        bad = len(batch.malformed)
        self._count(folded=batch.count - bad, malformed=bad, strangers=len(folder.strangers), tasks=tasks)
        _log.info(
            "events folded",
            events=batch.count,
            repositories=len(changes),
            keys=sum(len(keys) for keys in changes.values()),
            tasks=tasks,
            outside=folder.outside,
            malformed=bad,
        )

    def _new_batch(self) -> _Batch:
        return _Batch(Folder(self._domain))


def _properties(message: Any) -> dict[str, Any]:
    return {
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "headers": message.headers,
    }


class EventsStep(bootsteps.StartStopStep):
    """Starts and stops the consumer with the worker. The application makes it: ``app.event_consumer()``.

    A step of the worker, not of Celery's consumer, whose loss of connection is none of its business.
    """

    requires = ("celery.worker.components:Pool",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        self._consumer: EventConsumer | None = None

    def start(self, worker: Any) -> None:
        """Start the consumer."""
        self._consumer = worker.app.event_consumer()
        self._consumer.start()

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Stop it in a warm shutdown."""
        if self._consumer is not None:
            self._consumer.stop()

    def terminate(self, worker: Any) -> None:
        """Stop it in a cold shutdown."""
        self.stop(worker)
