"""An object that is sent ahead, to wake the object store's notifications (decision 20).

Ceph RGW works the queue of a new persistent topic off only after it has noticed the topic, up to 30 s later. That is
a price of starting from nothing, paid once in a site's life; the demo pays it before it measures anything.
"""

import time
from types import TracebackType
from typing import Any, Self

from kombu import Connection, Consumer, Queue

from softman.adapters.s3_client import S3Access
from softman.adapters.s3_connector import S3Connector
from softman.cli.demo.bucket import UserBucket
from softman.errors import ServiceUnavailable
from softman.standalone.stack import Stack
from softman.tasks.catalogue import EVENTS
from softman.tasks.queues import topic

LONGEST_SECONDS = 120.0
_BUCKET = "softman-canary"


class Canary:
    """A bucket of its own, connected to the topic of all buckets, and an ear at the exchange.

    A context manager; leaving it closes the connection to the broker.

    Args:
        stack: the running stack.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._connection = Connection(stack.amqp_url)
        self._channel = self._connection.channel()
        self._sent = 0.0
        self._heard = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.release()

    def send(self) -> None:
        """Connect the canary's bucket and put an object into it."""
        queue = Queue("", topic(EVENTS), routing_key="#", durable=False, exclusive=True, auto_delete=True)
        consumer = Consumer(self._channel, [queue], callbacks=[self._hear], no_ack=True)
        consumer.consume()
        settings = self._stack.settings().s3
        connector = S3Connector.from_settings(settings)
        keys = self._stack.create_s3_user(_BUCKET)
        connector.ensure_bucket(_BUCKET, _BUCKET)
        connector.ensure_notification(_BUCKET)
        access = S3Access(settings.endpoint, keys.access_key, keys.secret_key, settings.region)
        self._sent = time.monotonic()
        UserBucket(access, _BUCKET).put("canary", b"anybody there?\n")

    def wait(self) -> float:
        """Wait for the event of that object.

        Returns:
            Seconds since it was sent.

        Raises:
            ServiceUnavailable: it did not come.
        """
        deadline = self._sent + LONGEST_SECONDS
        while not self._heard:
            left = deadline - time.monotonic()
            if left <= 0:
                msg = f"the object store sent no notification within {LONGEST_SECONDS:g} s"
                raise ServiceUnavailable(msg)
            try:
                self._connection.drain_events(timeout=min(left, 1.0))
            except TimeoutError:
                continue
        return time.monotonic() - self._sent

    def _hear(self, body: Any, _message: Any) -> None:
        text = body if isinstance(body, str) else bytes(body).decode(errors="replace")
        self._heard = self._heard or _BUCKET in text
