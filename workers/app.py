"""Every task body in one application: for beat (``celery -A workers.app beat``), and for a small site's one worker.

``celery -A workers.app worker -Q stratum0,stratum0.commit,connector,publisher,publisher.bulk`` serves all pools from
one process tree, which then holds every credential; the modules of the pools keep them apart.
"""

from typing import Any

from beat_schedule import SCHEDULE
from softman.settings import Settings
from softman.tasks.catalogue import TASK_QUEUES
from workers import commit, connector, publisher, stratum0
from workers.base import settings
from workers.pool import WorkerApp

POOLS = (stratum0, commit, connector, publisher)
"""The modules whose bodies are taken in."""


def beat_settings(chosen: Settings) -> dict[str, Any]:
    """The Celery settings of beat: its table, and the scheduler that shares it with other beats."""
    return {
        "beat_schedule": {
            periodic.entry: {
                "task": periodic.task.name,
                "schedule": periodic.seconds(chosen),
                # One that no worker took before the next is due is dropped instead of piling up.
                "options": {"expires": periodic.seconds(chosen), "ignore_result": True},
            }
            for periodic in SCHEDULE
        },
        "beat_scheduler": "workers.beat:SharedScheduler",
    }


app = WorkerApp(*TASK_QUEUES)
app.add_defaults(lambda: beat_settings(settings()))
