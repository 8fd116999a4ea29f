"""What workers count: every task by its outcome, every turn of a publisher, every commit, every notification."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import signals, states

from softman.errors import PermanentError, SoftmanError
from softman.metrics import names
from softman.metrics.counted import FOLDER, METER
from softman.model import SyncReport, Turn
from softman.tasks.catalogue import TASKS
from workers.auditing import Outcome
from workers.base import settings

_OUTCOMES = {states.SUCCESS: "success", states.FAILURE: "failure", states.RETRY: "retry"}
_KNOWN = frozenset(spec.name for spec in TASKS)
_began: dict[str, float] = {}


@signals.celeryd_init.connect(dispatch_uid="softman.metering")
def _open(**_: Any) -> None:
    """Before the pool's processes are forked, which count on from here."""
    if settings().metrics.enabled:
        METER.open(settings().state_dir / FOLDER)


@signals.task_prerun.connect(dispatch_uid="softman.metering")
def _begin(task_id: str = "", **_: Any) -> None:
    _began[task_id] = time.monotonic()


@signals.task_postrun.connect(dispatch_uid="softman.metering")
def _end(task_id: str = "", task: Any = None, state: str = "", **_: Any) -> None:
    began = _began.pop(task_id, None)
    name = _name(task)
    METER.count(names.TASKS, task=name, outcome=_OUTCOMES.get(state, "other"))
    if began is not None:
        METER.observe(names.TASK_SECONDS, time.monotonic() - began, task=name)


@signals.task_failure.connect(dispatch_uid="softman.metering")
def _failed(sender: Any = None, exception: BaseException | None = None, **_: Any) -> None:
    METER.count(names.FAILURES, task=_name(sender), code=_code(exception))


@signals.task_retry.connect(dispatch_uid="softman.metering")
def _retried(sender: Any = None, reason: Any = None, **_: Any) -> None:
    METER.count(names.FAILURES, task=_name(sender), code=_code(getattr(reason, "exc", None)))


def count_turn(turn: Turn, *, interactive: bool) -> None:
    """Count a publisher's turn.

    Args:
        turn: the turn.
        interactive: whether users wait for it, so that its delay is theirs.
    """
    METER.count(names.TURNS, result=_result(turn))
    for report in turn.reports:
        _count_sync(report)
        if interactive and report.put_at:
            METER.observe(names.PUT_TO_VISIBLE, report.finished_at - report.put_at)


@contextmanager
def metered_commit(outcome: Outcome) -> Iterator[None]:
    """Count a candidate: ``committed``, ``conflict`` or ``refused``; a fault is counted with its task.

    Args:
        outcome: that of the audit log, as the block leaves it.
    """
    began = time.monotonic()
    try:
        yield
    except PermanentError:
        METER.count(names.COMMITS, outcome="refused")
        raise
    METER.count(names.COMMITS, outcome="committed" if outcome.outcome == "done" else outcome.outcome)
    METER.observe(names.COMMIT_SECONDS, time.monotonic() - began)


def count_events(*, folded: int, malformed: int, strangers: int, tasks: int) -> None:
    """Count a batch of notifications.

    Args:
        folded: messages that could be read.
        malformed: messages that could not.
        strangers: buckets that are no repository.
        tasks: publish tasks that were sent.
    """
    METER.count(names.EVENTS, folded, result="folded")
    METER.count(names.EVENTS, malformed, result="malformed")
    METER.count(names.EVENTS, strangers, result="foreign")
    METER.count(names.EVENT_TASKS, tasks)


def _count_sync(report: SyncReport) -> None:
    METER.observe(names.SYNC_SECONDS, report.seconds)
    METER.count(names.SYNC_BYTES, report.bytes_read)
    counts = {
        "added": report.added,
        "changed": report.changed,
        "removed": report.removed,
        "refused": report.refusals or len(report.refused),
    }
    for change, count in counts.items():
        METER.count(names.SYNC_OBJECTS, count, change=change)


def _result(turn: Turn) -> str:
    if turn.held_elsewhere:
        return "held_elsewhere"
    if turn.crowded:
        return "crowded"
    return "published" if turn.revision is not None else "nothing"


def _name(task: Any) -> str:
    """The task's name, when it is one of ours: messages say any."""
    name = str(getattr(task, "name", ""))
    return name if name in _KNOWN else "other"


def _code(error: BaseException | None) -> str:
    return error.code if isinstance(error, SoftmanError) else "defect"
