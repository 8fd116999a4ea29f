"""How wishes of the dashboard reach the workers: through the broker, or through the outbox while it does not answer.

Nobody waits for a broker that is away: one short attempt, none at all while its circuit is open, and the wish is in
the outbox, on disk, with the id that its task will have. So it may be sent twice, which tasks take.
"""

from collections.abc import Sequence
from typing import Any

from celery import Celery
from kombu.utils.uuid import uuid

from softman.adapters.circuit import Circuit
from softman.dashboard.outbox import Outbox
from softman.errors import ServiceUnavailable
from softman.settings import Settings
from softman.tasks.catalogue import TASKS
from softman.tasks.client import TaskSender, client_app

_CONNECT_SECONDS = 2.0
_SPECS = {spec.name: spec for spec in TASKS}


class BrokerWishes:
    """``Wishes`` at RabbitMQ.

    Args:
        app: from ``impatient_app``.
        outbox: where wishes wait.
    """

    def __init__(self, app: Celery[Any], outbox: Outbox) -> None:
        self._sender = TaskSender(app)
        self._outbox = outbox
        self._circuit = Circuit("the message broker")

    def send(self, task: str, arguments: Sequence[object], *, requested_by: str) -> tuple[str, str]:
        """See ``Wishes``. Whoever finds others waiting in the outbox waits behind them."""
        task_id = uuid()
        if not self._outbox.waiting():
            try:
                self.deliver(task_id, task, arguments, requested_by=requested_by)
            except ServiceUnavailable:
                pass
            else:
                return task_id, "broker"
        self._outbox.post(task_id, task, arguments, requested_by=requested_by)
        return task_id, "outbox"

    def deliver(self, task_id: str, task: str, arguments: Sequence[object], *, requested_by: str) -> None:
        """Hand a wish to the broker.

        Raises:
            ServiceUnavailable: the broker does not confirm it, or did not lately.
        """
        with self._circuit.guard():
            self._sender.send(_SPECS[task], *arguments, keep_result=True, requested_by=requested_by, task_id=task_id)

    def start(self) -> None:
        """See ``Wishes``."""
        self._outbox.start(self.deliver)

    def close(self) -> None:
        """See ``Wishes``."""
        self._outbox.close()

    def waiting(self) -> int:
        """See ``Wishes``."""
        return self._outbox.waiting()


def operations_app(settings: Settings) -> Celery[Any]:
    """``impatient_app`` with the user for operations; that of the dashboard when none is set."""
    url = settings.dashboard.operations_url
    return impatient_app(settings.model_copy(update={"broker_url": url}) if url.get_secret_value() else settings)


def impatient_app(settings: Settings) -> Celery[Any]:
    """A client application that tries once: whoever clicked waits."""
    app = client_app(settings)
    app.conf.update(task_publish_retry=False, broker_connection_timeout=_CONNECT_SECONDS)
    return app
