"""Pool ``events``: no task queue, only the consumer of raw S3 notifications on ``s3-events``."""

import time
from contextlib import suppress
from typing import Any

from softman import wiring
from softman.errors import SoftmanError
from softman.events.consumer import Dispatcher, EventConsumer, EventsStep
from softman.events.watch import BeatWatch
from softman.model import Stranger
from softman.names import RepositoryName
from softman.tasks.catalogue import EVENTS, PUBLISH_CHANGES
from softman.tasks.client import TaskSender, bury
from workers.base import settings
from workers.metering import count_events
from workers.pool import WorkerApp


class EventsApp(WorkerApp):
    """A worker application without tasks, and with the consumer."""

    def event_consumer(self) -> EventConsumer:
        """The consumer of this process, built from settings."""
        chosen = settings()
        outlet = CeleryOutlet(self)
        watch = BeatWatch(wiring.clockwork(chosen))
        return EventConsumer(
            connect=lambda: self.connection_for_read(heartbeat=30),
            dispatcher=Dispatcher(wiring.pending(chosen), outlet),
            outlet=outlet,
            settings=chosen.events,
            domain=chosen.domain,
            watch=watch.look,
            count=count_events,
        )


class CeleryOutlet:
    """Sends tasks and dead letters with the application's producers, each confirmed. Implements ``Outlet``.

    Args:
        app: the application.
    """

    def __init__(self, app: WorkerApp) -> None:
        self._app = app
        self._sender = TaskSender(app)

    def publish_changes(self, repository: RepositoryName) -> None:
        """Enqueue ``softman.publish_changes``."""
        self._sender.send(PUBLISH_CHANGES, str(repository))

    def bury(self, body: bytes | str, reason: str, properties: dict[str, Any]) -> None:
        """Put a notification into the dead letters."""
        bury(self._app, body, reason=reason, routing_key=EVENTS, properties=properties)

    def refuse(self, bucket: str, reason: str) -> None:
        """Record a bucket whose events are refused, if Redis lets us."""
        with suppress(SoftmanError):
            wiring.turn_states(settings()).add_stranger(Stranger(bucket, reason, time.time()))


# One process is enough, and a fork would take the thread's locks along.
app = EventsApp(extra={"worker_pool": "solo"})
app.steps["worker"].add(EventsStep)
