"""The Celery settings that client and workers share: JSON only, late acknowledgement, confirms, quorum queues.

Two limits belong together. RabbitMQ closes the channel of a consumer that holds a message longer than its
``consumer_timeout`` (30 minutes unless the operator changed it); with late acknowledgement a message is held as long as
its task runs. So no task may run that long: ``SOFT_LIMIT`` asks it to stop, ``HARD_LIMIT`` ends its process. An
operator who lowers ``consumer_timeout`` below ``HARD_LIMIT`` gets tasks that run twice.
"""

from typing import Any
from urllib.parse import urlsplit

from celery.signals import before_task_publish

from softman.adapters.redis_client import tls_options
from softman.settings import Settings
from softman.tasks.catalogue import TASKS
from softman.tasks.queues import task_queues

SOFT_LIMIT = 1500
"""Seconds after which a task is interrupted and retried."""
HARD_LIMIT = 1620
"""Seconds after which the process of a task is ended and its message delivered again."""
RESULT_SECONDS = 86_400
"""How long results are kept."""

NO_DEFAULT_QUEUE = "softman.unrouted"
"""No queue has this name: a task that is not in the catalogue is refused where it is sent."""

_RETRY_PUBLISH = {"max_retries": 10, "interval_start": 0, "interval_step": 0.2, "interval_max": 1}
"""About eight seconds in all: a restart of the broker is shorter."""
_RETRY_RESULT = {"max_retries": 3, "interval_start": 0, "interval_step": 0.2, "interval_max": 0.5}


def celery_settings(settings: Settings) -> dict[str, Any]:
    """The configuration of a Celery application, client or worker, in Celery's own setting names."""
    return {**_broker(settings), **_tasks(), **_results(settings), **_worker(settings)}


def _broker(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": settings.broker_url.get_secret_value(),
        "broker_transport_options": {"confirm_publish": True},
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A channel that the broker closed (queue gone, consumer_timeout) is opened anew; the worker lives on.
        "broker_channel_error_retry": True,
        "broker_heartbeat": 30,
        **_broker_tls(settings),
    }


def _broker_tls(settings: Settings) -> dict[str, Any]:
    """With ``amqps://`` certificate and name are verified; py-amqp by itself would do neither."""
    parts = urlsplit(settings.broker_url.get_secret_value())
    if parts.scheme != "amqps":
        return {}
    authorities = {} if settings.tls.ca_file is None else {"cafile": str(settings.tls.ca_file)}
    context = {"check_hostname": True, **authorities}
    return {"broker_use_ssl": {"context": context, "server_hostname": parts.hostname}}


def _tasks() -> dict[str, Any]:
    return {
        "task_serializer": "json",
        "accept_content": ["json"],
        "event_serializer": "json",
        "task_queues": task_queues(),
        "task_routes": {spec.name: {"queue": spec.queue} for spec in TASKS},
        "task_default_queue": NO_DEFAULT_QUEUE,
        "task_create_missing_queues": False,
        "task_acks_late": True,
        "task_acks_on_failure": True,
        # Ended from outside, by limit or by loss: delivered again, until the delivery limit of the queue.
        "task_acks_on_timeout": False,
        "task_reject_on_worker_lost": True,
        "task_soft_time_limit": SOFT_LIMIT,
        "task_time_limit": HARD_LIMIT,
        "task_publish_retry": True,
        "task_publish_retry_policy": _RETRY_PUBLISH,
        "task_send_sent_event": True,
    }


def _results(settings: Settings) -> dict[str, Any]:
    url = settings.redis_url.get_secret_value()
    tls = tls_options(url, settings.tls.ca_file)
    return {
        "result_backend": f"softman.tasks.results.ResultBackend+{url}",
        "result_serializer": "json",
        "result_accept_content": ["json"],
        "result_expires": RESULT_SECONDS,
        "result_backend_transport_options": {"retry_policy": _RETRY_RESULT},
        "redis_socket_timeout": 10.0,
        "redis_socket_connect_timeout": 5.0,
        **({"redis_backend_use_ssl": tls} if tls else {}),
    }


def _worker(settings: Settings) -> dict[str, Any]:
    return {
        # In KiB. A process that has grown beyond it ends after its task, and a fresh one takes its place.
        "worker_max_memory_per_child": settings.worker_memory // 1024,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        # Quorum queues know no global prefetch; Celery turns it off when it sees one.
        "worker_detect_quorum_queues": True,
        # A lost connection must not throw away running work: its second delivery meets an idempotent task.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_lost_wait": 2.0,
        "worker_proc_alive_timeout": 60.0,
        "worker_redirect_stdouts": False,
    }


@before_task_publish.connect(dispatch_uid="softman.keep_expired_out_of_dead_letters")
def _no_message_ttl(properties: dict[str, Any] | None = None, **_: object) -> None:
    """Let workers drop expired tasks (the header ``expires``); the broker would dead-letter them (the property)."""
    if properties is not None:
        properties.pop("expiration", None)
