"""The door between publishers and stratum 0: what it answers, and what it does not let in."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import psutil
import pytest
import redis
from celery import Celery

from softman.adapters.circuit import Circuit
from softman.errors import CandidateRefused, Outage, ServiceUnavailable
from softman.model import Base, CommitAnswer, CommitRequest
from softman.settings import load_settings
from softman.tasks.catalogue import COMMIT, COMMIT_REVISION, DEAD, STRATUM0
from softman.tasks.client import CeleryCommitDoor, client_app
from softman.tasks.payloads import commit_request_to_json
from softman.tasks.queues import REASON_HEADER, topic

pytestmark = pytest.mark.stack


def _request(transaction: str) -> CommitRequest:
    return CommitRequest("alice.example.org", transaction, Base(7, "a" * 40), "b" * 40, "key", "signature")


COMMITTED = CommitAnswer(committed=True, current=Base(8, "b" * 40))


def test_answers_come_back(bench: Any) -> None:
    bench.worker("probe_commit", "-c1")
    door = CeleryCommitDoor(bench.client, 60.0)
    assert door.commit(_request("good")) == COMMITTED
    assert door.commit(_request("again")) == COMMITTED
    with pytest.raises(CandidateRefused, match=r"an object is missing \(candidate-refused\)"):
        door.commit(_request("refuse"))
    with pytest.raises(ServiceUnavailable, match="the storage does not answer"):
        door.commit(_request("break"))
    with pytest.raises(ServiceUnavailable, match="cannot be understood"):
        door.commit(_request("nonsense"))


def test_without_stratum_0_there_is_no_answer_and_the_request_is_dropped(bench: Any) -> None:
    with pytest.raises(ServiceUnavailable, match="no answer from stratum 0 within 1 s"):
        CeleryCommitDoor(bench.client, 1.0).commit(_request("late"))
    bench.worker("probe_commit", "-c1")
    assert CeleryCommitDoor(bench.client, 60.0).commit(_request("good")) == COMMITTED
    assert bench.notes("commit") == ["good"]
    assert bench.take(DEAD) == []


def test_a_pool_that_sleeps_is_left_alone_until_it_wakes_up(bench: Any) -> None:
    worker = bench.worker("probe_commit", "-c1")
    circuit = Circuit("the pool", most=1)
    door = CeleryCommitDoor(bench.client, 60.0, patience=2.0, circuit=circuit)
    assert door.commit(_request("before")) == COMMITTED
    family = [psutil.Process(worker.process.pid), *psutil.Process(worker.process.pid).children(recursive=True)]
    for process in family:
        process.suspend()
    try:
        with pytest.raises(Outage, match="no worker has begun"):
            door.commit(_request("asleep"))
        with pytest.raises(Outage, match="it is asked again"):
            circuit.check()
    finally:
        for process in family:
            process.resume()
    bench.wait(lambda: bench.notes("commit") == ["before", "asleep"], "it has woken up")
    bench.wait(lambda: _answers(circuit), "somebody may try again")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(CeleryCommitDoor(bench.client, 60.0, circuit=circuit).commit, _request("slow"))
        bench.wait(lambda: "STARTED" in _states(bench), "it says that it has begun")
    assert answer.result() == COMMITTED


def _states(bench: Any) -> set[str]:
    """What Redis says of all tasks."""
    with redis.Redis.from_url(bench.settings.redis_url.get_secret_value()) as server:
        return {json.loads(server.get(key) or "{}").get("status", "") for key in server.keys("celery-task-meta-*")}


def _answers(circuit: Circuit) -> bool:
    with suppress(Outage):
        circuit.check()
        return True
    return False


def test_a_restart_of_redis_while_waiting_does_no_harm(bench: Any) -> None:
    bench.worker("probe_commit", "-c1")
    answers: list[CommitAnswer] = []
    thread = threading.Thread(
        target=lambda: answers.append(CeleryCommitDoor(bench.client, 60.0).commit(_request("slow")))
    )
    thread.start()
    bench.wait(lambda: bench.notes("commit") == ["slow"], "the commit runs")
    bench.stack.redis.kill()
    bench.stack.redis.start()
    thread.join()
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
    assert CeleryCommitDoor(bench.client, 60.0).commit(_request("good")) == COMMITTED
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


def test_the_door_takes_no_further_work(bench: Any) -> None:
    """What a publisher that was taken over may send to the door, with its own rights."""
    bench.worker("probe_commit", "-c1", SOFTMAN_BROKER_URL=bench.stack.broker_url("commit"))
    thief = client_app(load_settings(broker_url=bench.stack.broker_url("publisher"), redis_url=bench.stack.redis_url))
    payload = commit_request_to_json(_request("bait"))
    parts = ("callbacks", "chain", "chord", "errbacks")
    for part in parts:
        options = _embedded(part, bench.client)
        thief.send_task(COMMIT_REVISION.name, args=[payload], ignore_result=True, **options)
    thief.close()
    bench.wait(lambda: bench.depth(DEAD) == len(parts), "all are refused")
    assert [letter.headers[REASON_HEADER] for letter in bench.take(DEAD)] == [
        f"the message carries {part}, which this task does not accept" for part in parts
    ]
    assert CeleryCommitDoor(bench.client, 60.0).commit(_request("good")) == COMMITTED
    assert bench.notes("commit") == ["good"]
    assert bench.depth(STRATUM0) == 0


_JSON, _PICKLE = "application/json", "application/x-python-serialize"
_COMMIT: dict[str, Any] = {"task": "softman.commit", "id": "x", "lang": "py"}
NO_REQUESTS: dict[str, tuple[dict[str, Any], bytes, str]] = {
    "pickle": (_COMMIT, b"\x80\x04.", _PICKLE),
    "cut": (_COMMIT, b"[[], {}", _JSON),
    "no id": ({"task": "softman.commit", "lang": "py"}, b"[[], {}, {}]", _JSON),
    "wrong eta": ({**_COMMIT, "eta": 5}, b"[[], {}, {}]", _JSON),
    "no name": ({"task": ["softman.commit"], "id": {}}, b"[[], {}, {}]", _JSON),
    "other task": ({**_COMMIT, "task": "softman.provision"}, b"[[], {}, {}]", _JSON),
    "protocol 1": ({}, b'{"task": "softman.commit", "id": "x", "args": [1]}', _JSON),
    "text": ({}, b"hello", "text/plain"),
    "number": ({}, b"5", _JSON),
}


def test_what_is_no_request_is_kept_and_the_worker_lives(bench: Any) -> None:
    worker = bench.worker("probe_commit", "-c1")
    for headers, body, content_type in NO_REQUESTS.values():
        bench.publish(
            body,
            exchange=topic(COMMIT),
            routing_key=COMMIT,
            headers=headers,
            content_type=content_type,
            content_encoding="binary" if content_type == _PICKLE else "utf-8",
        )
    bench.wait(lambda: bench.depth(DEAD) == len(NO_REQUESTS), "all are dead letters")
    assert CeleryCommitDoor(bench.client, 60.0).commit(_request("good")) == COMMITTED
    assert bench.notes("commit") == ["good"]
    assert worker.alive()
