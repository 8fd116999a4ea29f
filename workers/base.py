"""The task decorator: typed options, checked arguments, errors mapped to retry or failure, progress of links.

What a task body promises is little: it may run twice, it may be killed anywhere, and it raises softman's errors. The
rest happens here:

=====================================  ==============================================================================
a body raises                          what follows
=====================================  ==============================================================================
``TransientError``, soft time limit    retry after a growing, jittered delay; after ``retries`` of them the task
                                       fails, and its message lies in ``softman.dead`` with the reason
``Outage``                             a service is known to be dead: retry after some seconds, as often as need be,
                                       without counting; tasks without retries fail
``PermanentError``                     the task fails at once, with our error's class and text; nothing to repeat
anything else                          a defect: logged with its traceback, failed, and the message in ``softman.dead``
=====================================  ==============================================================================

A worker that is lost (killed, out of memory, over the hard time limit) or cut off from the broker leaves its message
unacknowledged: the broker delivers it again, to any worker, up to the queue's delivery limit, and then dead-letters it.
A retry is published, with a confirm, before the present message is acknowledged; a crash between the two makes two of
them, never none.
"""

import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn, ParamSpec, TypeVar

from celery import Celery, current_task
from celery._state import get_current_app
from celery.exceptions import Reject, Retry, SoftTimeLimitExceeded

from softman import wiring
from softman.errors import Outage, PermanentError, ServiceUnavailable, SoftmanError, TransientError
from softman.log import bind_context, get_logger
from softman.model import AnyLink, LinkProgress, LinkState
from softman.names import RepositoryName
from softman.settings import Settings, load_settings
from softman.tasks.catalogue import DEAD, TASK_QUEUES, TaskSpec
from softman.tasks.client import TaskSender
from softman.tasks.queues import dead_headers
from softman.tasks.waiting import without_wait
from workers.arguments import Signature

FIRST_DELAY = 1.0
"""Seconds before the first retry; each later one waits twice as long, up to the task's longest delay."""
OUTAGE_DELAY = 15.0
"""Seconds, the bound of the delay while a service is known to be dead: how late its return may be noticed."""

_P = ParamSpec("_P")
_R = TypeVar("_R")
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Body:
    """One task body with its options, as ``task`` was given them."""

    spec: TaskSpec
    function: Callable[..., Any]
    signature: Signature
    link: AnyLink | None
    chained: bool
    retries: int
    longest_delay: float
    keep_result: bool
    track_started: bool
    dead_letter: bool


BODIES: dict[str, Body] = {}
"""All task bodies whose modules are imported, by task name."""


@cache
def settings() -> Settings:
    """The settings of this worker, read once."""
    return load_settings()


def task(
    spec: TaskSpec,
    *,
    link: AnyLink | None = None,
    chained: bool = False,
    retries: int = 12,
    longest_delay: float = 60.0,
    keep_result: bool = False,
    track_started: bool = False,
    dead_letter: bool = True,
) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Make a function the body of a task. The function itself is returned unchanged and can be called as such.

    Its parameters must be annotated with what ``workers.arguments`` can check; a ``RepositoryName`` arrives as text.

    Args:
        spec: name and queue, from the catalogue.
        link: the link of a chain whose progress is recorded. The body returns the result in words, or
            None when the work goes on in another task.
        chained: whether its messages may carry a chain; callbacks, error callbacks and chords are never accepted.
        retries: how often it is tried again after a ``TransientError``.
        longest_delay: seconds, the bound of the delay before a retry.
        keep_result: whether somebody reads its result.
        track_started: whether somebody wants to know that a worker has begun with it.
        dead_letter: whether the message is kept in ``softman.dead`` when the task gives up.

    Raises:
        TypeError: a parameter has an annotation that cannot be checked, or the task has a body already.
    """

    def register(function: Callable[_P, _R]) -> Callable[_P, _R]:
        if spec.name in BODIES:
            msg = f"{spec.name} has a body already"
            raise TypeError(msg)
        BODIES[spec.name] = Body(
            spec=spec,
            function=function,
            signature=Signature.of(function),
            link=link,
            chained=chained,
            retries=retries,
            longest_delay=longest_delay,
            keep_result=keep_result,
            track_started=track_started,
            dead_letter=dead_letter,
        )
        return function

    return register


def sender() -> TaskSender:
    """Sends further tasks with the application of this worker."""
    return TaskSender(worker_application())


def worker_application() -> Celery[Any]:
    """The Celery application whose worker runs this process."""
    app: Celery[Any] = get_current_app()
    return app


def message_queue() -> str:
    """The queue that the message of the present task came from; empty outside of a worker's task."""
    request = getattr(current_task, "request", None)
    if request is None or request.called_directly or request.is_eager:
        return ""
    return _queue_of(request, BODIES[current_task.name].spec)


def delay_before(attempt: int, longest: float) -> int:
    """Seconds to wait before retry number ``attempt`` (from 0): exponential, with jitter, whole, at least 1.

    Whole, because the broker's waiting rooms know no fractions.
    """
    bound = min(longest, FIRST_DELAY * 2.0 ** min(attempt, 30))
    return max(1, math.ceil(random.uniform(bound / 2, bound)))  # noqa: S311 - spreads load, hides nothing


def run(celery_task: Any, body: Body, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run a body inside a worker, as the table of this module says.

    Raises:
        Retry: the task was sent again.
        Reject: it could not be sent again; the broker will deliver it once more.
        SoftmanError: the task failed.
    """
    progress = _Progress(body.link)
    try:
        arguments = body.signature.bind(args, kwargs)
        repository = next((value for value in arguments.values() if isinstance(value, RepositoryName)), None)
        if repository is not None:
            bind_context(repository=str(repository))
        progress.begin(repository)
        result = body.function(**arguments)
    except TransientError as exc:
        _again(celery_task, body, progress, exc)
    except SoftTimeLimitExceeded:
        _again(celery_task, body, progress, ServiceUnavailable("the task ran into its time limit"))
    except PermanentError as exc:
        _log.warning("task failed", code=exc.code, error=str(exc))
        progress.set(LinkState.FAILED, str(exc))
        raise
    except (Retry, Reject):
        raise
    except Exception as exc:
        progress.set(LinkState.FAILED, f"internal error: {type(exc).__name__}")
        _bury(celery_task, body, f"{type(exc).__name__}: {exc}")
        raise
    if result is not None:
        progress.set(LinkState.DONE, str(result))
    return result


def _again(celery_task: Any, body: Body, progress: "_Progress", error: TransientError) -> NoReturn:
    """Send the task again, or give up."""
    attempt = celery_task.request.retries
    postponed = isinstance(error, Outage) and body.retries > 0
    if attempt >= body.retries and not postponed:
        reason = f"gave up after {attempt + 1} attempts: {error}"
        progress.set(LinkState.FAILED, reason)
        _log.error("task gave up", code=error.code, error=str(error), attempts=attempt + 1)
        _bury(celery_task, body, reason)
        raise error
    if postponed:
        celery_task.request.retries = attempt - 1  # Celery adds one
        delay = delay_before(30, min(body.longest_delay, OUTAGE_DELAY))
    else:
        delay = delay_before(attempt, body.longest_delay)
    _log.info("task is tried again", code=error.code, error=str(error), attempt=attempt + 1, delay=delay)
    progress.set(LinkState.RETRYING, str(error))
    try:
        raise celery_task.retry(exc=error, countdown=delay, queue=_queue_of(celery_task.request, body.spec))
    except Reject as exc:
        # Celery drops a task whose retry cannot be published. Ours goes back to the broker.
        raise Reject(str(error), requeue=True) from exc


def _queue_of(request: Any, spec: TaskSpec) -> str:
    """The queue a message came from: it may travel on another one than the catalogue says (``publisher.bulk``)."""
    key = str((request.delivery_info or {}).get("routing_key") or "")
    plain = without_wait(key)
    return plain if plain in TASK_QUEUES else spec.queue


def _bury(celery_task: Any, body: Body, reason: str) -> None:
    """Keep the message in ``softman.dead``, complete, so that it can be moved back to its queue."""
    request = celery_task.request
    if not body.dead_letter or request.called_directly or request.is_eager:
        return
    try:
        worker_application().send_task(
            body.spec.name,
            args=request.args,
            kwargs=request.kwargs,
            task_id=request.id,
            root_id=request.root_id,
            parent_id=request.parent_id,
            chain=request.chain,
            queue=body.spec.queue,
            exchange=DEAD,
            routing_key=body.spec.queue,
            headers=dead_headers(reason),
            ignore_result=True,
            add_to_parent=False,
        )
    except Exception:  # noqa: BLE001 - the failure itself is stored and logged; reconciliation redoes the work
        _log.exception("dead letter is lost")


class _Progress:
    """Tells people how a link stands. Redis may be away: then nobody is told, and the work goes on."""

    def __init__(self, link: AnyLink | None) -> None:
        self._link = link
        self._repository: RepositoryName | None = None

    def begin(self, repository: RepositoryName | None) -> None:
        self._repository = repository
        self.set(LinkState.RUNNING, "")

    def set(self, state: LinkState, detail: str) -> None:
        if self._link is None or self._repository is None:
            return
        set_link(self._repository, self._link, state, detail)


def set_link(repository: RepositoryName, link: AnyLink, state: LinkState, detail: str = "") -> None:
    """Record how one link of a chain stands, if Redis lets us."""
    try:
        wiring.records(settings()).set_link(repository, LinkProgress(link, state, time.time(), detail))
    except SoftmanError as exc:
        _log.warning("progress is not recorded", link=link.value, state=state.value, error=str(exc))
