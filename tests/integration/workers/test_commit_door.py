"""The door between publishers and stratum 0: what it answers, and what it does not let in."""

import threading
import time
from typing import Any

import pytest
from celery import Celery

from softman.errors import CandidateRefused, ServiceUnavailable
from softman.model import Base, CommitAnswer, CommitRequest
from softman.tasks.catalogue import COMMIT, COMMIT_REVISION, DEAD, STRATUM0
from softman.tasks.client import CeleryCommitDoor
from softman.tasks.payloads import commit_request_to_json
from softman.tasks.queues import REASON_HEADER, topic

pytestmark = pytest.mark.stack


def _request(transaction: str) -> CommitRequest:
    return CommitRequest("alice.example.org", transaction, Base(7, "a" * 40), "b" * 40, "key", "signature")


COMMITTED = CommitAnswer(committed=True, current=Base(8, "b" * 40))


def test_answers_come_back(bench: Any) -> None:
    bench.worker("probe_commit", "-c1")
    door = CeleryCommitDoor(bench.client, 20.0)
    assert door.commit(_request("good")) == COMMITTED
    began = time.monotonic()
    assert door.commit(_request("again")) == COMMITTED
    assert time.monotonic() - began < 1.0
    with pytest.raises(CandidateRefused, match=r"an object is missing \(candidate-refused\)"):
        door.commit(_request("refuse"))
    with pytest.raises(ServiceUnavailable, match="the storage does not answer"):
        door.commit(_request("break"))
    with pytest.raises(ServiceUnavailable, match="cannot be understood"):
        door.commit(_request("nonsense"))


def test_without_stratum_0_there_is_no_answer_and_the_request_is_dropped(bench: Any) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="no answer from stratum 0 within 1 s"):
        CeleryCommitDoor(bench.client, 1.0).commit(_request("late"))
    assert 1.0 <= time.monotonic() - began < 3.0
    bench.worker("probe_commit", "-c1")
    assert CeleryCommitDoor(bench.client, 20.0).commit(_request("good")) == COMMITTED
    assert bench.notes("commit") == ["good"]
    assert bench.take(DEAD) == []


def test_a_restart_of_redis_while_waiting_does_no_harm(bench: Any) -> None:
    bench.worker("probe_commit", "-c1")
    answers: list[CommitAnswer] = []
    thread = threading.Thread(
        target=lambda: answers.append(CeleryCommitDoor(bench.client, 30.0).commit(_request("slow")))
    )
    thread.start()
    bench.wait(lambda: bench.notes("commit") == ["slow"], "the commit runs")
    bench.stack.redis.kill()
    bench.stack.redis.start()
    thread.join(40)
    assert answers == [COMMITTED]


def test_without_redis_the_work_is_done_and_the_worker_lives(bench: Any) -> None:
    worker = bench.worker("probe_commit", "-c1")
    bench.stack.redis.kill()
    try:
        with pytest.raises(ServiceUnavailable, match="no answer"):
            CeleryCommitDoor(bench.client, 10.0).commit(_request("blind"))
        bench.wait(lambda: bench.notes("commit") == ["blind"], "the commit has run")
    finally:
        bench.stack.redis.start()
    assert CeleryCommitDoor(bench.client, 20.0).commit(_request("good")) == COMMITTED
    assert worker.process.poll() is None
    assert bench.take(DEAD) == []


def _embedded(part: str, client: Celery[Any]) -> dict[str, Any]:
    bait = client.signature("softman.provision", args=["mallory", "mallory"], immutable=True)
    options: dict[str, dict[str, Any]] = {
        "chain": {"chain": [bait]},
        "callbacks": {"link": bait},
        "errbacks": {"link_error": bait},
        "chord": {"chord": bait},
    }
    return options[part]


@pytest.mark.parametrize("part", ["chain", "callbacks", "errbacks", "chord"])
def test_the_door_takes_no_further_work(bench: Any, part: str) -> None:
    bench.worker("probe_commit", "-c1")
    payload = commit_request_to_json(_request("bait"))
    bench.client.send_task(COMMIT_REVISION.name, args=[payload], ignore_result=True, **_embedded(part, bench.client))
    bench.wait(lambda: bench.depth(DEAD) == 1, "it is refused")
    (letter,) = bench.take(DEAD)
    assert letter.headers[REASON_HEADER] == f"the message carries {part}, which this task does not accept"
    assert CeleryCommitDoor(bench.client, 20.0).commit(_request("good")) == COMMITTED
    assert bench.notes("commit") == ["good"]
    assert bench.depth(STRATUM0) == 0


@pytest.mark.parametrize(
    ("headers", "body", "content_type"),
    [
        ({"task": "softman.commit", "id": "x", "lang": "py"}, b"\x80\x04.", "application/x-python-serialize"),
        ({"task": "softman.commit", "id": "x", "lang": "py"}, b"[[], {}", "application/json"),
        ({"task": "softman.commit", "lang": "py"}, b"[[], {}, {}]", "application/json"),
        ({"task": "softman.commit", "id": "x", "eta": 5}, b"[[], {}, {}]", "application/json"),
        ({"task": ["softman.commit"], "id": {}}, b"[[], {}, {}]", "application/json"),
        ({"task": "softman.provision", "id": "x"}, b"[[], {}, {}]", "application/json"),
        ({}, b'{"task": "softman.commit", "id": "x", "args": [1]}', "application/json"),
        ({}, b"hello", "text/plain"),
        ({}, b"5", "application/json"),
    ],
    ids=["pickle", "cut", "no-id", "wrong-eta", "no-name", "other-task", "protocol-1", "text", "number"],
)
def test_what_is_no_request_is_kept_and_the_worker_lives(
    bench: Any, headers: dict[str, Any], body: bytes, content_type: str
) -> None:
    worker = bench.worker("probe_commit", "-c1")
    bench.publish(
        body,
        exchange=topic(COMMIT),
        routing_key=COMMIT,
        headers=headers,
        content_type=content_type,
        content_encoding="binary" if b"\x80" in body else "utf-8",
    )
    bench.wait(lambda: bench.depth(DEAD) == 1, "it is a dead letter")
    assert CeleryCommitDoor(bench.client, 20.0).commit(_request("good")) == COMMITTED
    assert worker.process.poll() is None
