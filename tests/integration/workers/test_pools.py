"""Pools, the command line of Celery, and other systems: who consumes what, and who may ask how."""

import json
from typing import Any

import pytest
from celery import Celery

from softman.errors import InvalidInput
from softman.tasks.catalogue import BULK, COMMIT, CONNECTOR, DEAD, PUBLISHER, RESYNC, STRATUM0, TASK_QUEUES
from softman.tasks.queues import REASON_HEADER

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    ("module", "role", "options", "queues"),
    [
        ("workers.stratum0", "stratum0", (), {STRATUM0}),
        ("workers.commit", "commit", (), {COMMIT}),
        ("workers.connector", "connector", (), {CONNECTOR}),
        ("workers.publisher", "publisher", (), {PUBLISHER, BULK}),
        ("workers.publisher", "publisher", ("-Q", BULK), {BULK}),
        ("workers.events", "events", (), set()),
        ("workers.app", "admin", ("-Q", ",".join(TASK_QUEUES)), set(TASK_QUEUES)),
    ],
)
def test_each_pool_consumes_its_own_queues_with_the_rights_of_its_role(
    bench: Any, module: str, role: str, options: tuple[str, ...], queues: set[str]
) -> None:
    worker = bench.worker(module, "-c1", *options, SOFTMAN_BROKER_URL=bench.stack.broker_url(role))
    done = bench.celery("-A", "softman.app", "inspect", "active_queues", "--json", "-d", worker.name, "-t", "60")
    assert done.returncode == 0, done.stderr
    (consumed,) = json.loads(done.stdout).values()
    assert {queue["name"] for queue in consumed} == queues
    assert "ACCESS_REFUSED" not in worker.text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-A", "workers.stratum0", "worker", "-Q", PUBLISHER), "no tasks for publisher"),
        (("-A", "workers.app", "worker", "-Q", "s3-events"), "s3-events"),
        (("-A", "softman.app", "worker"), "softman.app has no tasks"),
    ],
)
def test_a_worker_that_would_refuse_every_message_does_not_start(
    bench: Any, arguments: tuple[str, ...], message: str
) -> None:
    done = bench.celery(*arguments)
    assert done.returncode != 0
    assert message in done.stdout + done.stderr


def test_celery_call_asks_by_name(bench: Any) -> None:
    done = bench.celery("-A", "softman.app", "call", RESYNC.name, '--args=["alice.example.org"]')
    assert done.returncode == 0, done.stderr
    (message,) = bench.take(BULK)
    assert message.headers["id"] == done.stdout.strip()
    assert json.loads(message.body)[0] == ["alice.example.org"]


def test_celery_call_refuses_a_name_nobody_knows(bench: Any) -> None:
    done = bench.celery("-A", "softman.app", "call", "softman.resink")
    assert done.returncode != 0
    assert "missing from task_queues" in done.stderr


def test_another_system_asks_with_a_bare_celery_and_the_right_to_write_one_exchange(bench: Any) -> None:
    """It declares nothing: its user could not."""
    other: Celery[Any] = Celery(broker=bench.stack.broker_url("client"), set_as_current=False)
    try:
        other.send_task(
            "softman.publish_changes",
            args=["alice.example.org"],
            exchange="softman",
            routing_key="softman.publish_changes",
            declare=[],
        )
        bench.wait(lambda: bench.depth(PUBLISHER) == 1, "the message is in its queue")
    finally:
        other.close()


def test_a_request_through_the_public_exchange_is_worked_on(bench: Any) -> None:
    bench.worker("workers.stratum0", "-c1")
    result = bench.client.send_task(
        "softman.provision", args=["Not A Label", "subject"], exchange="softman", routing_key="softman.provision"
    )
    with pytest.raises(InvalidInput, match="cannot be a repository"):
        result.get(timeout=120)


def test_a_task_that_is_not_public_cannot_be_asked_for_there(bench: Any) -> None:
    bench.client.send_task("softman.resign", exchange="softman", routing_key="softman.resign")
    bench.client.send_task(
        "softman.publish_changes", args=["a.example.org"], exchange="softman", routing_key="softman.publish_changes"
    )
    bench.wait(lambda: bench.depth(PUBLISHER) == 1, "the public one has arrived")
    assert bench.depth(STRATUM0) == 0


def test_a_task_of_another_pool_is_kept(bench: Any) -> None:
    worker = bench.worker("workers.commit", "-c1")
    bench.client.send_task("softman.provision", args=["mallory", "mallory"], queue=COMMIT)
    bench.wait(lambda: bench.depth(DEAD) == 1, "it is a dead letter")
    (letter,) = bench.take(DEAD)
    assert letter.headers["task"] == "softman.provision"
    assert REASON_HEADER in letter.headers or letter.headers["x-death"][0]["reason"] == "rejected"
    assert worker.alive()
