"""What workers answer to Celery's remote control beside its own commands."""

from importlib.metadata import version
from typing import Any

from celery.worker.control import inspect_command

from softman.doctor.workers import VERSION_COMMAND


@inspect_command(name=VERSION_COMMAND)
def softman_version(_state: Any) -> dict[str, str]:
    """Which version of softman this worker runs."""
    return {"version": version("softman")}
