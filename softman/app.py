"""The Celery client application: names and routes, no task code.

``celery -A softman.app call softman.resync --args='["alice.example.org"]'``, ``... inspect active_queues`` and
``... control`` work with it. Workers are started from the modules of ``workers``.
"""

from typing import Any, NoReturn

from celery import bootsteps

from softman.settings import load_settings
from softman.tasks.client import client_app


class NoWorker(bootsteps.Step):
    """Keeps this application from being started as a worker, which would dead-letter every task as unknown."""

    def __init__(self, parent: Any, **_: Any) -> NoReturn:
        super().__init__(parent)
        msg = "softman.app has no tasks; start a worker with -A workers.stratum0, workers.publisher, ..."
        raise SystemExit(msg)


app = client_app(load_settings)
app.steps["worker"].add(NoWorker)
