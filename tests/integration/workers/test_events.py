"""The events worker on the real broker and Redis: folding, dead letters, and what happens when something is away."""

import json
from collections.abc import Iterator
from typing import Any

import amqp
import pytest

from softman.names import RepositoryName
from softman.tasks.catalogue import DEAD, EVENTS, PUBLISH_CHANGES, PUBLISHER
from softman.tasks.queues import REASON_HEADER
from softman.wiring import pending, turn_states

pytestmark = pytest.mark.stack


def _notification(bucket: str, key: str) -> bytes:
    record = {
        "eventSource": "ceph:s3",
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": bucket}, "object": {"key": key}},
    }
    return json.dumps({"Records": [record]}).encode()


def _push(bench: Any, bodies: Iterator[bytes] | list[bytes]) -> None:
    """Publish as the object store does: no content type, no headers, the topic's name as routing key.

    Returns when all are in their queue.
    """
    unconfirmed: set[int] = set()

    def confirmed(tag: int, multiple: bool) -> None:
        unconfirmed.difference_update({number for number in unconfirmed if number <= tag} if multiple else {tag})

    with bench.connection.channel() as channel:
        channel.confirm_select()
        channel.events["basic_ack"].add(confirmed)
        for number, body in enumerate(bodies, 1):
            unconfirmed.add(number)
            channel._basic_publish(amqp.Message(body, delivery_mode=2), exchange=EVENTS, routing_key="softman")
        while unconfirmed:
            bench.connection.drain_events(timeout=180)


def _asked_for(letters: list[Any]) -> list[str]:
    assert {letter.headers["task"] for letter in letters} <= {PUBLISH_CHANGES.name}
    return sorted(json.loads(letter.body)[0][0] for letter in letters)


@pytest.fixture
def waiting(bench: Any) -> Any:
    """The pending keys, as the worker sees them."""
    return pending(bench.settings)


def _names(bench: Any, unique: str, count: int) -> list[RepositoryName]:
    return [RepositoryName(f"{unique}-{number}", bench.stack.domain) for number in range(count)]


def test_ten_thousand_events_become_one_task_for_each_repository(bench: Any, waiting: Any, unique: str) -> None:
    names = _names(bench, unique, 5)
    _push(bench, (_notification(names[n % 5].bucket, f"cvmfs/d/{n}") for n in range(10_000)))
    bench.worker("workers.events")
    bench.wait(lambda: sum(waiting.count(name) for name in names) == 10_000, "all keys are pending")
    bench.wait(lambda: bench.depth(PUBLISHER) == 5, "the tasks are enqueued")
    assert _asked_for(bench.take(PUBLISHER)) == sorted(map(str, names))
    assert bench.take(DEAD) == []


def test_an_event_is_passed_on(bench: Any, waiting: Any, unique: str) -> None:
    (name,) = _names(bench, unique, 1)
    bench.worker("workers.events")
    _push(bench, [_notification(name.bucket, "cvmfs/a")])
    bench.wait(lambda: bench.depth(PUBLISHER) == 1, "the task is enqueued")
    assert waiting.count(name) == 1


def test_malformed_notifications_are_kept_with_their_reason_and_others_go_on(
    bench: Any, waiting: Any, unique: str
) -> None:
    (name,) = _names(bench, unique, 1)
    bench.worker("workers.events")
    broken = [b"not json", b"\xff\xfe\x00", b'{"Records": 5}', b"[" * 100_000]
    _push(bench, [*broken, _notification(name.bucket, "cvmfs/a")])
    bench.wait(lambda: bench.depth(DEAD) == len(broken), "the malformed ones are dead letters")
    letters = bench.take(DEAD)
    raw = [letter.body.encode() if isinstance(letter.body, str) else letter.body for letter in letters]
    assert raw == broken
    assert [letter.headers[REASON_HEADER].partition(":")[0] for letter in letters] == [
        "the notification is not JSON",
        "the notification is not UTF-8",
        "Records is a list, not int",
        "the notification is nested too deeply",
    ]
    bench.wait(lambda: waiting.count(name) == 1, "the good one is pending")
    bench.wait(lambda: bench.depth(EVENTS) == 0, "all are acknowledged")


def test_strange_buckets_and_keys_outside_harm_nobody(bench: Any, waiting: Any, unique: str) -> None:
    (name,) = _names(bench, unique, 1)
    worker = bench.worker("workers.events")
    strange = [_notification("No.Label", "cvmfs/a"), _notification(name.bucket, "private/a")]
    _push(bench, [*strange, _notification(name.bucket, "cvmfs/../a")])
    bench.wait(lambda: waiting.count(name) == 1, "the key is pending")
    bench.wait(lambda: bench.depth(PUBLISHER) == 1, "the task is enqueued")
    assert _asked_for(bench.take(PUBLISHER)) == [str(name)]
    bench.wait(lambda: "No.Label" in worker.text(), "the strange bucket is reported")
    states = turn_states(bench.settings)
    bench.wait(lambda: "No.Label" in {each.bucket for each in states.strangers()}, "softman status tells it")
    assert bench.take(DEAD) == []


def test_nothing_is_lost_while_redis_is_away(bench: Any, waiting: Any, unique: str) -> None:
    names = _names(bench, unique, 3)
    worker = bench.worker("workers.events")
    bench.stack.redis.kill()
    try:
        _push(bench, (_notification(names[n % 3].bucket, f"cvmfs/{n}") for n in range(300)))
        bench.wait(lambda: "events wait" in worker.text(), "the worker has noticed")
        bench.wait(lambda: bench.depth(EVENTS) == 300, "the events are back in their queue")
    finally:
        bench.stack.redis.start()
    bench.wait(lambda: sum(waiting.count(name) for name in names) == 300, "all keys are pending")
    bench.wait(lambda: bench.depth(EVENTS) == 0, "all are acknowledged")
    bench.wait(lambda: bench.depth(PUBLISHER) >= len(names), "the tasks are enqueued")
    assert set(_asked_for(bench.take(PUBLISHER))) == set(map(str, names))
    assert bench.take(DEAD) == []
    assert worker.alive()


def test_nothing_is_lost_when_the_broker_is_killed(bench: Any, waiting: Any, unique: str) -> None:
    names = _names(bench, unique, 3)
    worker = bench.worker("workers.events")
    _push(bench, (_notification(names[n % 3].bucket, f"cvmfs/{n}") for n in range(300)))
    bench.kill_broker()
    bench.wait(lambda: sum(waiting.count(name) for name in names) == 300, "all keys are pending")
    bench.wait(lambda: bench.depth(EVENTS) == 0, "all are acknowledged")
    bench.wait(lambda: bench.depth(PUBLISHER) >= len(names), "the tasks are enqueued")
    assert set(_asked_for(bench.take(PUBLISHER))) == set(map(str, names))
    assert worker.alive()


def test_a_killed_worker_leaves_its_events_to_the_next(bench: Any, waiting: Any, unique: str) -> None:
    names = _names(bench, unique, 3)
    first = bench.worker("workers.events", SOFTMAN_EVENTS__FOLD_SECONDS="60")
    _push(bench, (_notification(names[n % 3].bucket, f"cvmfs/{n}") for n in range(300)))
    bench.wait(lambda: bench.depth(EVENTS) == 0, "the events are in hand")
    assert sum(waiting.count(name) for name in names) == 0
    first.kill()
    bench.worker("workers.events")
    bench.wait(lambda: sum(waiting.count(name) for name in names) == 300, "all keys are pending")
    bench.wait(lambda: bench.depth(PUBLISHER) == 3, "the tasks are enqueued")
    assert _asked_for(bench.take(PUBLISHER)) == sorted(map(str, names))


def test_a_stopped_worker_passes_on_what_it_has_in_hand(bench: Any, waiting: Any, unique: str) -> None:
    (name,) = _names(bench, unique, 1)
    worker = bench.worker("workers.events", SOFTMAN_EVENTS__FOLD_SECONDS="60")
    _push(bench, [_notification(name.bucket, "cvmfs/a")])
    bench.wait(lambda: bench.depth(EVENTS) == 0, "the event is in hand")
    assert worker.stop() == 0
    assert waiting.count(name) == 1
    assert _asked_for(bench.take(PUBLISHER)) == [str(name)]
    assert bench.depth(EVENTS) == 0
