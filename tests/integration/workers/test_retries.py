"""Tasks that fail: retried through the broker without loss, or ended with a reason, or kept as dead letters."""

import json
from typing import Any

import celery
import pytest

from softman.errors import InvalidInput, ServiceUnavailable
from softman.tasks.catalogue import DEAD, EVENTS, PUBLISHER, STRATUM0, TASK_QUEUES
from softman.tasks.client import bury
from softman.tasks.queues import DELIVERY_LIMIT, REASON_HEADER, topic
from softman.tasks.waiting import WAITING_ROOMS

pytestmark = pytest.mark.stack
SECONDS = 120.0
"""Longest wait for a result: far above what is usual, because machines are busy."""


def test_five_retries_arrive_and_finish(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1")
    result = bench.client.send_task("probe.flaky", args=[unique], queue=STRATUM0)
    assert result.get(timeout=SECONDS) == "run 6"
    assert bench.notes("flaky") == [unique] * 6


def test_a_chain_over_two_pools_survives_the_retries_of_its_links(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1")
    bench.worker("probe_tasks:publisher", "-c1")
    links = [
        bench.client.signature("probe.flaky", args=[unique], immutable=True, queue=STRATUM0),
        bench.client.signature("probe.second", args=[unique], immutable=True, queue=PUBLISHER),
    ]
    assert celery.chain(*links, app=bench.client).apply_async().get(timeout=SECONDS) == "run 3"
    assert bench.notes("flaky") == [unique] * 6
    assert bench.notes("second") == [unique] * 3


def queue_kinds(bench: Any) -> dict[str, tuple[str, bool]]:
    """The broker's queues: type, and whether they are durable."""
    table = json.loads(bench.stack.rabbitmqctl("list_queues", "name", "type", "durable", "--formatter=json"))
    return {row["name"]: (row["type"], row["durable"]) for row in table}


def test_work_and_delays_are_in_quorum_queues_and_only_chatter_in_others(bench: Any) -> None:
    before = set(queue_kinds(bench))  # left by other tests on this broker
    bench.worker("probe_tasks:stratum0", "-c1")
    kinds = queue_kinds(bench)
    wanted = {*TASK_QUEUES, EVENTS, DEAD, *(room.level(bit) for room in WAITING_ROOMS for bit in range(room.bits))}
    assert {name: kinds[name] for name in wanted} == dict.fromkeys(wanted, ("quorum", True))
    others = set(kinds) - wanted - before
    assert others
    assert {name for name in others if "pidbox" not in name and not name.startswith(("celeryev", "amq.gen"))} == set()


def test_a_permanent_error_ends_the_task_at_once(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1")
    with pytest.raises(InvalidInput, match=f"{unique} cannot work"):
        bench.client.send_task("probe.wrong", args=[unique], queue=STRATUM0).get(timeout=SECONDS)
    for arguments in ([], [1], [unique, "more"]):
        with pytest.raises(InvalidInput, match="argument"):
            bench.client.send_task("probe.wrong", args=arguments, queue=STRATUM0).get(timeout=SECONDS)
    assert bench.notes("wrong") == [unique]
    assert bench.take(DEAD) == []


def test_who_gives_up_leaves_a_dead_letter_that_can_be_moved_back(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1")
    with pytest.raises(ServiceUnavailable, match="nobody answers"):
        bench.client.send_task("probe.hopeless", args=[unique], queue=STRATUM0).get(timeout=SECONDS)
    assert bench.notes("hopeless") == [unique] * 2
    bench.wait(lambda: bench.depth(DEAD) == 1, "there is a dead letter")
    (letter,) = bench.take(DEAD)
    assert letter.headers[REASON_HEADER] == "gave up after 2 attempts: nobody answers"
    assert letter.headers["task"] == "probe.hopeless"
    kept = ("content_type", "content_encoding", "correlation_id")
    bench.publish(
        letter.body,
        exchange=topic(STRATUM0),
        routing_key=STRATUM0,
        headers=letter.headers,
        **{name: letter.properties[name] for name in kept},
    )
    bench.wait(lambda: bench.notes("hopeless") == [unique] * 4, "the letter is worked on again")


def test_an_outage_uses_up_no_retries(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1")
    result = bench.client.send_task("probe.waiting", args=[unique], queue=STRATUM0)
    assert result.get(timeout=SECONDS) == "run 5"
    assert bench.take(DEAD) == []


def test_a_defect_fails_and_is_kept(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1")
    with pytest.raises(KeyError, match=unique):
        bench.client.send_task("probe.defect", args=[unique], queue=STRATUM0).get(timeout=SECONDS)
    bench.wait(lambda: bench.depth(DEAD) == 1, "there is a dead letter")
    (letter,) = bench.take(DEAD)
    assert letter.headers[REASON_HEADER] == f"KeyError: '{unique}'"


def test_a_killed_child_gets_its_message_delivered_again(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1")
    assert bench.client.send_task("probe.mortal", args=[unique], queue=STRATUM0).get(timeout=SECONDS) == "run 3"
    assert bench.notes("mortal") == [unique] * 3


def test_a_killed_worker_leaves_its_message_to_the_next(bench: Any, unique: str) -> None:
    first = bench.worker("probe_tasks:stratum0", "-c1")
    result = bench.client.send_task("probe.patient", args=[unique], queue=STRATUM0)
    bench.wait(lambda: bench.notes("patient") == [unique], "it has begun")
    first.kill()
    (bench.directory / "go").touch()
    bench.worker("probe_tasks:stratum0", "-c1")
    assert result.get(timeout=SECONDS) == "run 2"


def test_a_message_that_keeps_coming_back_ends_in_the_dead_letters(bench: Any) -> None:
    bench.client.send_task("probe.mortal", args=["for ever"], queue=STRATUM0)
    channel = bench.connection.default_channel
    for _ in range(DELIVERY_LIMIT + 1):
        bench.wait(lambda: bench.depth(STRATUM0) == 1, "it is back")
        channel.basic_reject(channel.basic_get(STRATUM0).delivery_tag, requeue=True)
    bench.wait(lambda: bench.depth(DEAD) == 1, "the broker has given up")
    (letter,) = bench.take(DEAD)
    assert letter.headers["x-death"][0]["reason"] == "delivery_limit"
    assert bench.depth(STRATUM0) == 0


def test_a_restart_of_the_broker_loses_no_work(bench: Any, unique: str) -> None:
    """A task runs, one waits in its queue, one waits for its retry, while the broker is killed."""
    bench.worker("probe_tasks:stratum0", "-c1")
    names = [f"{unique}-{number}" for number in range(3)]
    waiting = bench.client.send_task("probe.patient", args=[names[0]], queue=STRATUM0, countdown=3)
    running = bench.client.send_task("probe.patient", args=[names[1]], queue=STRATUM0)
    bench.wait(lambda: bench.notes("patient") == [names[1]], "one has begun")
    queued = bench.client.send_task("probe.patient", args=[names[2]], queue=STRATUM0)
    bench.kill_broker()
    (bench.directory / "go").touch()
    for result in (running, queued, waiting):
        assert result.get(timeout=SECONDS).startswith("run ")
    assert set(bench.notes("patient")) == set(names)


def test_a_worker_that_stops_hands_a_long_slice_back_within_seconds(bench: Any, unique: str) -> None:
    first = bench.worker("probe_tasks:stratum0", "-c1")
    result = bench.client.send_task("probe.long", args=[unique], queue=STRATUM0)
    bench.wait(lambda: bench.notes("long") == [unique], "it has begun")
    assert first.stop() == 0  # which waits for 30 s at most
    bench.worker("probe_tasks:stratum0", "-c1")
    assert result.get(timeout=SECONDS) == "run 2"
    assert bench.take(DEAD) == []


def test_a_process_that_has_grown_is_replaced_after_its_task(bench: Any, unique: str) -> None:
    bench.worker("probe_tasks:stratum0", "-c1", SOFTMAN_WORKER_MEMORY=str(1024**2))
    pids = {bench.client.send_task("probe.where", args=[unique], queue=STRATUM0).get(timeout=SECONDS) for _ in range(3)}
    assert len(pids) == 3


def test_old_and_new_releases_side_by_side(bench: Any, unique: str) -> None:
    """An argument that only the newer one knows is left out; a task that it alone has waits in the dead letters."""
    bench.worker("probe_tasks:stratum0", "-c1")
    result = bench.client.send_task("probe.where", args=[unique], kwargs={"later": 1}, queue=STRATUM0)
    assert result.get(timeout=SECONDS)
    bench.client.send_task("probe.invented-later", args=[unique], queue=STRATUM0)
    bench.wait(lambda: bench.depth(DEAD) == 1, "it is kept")
    (letter,) = bench.take(DEAD)
    assert "this worker has no task probe.invented-later" in letter.headers[REASON_HEADER]


def test_dead_letters_are_reported(bench: Any) -> None:
    bury(bench.client, b"?", reason="a test", routing_key=EVENTS)
    worker = bench.worker("workers.stratum0", "-c1")
    bench.client.send_task("softman.report_dead_letters")
    bench.wait(lambda: "dead letters wait for somebody to look" in worker.text(), "it is said")
    assert bench.depth(DEAD) == 1
