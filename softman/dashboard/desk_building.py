"""Builds the desk of one dashboard from its settings. Nothing connects before it is used."""

import socket
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from softman.dashboard.desk import Desk
from softman.dashboard.desk_base import Services
from softman.dashboard.desk_views import Part
from softman.dashboard.desk_wishes import BrokerWishes, impatient_app, operations_app
from softman.dashboard.outbox import Outbox
from softman.errors import ServiceUnavailable
from softman.services.browsing import Browser
from softman.services.deadletters import DeadLetterOffice
from softman.services.roster import Roster
from softman.settings import Settings
from softman.tasks.deadletters import BrokerDeadLetters
from softman.tasks.operations import BrokerOperations
from softman.wiring_uploads import uploads
from softman.wiring_views import Views, views

_SECONDS = 2.0
"""How long a connection may take when it is only tried whether something answers."""


def build_desk(settings: Settings, outbox: Outbox) -> Desk:
    """The desk.

    Args:
        settings: those of the role ``dashboard``.
        outbox: where wishes wait for the broker.
    """
    seen = views(settings)
    roster = Roster(seen.registry, seen.open_reader)
    app = impatient_app(settings)
    operating = operations_app(settings)
    operations = BrokerOperations(operating)
    browser = Browser(seen.open_reader)
    return Desk(
        Services(
            domain=settings.domain,
            url=settings.cvmfs.url.rstrip("/"),
            roster=roster,
            glances=seen.glances,
            records=seen.records,
            pending=seen.pending,
            states=seen.states,
            status=seen.status,
            browser=browser,
            public_keys=seen.public_keys,
            wishes=BrokerWishes(app, outbox),
            operations=operations,
            dead_letters=DeadLetterOffice(BrokerDeadLetters(operating)),
            uploads=uploads(settings, browser.published) if settings.uploads.enabled else None,
            checks=_checks(settings, roster, operations, seen),
            clock=time.time,
        )
    )


def _checks(
    settings: Settings, roster: Roster, operations: BrokerOperations, seen: Views
) -> Mapping[Part, Callable[[], str]]:
    def vault() -> str:
        if roster.problem:
            raise ServiceUnavailable(roster.problem)
        return f"{len(roster)} repositories are registered"

    def redis() -> str:
        seen.glances.read([])
        return f"beats: {len(seen.beats())}"

    def broker() -> str:
        return f"{sum(queue.messages for queue in operations.queues())} messages wait"

    return {
        Part.BROKER: broker,
        Part.REDIS: redis,
        Part.VAULT: vault,
        Part.OBJECT_STORE: lambda: _reach(settings.s3.endpoint),
        Part.REPOSITORIES: lambda: _reach(settings.cvmfs.url),
    }


def _reach(url: str) -> str:
    """Whether somebody takes connections at an address."""
    parts = urlsplit(url)
    where = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    try:
        socket.create_connection(where, timeout=_SECONDS).close()
    except OSError as exc:
        msg = f"{where[0]} port {where[1]} takes no connection: {exc.strerror or exc}"
        raise ServiceUnavailable(msg) from exc
    return ""
