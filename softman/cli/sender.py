"""Asking workers for something: tasks are sent by name and their answers read; no task code is imported."""

import getpass
from typing import Any

from celery import Celery
from redis.exceptions import RedisError

from softman.adapters.errormap import Meaning, Table, translated
from softman.errors import PermanentError, ServiceUnavailable, SoftmanError
from softman.tasks.catalogue import TaskSpec
from softman.tasks.client import TaskSender

_RESULTS: Table = {RedisError: Meaning(ServiceUnavailable, "the result store (Redis) does not answer")}
_READ_SECONDS = 5.0
"""How long reading one stored result may take."""


class Request:
    """One task that was sent.

    Args:
        app: whose result store is read.
        name: the task's name, for messages.
        task_id: Celery's id of it.
    """

    def __init__(self, app: Celery[Any], name: str, task_id: str) -> None:
        self._name = name
        self._result = app.AsyncResult(task_id)
        self.task_id = task_id

    def ready(self) -> bool:
        """Whether the task has ended.

        Raises:
            ServiceUnavailable: results cannot be read.
        """
        with translated(_RESULTS, f"read the result of {self._name}"):
            return bool(self._result.ready())

    def answer(self) -> Any:
        """What the task returned; only after it has ended.

        Raises:
            SoftmanError: what the task failed with.
            ServiceUnavailable: results cannot be read.
        """
        with translated(_RESULTS, f"read the result of {self._name}"):
            value = self._result.get(timeout=_READ_SECONDS, propagate=False)
        if not isinstance(value, BaseException):
            return value
        if isinstance(value, SoftmanError):
            raise value
        msg = f"{self._name} failed: {type(value).__name__}: {value}"
        raise PermanentError(msg) from value


def send(app: Celery[Any], task: TaskSpec, *arguments: object) -> Request:
    """Ask for ``task``; it may run at once or whenever a worker is there.

    Args:
        app: a client application.
        task: which one.
        arguments: JSON values.

    Raises:
        ServiceUnavailable: the broker does not confirm it.
    """
    task_id = TaskSender(app).send(task, *arguments, keep_result=True, requested_by=local_user())
    return Request(app, task.name, task_id)


def local_user() -> str:
    """Who runs this command, for the audit log; empty when the system does not know."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
