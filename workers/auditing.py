"""Records what tasks of stratum 0 were asked for, by whom, and what came of it.

Who asked is what the sender says in the keyword argument ``requested_by``, which every task takes; a sender that says
nothing is ``unknown``. Where from is Celery's ``origin`` header: process and host of the sender. Both are claims of a
sender that the broker let in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery import current_task

from softman import wiring
from softman.errors import PermanentError, SoftmanError, TransientError
from softman.log import get_logger
from softman.model import AuditEvent
from softman.names import RepositoryName
from workers.base import settings

REQUESTED_BY = "requested_by"
_log = get_logger(__name__)


@dataclass(slots=True)
class Outcome:
    """What a task may say about its outcome, when it is not an error."""

    outcome: str = "done"
    detail: str = ""
    more: dict[str, str | int] = field(default_factory=dict)


@contextmanager
def audited(action: str, repository: RepositoryName | str = "", **more: str | int) -> Iterator[Outcome]:
    """Record the outcome of the block.

    It is ``done`` or what the block says, ``refused``, ``postponed`` (to be tried again), or ``failed`` (a fault).
    """
    outcome = Outcome(more=dict(more))
    try:
        yield outcome
    except SoftmanError as exc:
        outcome.outcome = "postponed" if isinstance(exc, TransientError) else "refused"
        if not isinstance(exc, PermanentError | TransientError):
            outcome.outcome = "failed"
        outcome.detail = f"{exc.code}: {exc}"
        raise
    except Exception as exc:
        outcome.outcome, outcome.detail = "failed", type(exc).__name__
        raise
    finally:
        record(action, repository, outcome)


def requester() -> str:
    """Who asked for the present task, as its sender says; empty when that is not known."""
    said = (getattr(_request(), "kwargs", None) or {}).get(REQUESTED_BY)
    return said if isinstance(said, str) else ""


def record(action: str, repository: RepositoryName | str, outcome: Outcome) -> None:
    """Add a line. One that cannot be written is an error in the log: work that is done cannot be taken back."""
    request = _request()
    event = AuditEvent(
        action=action,
        repository=str(repository),
        requested_by=requester(),
        origin=str(getattr(request, "origin", None) or ""),
        task=str(getattr(request, "id", None) or ""),
        outcome=outcome.outcome,
        detail=outcome.detail,
        more=outcome.more,
    )
    try:
        wiring.audit_log(settings()).record(event)
    except SoftmanError as exc:
        _log.error("event is not in the audit log", action=action, outcome=outcome.outcome, error=str(exc))


def _request() -> Any:
    return getattr(current_task, "request", None)
