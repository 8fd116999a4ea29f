"""The Celery settings that client and workers share."""

from typing import Any

import pytest
from celery.exceptions import QueueNotFound
from celery.signals import before_task_publish
from celery.worker import WorkController

from softman.app import app as client
from softman.settings import Settings
from softman.tasks.application import Application
from softman.tasks.catalogue import DEAD, EVENTS, PUBLIC_EXCHANGE, TASK_QUEUES, TASKS, TaskSpec
from softman.tasks.client import client_app
from softman.tasks.config import HARD_LIMIT, SOFT_LIMIT, celery_settings
from softman.tasks.queues import DELIVERY_LIMIT, dead_queue, events_queue, task_queues

SETTINGS = Settings(broker_url="amqps://u:hidden@broker//", redis_url="rediss://:hidden@cache/0")


def test_only_json_is_spoken() -> None:
    conf = celery_settings(SETTINGS)
    assert conf["task_serializer"] == conf["result_serializer"] == "json"
    assert conf["accept_content"] == conf["result_accept_content"] == ["json"]


def test_nothing_is_lost_by_configuration() -> None:
    conf = client_app(SETTINGS).conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.broker_transport_options["confirm_publish"] is True
    assert conf.broker_connection_max_retries is None
    assert conf.task_create_missing_queues is False
    assert conf.worker_prefetch_multiplier == 1


def test_no_task_runs_as_long_as_the_broker_waits_for_its_acknowledgement() -> None:
    rabbitmq_default = 30 * 60
    assert SOFT_LIMIT < HARD_LIMIT < rabbitmq_default


@pytest.mark.parametrize("queue", [*task_queues(), events_queue(), dead_queue()], ids=lambda queue: queue.name)
def test_queues_are_quorum_queues_behind_topic_exchanges_and_not_declared_by_clients(queue: Any) -> None:
    assert queue.durable
    assert queue.no_declare
    assert queue.queue_arguments["x-queue-type"] == "quorum"
    assert (queue.exchange.name, queue.exchange.type, queue.exchange.durable) == (queue.name, "topic", True)
    if queue.name != DEAD:
        assert queue.queue_arguments["x-delivery-limit"] == DELIVERY_LIMIT
        assert queue.queue_arguments["x-dead-letter-exchange"] == DEAD
        assert queue.queue_arguments["x-dead-letter-strategy"] == "at-least-once"


def test_raw_events_are_no_task_queue() -> None:
    """Celery's consumer would reject them."""
    assert EVENTS not in client_app(SETTINGS).amqp.queues


@pytest.mark.parametrize("spec", TASKS, ids=lambda spec: spec.name)
def test_each_task_is_routed_to_its_queue_and_by_clients_through_the_public_exchange(spec: TaskSpec) -> None:
    worker = Application("softman", set_as_current=False)
    worker.conf.update(celery_settings(SETTINGS))
    assert worker.amqp.router.route({}, spec.name)["queue"].name == spec.queue
    route = client_app(SETTINGS).amqp.router.route({}, spec.name)
    if spec.public:
        assert (route["exchange"], route["routing_key"]) == (PUBLIC_EXCHANGE, spec.name)
    else:
        assert route["queue"].name == spec.queue
    assert set(client_app(SETTINGS).amqp.queues) == set(TASK_QUEUES)


def test_a_name_that_is_not_in_the_catalogue_is_refused_where_it_is_sent() -> None:
    with pytest.raises(QueueNotFound):
        client_app(SETTINGS).amqp.router.route({}, "softman.resink")


def test_expired_tasks_are_dropped_by_workers_and_not_dead_lettered_by_the_broker() -> None:
    client_app(SETTINGS)
    properties = {"expiration": 5, "correlation_id": "x"}
    before_task_publish.send(sender="softman.drain", properties=properties)
    assert properties == {"correlation_id": "x"}


def test_the_client_has_no_task_code() -> None:
    assert [name for name in client.tasks if not name.startswith("celery.")] == []


def test_the_client_is_no_worker() -> None:
    with pytest.raises(SystemExit, match=r"workers\.stratum0"):
        WorkController(app=client, pool_cls="solo")
