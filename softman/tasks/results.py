"""The result backend: Celery's Redis backend that takes the loss of Redis for what it is, the loss of a cache.

Celery's own lets the connection error out of the task's tracer, and work that is done counts as failed; raised in the
worker's main process it may end the worker.
"""

from typing import Any

from celery.backends.redis import RedisBackend

from softman.log import get_logger

_log = get_logger(__name__)


class ResultBackend(RedisBackend):
    """Stores results as long as Redis answers, and logs when it does not."""

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        """Store a result; a lost one is logged, and whoever waits for it runs into their own time limit."""
        try:
            return super().set(key, value, *args, **kwargs)
        except self.connection_errors as exc:  # type: ignore[attr-defined]
            _log.warning("result is lost", key=str(key), error=str(exc))
            return None
