"""What a worker does with messages before any task runs: nothing unread is lost, nothing embedded or borrowed is done.

Celery's consumer acknowledges what it cannot decode, that is, throws it away, and a message of an unforeseen shape can
end the worker. Here both go to ``softman.dead`` with the reason in a header.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import amqp.exceptions
from celery.exceptions import ImproperlyConfigured, InvalidTaskError
from celery.worker.consumer import Consumer as CeleryConsumer
from celery.worker.strategy import default as celery_strategy

from softman.errors import SoftmanError
from softman.log import get_logger
from softman.tasks.catalogue import PUBLIC_EXCHANGE, PUBLIC_TASKS, TASK_QUEUES
from softman.tasks.client import bury
from softman.tasks.waiting import without_wait

_EMBEDDED = ("callbacks", "errbacks", "chord", "chain")
_PARTS = 3
_STEPS = [step for step in CeleryConsumer.Blueprint.default_steps if not step.endswith(":DelayedDelivery")]
_KNOWN_KEYS = frozenset((*TASK_QUEUES, *PUBLIC_TASKS))
_log = get_logger(__name__)


class Consumer(CeleryConsumer):
    """Celery's consumer for one worker process (setting ``worker_consumer``)."""

    connection_errors: tuple[type[Exception], ...]

    # Celery's steps but for its delayed delivery: our waiting rooms are declared with the queues.
    Blueprint = type("Blueprint", (CeleryConsumer.Blueprint,), {"default_steps": _STEPS})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # No talk among workers: it would need the right to command all others, and show each what all do.
        super().__init__(*args, **{**kwargs, "without_mingle": True, "without_gossip": True})
        own = frozenset(getattr(self.app, "pools", ()))
        strange = sorted(set(self.app.amqp.queues.consume_from) - own)
        if strange:
            msg = f"this worker has no tasks for {', '.join(strange)}; start the module of that pool, or workers.app"
            raise ImproperlyConfigured(msg)

    def connect(self) -> Any:
        """Connect, and say so when a queue is missing; Celery then tries again until it is there."""
        connection = super().connect()
        for name in self.app.amqp.queues.consume_from:
            try:
                channel: Any
                with connection.channel() as channel:
                    channel.queue_declare(name, passive=True)
            except amqp.exceptions.NotFound:
                _log.error("the queue is missing at the broker; declare all with: softman broker setup", queue=name)
        return connection

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Any], None]:
        """Celery's handler of messages, which lets nothing out but errors of the connection."""
        handle = super().create_task_handler(*args, **kwargs)

        def receive(message: Any) -> None:
            try:
                handle(message)
            except self.connection_errors:
                raise
            except Exception as exc:  # noqa: BLE001 - one message must not end the worker
                _log.exception("message cannot be handled")
                self._bury(message, f"{type(exc).__name__}: {exc}")

        return receive

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Keep what cannot be decoded."""
        self._bury(message, f"cannot be decoded: {exc}")

    def on_unknown_message(self, body: Any, message: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Keep what is no task."""
        self._bury(message, "is no task message")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Keep what this worker has no body for: it is of a newer release, or of another pool."""
        task = str((message.headers or {}).get("task"))[:200]
        self._bury(message, f"this worker has no task {task}: it is older or newer than the sender, or of another pool")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:  # noqa: ARG002 - Celery's signature
        """Keep what is no valid task."""
        self._bury(message, str(exc))

    def _bury(self, message: Any, reason: str) -> None:
        _log.warning("message is refused", reason=reason, task=str((message.headers or {}).get("task"))[:200])
        if message.acknowledged:
            return
        try:
            bury(
                self.app,
                message.body,
                reason=reason,
                routing_key=self._origin(message),
                properties={
                    "content_type": message.content_type,
                    "content_encoding": message.content_encoding,
                    "headers": message.headers,
                },
            )
        except SoftmanError:
            message.reject_log_error(None, self.connection_errors)  # dead-lettered by the broker, without the reason
        else:
            message.ack_log_error(None, self.connection_errors)

    def _origin(self, message: Any) -> str:
        """Queue or public task that the message was for; of a strange one, the first queue of this worker."""
        key = without_wait(str(message.delivery_info.get("routing_key")))
        return key if key in _KNOWN_KEYS else next(iter(self.app.amqp.queues.consume_from), "unknown")


def strict(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Celery's strategy for messages that carry no further work (``Task.Strategy``).

    A chain or callback inside a message is work that the worker sends on with its own rights. Whoever may write to the
    door for commits must not get more done by it than commits (decision 1).
    """
    return _checked(celery_strategy(task, app, consumer, **kwargs), task.name, forbidden=_EMBEDDED)


def chained(task: Any, app: Any, consumer: Any, **kwargs: Any) -> Callable[..., Any]:
    """Celery's strategy for the links of a chain: what follows is allowed, callbacks are not."""
    receive = celery_strategy(task, app, consumer, **kwargs)
    return _checked(receive, task.name, forbidden=("callbacks", "errbacks", "chord"))


def _checked(receive: Callable[..., Any], task: str, *, forbidden: Sequence[str]) -> Callable[..., Any]:
    def handle(message: Any, body: Any, ack: Any, reject: Any, callbacks: Any, **kwargs: Any) -> Any:
        check_door(task, message.delivery_info)
        check_payload(message.payload, forbidden)
        return receive(message, body, ack, reject, callbacks, **kwargs)

    return handle


def check_door(task: str, delivery: Mapping[str, Any]) -> None:
    """Make sure that a message from the public exchange is of the public task that its routing key names.

    The broker delivers by routing key; what is done is what a header of the message says. Without this, whoever may
    ask for one task of a queue could ask for all of them.

    Raises:
        InvalidTaskError: it is of another one.
    """
    if delivery.get("exchange") == PUBLIC_EXCHANGE and (
        task not in PUBLIC_TASKS or delivery.get("routing_key") != task
    ):
        msg = (
            f"{task} cannot be asked for through the public exchange with the routing key {delivery.get('routing_key')}"
        )
        raise InvalidTaskError(msg)


def check_payload(payload: object, forbidden: Sequence[str]) -> None:
    """Make sure that a message body is ``[args, kwargs, embedded]`` (protocol 2) and embeds nothing forbidden.

    Raises:
        InvalidTaskError: it is something else, or carries one of ``forbidden``.
    """
    if not isinstance(payload, Sequence) or isinstance(payload, str) or len(payload) != _PARTS:
        msg = "the message is not of Celery's task protocol 2"
        raise InvalidTaskError(msg)
    args, kwargs, embedded = payload
    if not isinstance(args, list) or not isinstance(kwargs, Mapping) or not isinstance(embedded, Mapping | None):
        msg = "the message is not of Celery's task protocol 2"
        raise InvalidTaskError(msg)
    carried = sorted(name for name in forbidden if (embedded or {}).get(name))
    if carried:
        msg = f"the message carries {', '.join(carried)}, which this task does not accept"
        raise InvalidTaskError(msg)
