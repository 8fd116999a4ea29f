"""The result backend: Celery's Redis backend that takes the loss of Redis for what it is, the loss of a cache.

Celery's own lets the error of the lost connection out: before a task begins, and the task is dropped without having
run; after it, and work that is done counts as failed.
"""

from typing import Any

from celery.backends.redis import RedisBackend

from softman.log import get_logger

_log = get_logger(__name__)


class ResultBackend(RedisBackend):
    """Stores results as long as Redis answers, and logs when it does not."""

    def store_result(self, task_id: str, result: Any, state: str, *args: Any, **kwargs: Any) -> Any:
        """Store a result; a lost one is logged, and whoever waits for it runs into their own time limit."""
        try:
            return super().store_result(task_id, result, state, *args, **kwargs)
        except self.connection_errors as exc:  # type: ignore[attr-defined]  # not in the stubs
            _log.warning("result is lost", id=task_id, state=state, error=str(exc))
            return result

    def on_task_call(self, producer: Any, task_id: str) -> None:
        """Subscribe to nothing yet: asking for work needs no Redis. Whoever waits for the result subscribes then."""
