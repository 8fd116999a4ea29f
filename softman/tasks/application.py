"""The Celery application of clients and workers: what it sends waits in our waiting rooms, and it declares nothing.

Celery's own remote control and events declare the exchanges they use, whenever they use them, which needs a right that
would also let their user delete them. Ours are declared with the queues (``softman.tasks.queues``).
"""

import math
from datetime import UTC, datetime
from typing import Any

from celery import Celery
from celery.app.control import Control as CeleryControl
from celery.events.event import event_exchange
from kombu import Exchange
from kombu.pidbox import Mailbox as KombuMailbox

from softman.errors import InvalidInput
from softman.tasks.catalogue import TASKS
from softman.tasks.waiting import waiting_room

_QUEUES = {spec.name: spec.queue for spec in TASKS}

event_exchange.no_declare = True  # the original that Celery copies for every use


class Mailbox(KombuMailbox):
    """Celery's mailbox of remote control; its exchanges are there."""

    def _get_exchange(self, namespace: str, type: str) -> Exchange:  # noqa: A002 - kombu's name
        exchange: Exchange = super()._get_exchange(namespace, type)
        exchange.no_declare = True
        return exchange

    def _get_reply_exchange(self, namespace: str) -> Exchange:
        exchange: Exchange = super()._get_reply_exchange(namespace)
        exchange.no_declare = True
        return exchange

    def _publish_reply(  # noqa: PLR0917 - kombu's signature
        self,
        reply: Any,
        exchange: Any,
        routing_key: str,
        ticket: str,
        channel: Any = None,
        producer: Any = None,
        **opts: Any,
    ) -> None:
        """Answer on the exchange of answers, whatever whoever asks has named."""
        mailbox: Any = self
        headers = {"ticket": ticket, "clock": mailbox.clock.forward()}
        exchange = mailbox.reply_exchange.name
        with self.producer_or_acquire(producer, channel) as used:
            used.publish(reply, exchange=exchange, routing_key=routing_key, headers=headers, retry=True, **opts)


class Control(CeleryControl):
    """Celery's remote control with our mailbox."""

    Mailbox = Mailbox


class Application(Celery[Any]):
    """Celery's application, with our waiting rooms and remote control."""

    control_cls = "softman.tasks.application:Control"

    def send_task(self, name: str, *args: Any, countdown: Any = None, eta: Any = None, **options: Any) -> Any:
        """Celery's, but a task with ``countdown`` or ``eta`` waits in the waiting room of its queue.

        Raises:
            InvalidInput: tasks for that queue cannot wait.
        """
        seconds, queue = _seconds(countdown, eta), options.get("queue")
        queue = str(getattr(queue, "name", queue) or "")
        if queue and not options.get("exchange"):  # or the exchange of the task's route would win
            options.update(exchange=queue, routing_key=queue)
        if seconds > 0:
            queue = queue or _QUEUES.get(name, "")
            room = waiting_room(queue)
            if room is None:
                msg = f"{name} cannot wait: there is no waiting room of the queue {queue!r}"
                raise InvalidInput(msg)
            options.update(exchange=room.entrance, routing_key=room.routing_key(seconds, queue))
        return super().send_task(name, *args, **options)


def _seconds(countdown: Any, eta: Any) -> int:
    """Whole seconds to wait, rounded up: the broker's waiting rooms know no fractions."""
    if countdown:
        return math.ceil(float(countdown))
    if eta is None:
        return 0
    at = datetime.fromisoformat(eta) if isinstance(eta, str) else eta
    return math.ceil((at - datetime.now(at.tzinfo or UTC).replace(tzinfo=at.tzinfo)).total_seconds())
