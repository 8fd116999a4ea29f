"""Celery applications for worker processes: one per pool, with the bodies of its own queues and no others."""

from typing import Any

from celery import signals

from softman import wiring
from softman.errors import PermanentError, SoftmanError, TransientError
from softman.log import bind_context, clear_context, configure_logging, get_logger
from softman.settings import Settings
from softman.tasks.application import Application
from softman.tasks.catalogue import TASK_QUEUES
from softman.tasks.config import celery_settings
from workers import living as living  # noqa: PLC0414 - its signal handlers must be there
from workers import metering as metering  # noqa: PLC0414 - its signal handlers must be there
from workers import remote as remote  # noqa: PLC0414 - its command must be there
from workers import stopping as stopping  # noqa: PLC0414 - its signal handler must be there
from workers.base import BODIES, Body, run, settings

_log = get_logger(__name__)


class WorkerApp(Application):
    """The application of a worker process.

    Args:
        pools: the queues whose tasks it has; a worker consumes all of them unless ``-Q`` names fewer. Call it below the
            bodies of the module, for it takes those that are known by then.
        extra: further Celery settings.
    """

    pools: tuple[str, ...]

    def __init__(self, *pools: str, extra: dict[str, Any] | None = None) -> None:
        super().__init__("softman", set_as_current=False)
        self.pools = pools
        self.add_defaults(lambda: {**worker_settings(settings()), **(extra or {})})
        for body in BODIES.values():
            if body.spec.queue in pools:
                self._add(body)

    def __reduce__(self) -> Any:
        """Refuse to be pickled: tasks find their application by process, not by message."""
        msg = "a worker application cannot be pickled"
        raise TypeError(msg)

    def _add(self, body: Body) -> None:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return run(self, body, args, kwargs)

        call.__doc__ = body.function.__doc__
        call.__module__ = body.function.__module__
        options: dict[str, Any] = {
            "name": body.spec.name,
            "bind": True,
            "shared": False,  # or every other application of the process would get it, too
            "typing": False,  # checked in the worker, with a clear error
            "max_retries": None,  # counted by workers.base
            "ignore_result": not body.keep_result,
            "track_started": body.track_started,
            "throws": (PermanentError, TransientError),
            "Strategy": f"workers.consumer:{'chained' if body.chained else 'strict'}",
        }
        self.task(**options)(call)


def worker_settings(chosen: Settings) -> dict[str, Any]:
    """The Celery settings of a worker process."""
    return {**celery_settings(chosen), "worker_consumer": "workers.consumer:Consumer"}


@signals.celeryd_init.connect(dispatch_uid="softman.own_queues")
def _consume_own_queues(instance: Any = None, **_: Any) -> None:
    """Consume only the pool's queues unless ``-Q`` says otherwise; the others stay known for routing."""
    app = getattr(instance, "app", None)
    if isinstance(app, WorkerApp):
        app.amqp.queues.deselect([name for name in TASK_QUEUES if name not in app.pools])


@signals.worker_init.connect(dispatch_uid="softman.sweep_scratch")
def _sweep_scratch(**_: Any) -> None:
    """Remove temporary files of workers that were killed; processes of the pool look again from time to time."""
    count = wiring.sweep_scratch(settings())
    if count:
        _log.info("temporary files of killed processes are removed", processes=count)


@signals.celeryd_init.connect(dispatch_uid="softman.credentials")
def _take_credentials(**_: Any) -> None:
    """Before the pool's processes are forked; a signal swallows other exceptions, and the worker would run without."""
    try:
        wiring.take_credentials(settings())
    except SoftmanError as exc:
        raise SystemExit(str(exc)) from exc


@signals.setup_logging.connect(dispatch_uid="softman.logging")
def _set_up_logging(**_: Any) -> None:
    """Our logging instead of Celery's; ``-l`` has no effect, ``SOFTMAN_LOG_LEVEL`` has."""
    configure_logging(log_format=settings().log_format, level=settings().log_level)
    for name, host in settings().in_plain_text.items():
        _log.warning("plain text is allowed: whoever is on the way can read and change it", setting=name, host=host)


@signals.task_prerun.connect(dispatch_uid="softman.bind_log_context")
def _bind_log_context(task_id: str = "", task: Any = None, **_: Any) -> None:
    clear_context()
    bind_context(task_id=task_id, task=getattr(task, "name", ""))


@signals.task_postrun.connect(dispatch_uid="softman.clear_log_context")
def _clear_log_context(**_: Any) -> None:
    clear_context()
