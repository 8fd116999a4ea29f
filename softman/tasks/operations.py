"""What administrators see of the broker and of the workers: how deep queues are, and what workers say of themselves.

Depths come from passive declarations, which need no right. Asking workers needs the right to write to Celery's exchange
for remote control and to have a queue for the answers: ``softman.tasks.rights`` gives it to ``operations``.
"""

from typing import Any

from celery import Celery

from softman.model import QueueDepth, WorkerState
from softman.tasks.catalogue import DEAD, EVENTS, TASK_QUEUES
from softman.tasks.client import broker_errors

ANSWER_SECONDS = 1.0
"""How long workers have to answer."""


class BrokerOperations:
    """``Operations`` at RabbitMQ.

    Args:
        app: a Celery application with the settings of ``softman.tasks.config``, whose user has the rights.
    """

    def __init__(self, app: Celery[Any]) -> None:
        self._app = app

    def queues(self) -> list[QueueDepth]:
        """See ``Operations``."""
        with broker_errors(self._app), self._app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            declared = [channel.queue_declare(name, passive=True) for name in (*TASK_QUEUES, EVENTS, DEAD)]
        return [QueueDepth(each.queue, int(each.message_count), int(each.consumer_count)) for each in declared]

    def workers(self) -> list[WorkerState]:
        """See ``Operations``."""
        with broker_errors(self._app):
            control: Any = self._app.control.inspect(timeout=ANSWER_SECONDS)
            stats: dict[str, Any] = control.stats() or {}
            queues: dict[str, Any] = control.active_queues() or {}
            active: dict[str, Any] = control.active() or {}
        return [
            WorkerState(
                name=name,
                queues=tuple(str(queue["name"]) for queue in queues.get(name) or ()),
                active=len(active.get(name) or ()),
                processed=sum((said.get("total") or {}).values()),
                processes=len((said.get("pool") or {}).get("processes") or ()),
            )
            for name, said in sorted(stats.items())
        ]
