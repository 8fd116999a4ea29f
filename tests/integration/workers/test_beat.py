"""Two real beats with one schedule: one is killed, Redis is flushed, Redis goes away."""

import json
from typing import Any

import pytest
import redis

from softman import wiring
from softman.tasks.catalogue import PUBLISHER

pytestmark = pytest.mark.stack


def _beat(bench: Any) -> Any:
    return bench.spawn("-A", "workers.app", "beat", SOFTMAN_DRAIN_SECONDS="2", SOFTMAN_RECONCILE_SECONDS="100000")


def test_two_beats_ask_once_and_either_goes_on_alone(bench: Any) -> None:
    with redis.Redis.from_url(bench.stack.redis_url) as server:
        server.flushall()
        first, second = _beat(bench), _beat(bench)
        clockwork = wiring.clockwork(bench.settings)
        bench.wait(lambda: len(clockwork.beats()) == 2, "both are alive", still_possible=first.alive)
        bench.wait(lambda: bench.depth(PUBLISHER) >= 4, "they ask", still_possible=second.alive)
        drains = bench.take(PUBLISHER)
        assert {message.headers["task"] for message in drains} == {"softman.drain"}
        assert all(message.headers["expires"] for message in drains)
        assert all("expiration" not in message.properties for message in drains)
        assert json.loads(drains[0].body)[:2] == [[], {}]

        # Between two turns nobody asks a second time: each turn was one beat's.
        def resigned() -> int:
            return sum(beat.text().count("entry=resign") for beat in (first, second))

        bench.wait(lambda: resigned() >= 1, "one has asked to resign")
        assert resigned() == 1
        first.kill()
        bench.take(PUBLISHER)
        bench.wait(lambda: bench.depth(PUBLISHER) >= 2, "the other goes on", still_possible=second.alive)
        bench.wait(lambda: max(clockwork.beats().values()) > 3, "the dead one is missed")
        server.flushall()
        bench.take(PUBLISHER)
        bench.wait(lambda: bench.depth(PUBLISHER) >= 2, "it goes on after a flush", still_possible=second.alive)
        bench.wait(lambda: len(clockwork.beats()) == 1, "one is alive")
    bench.stack.redis.kill()
    try:
        bench.take(PUBLISHER)
        bench.wait(lambda: bench.depth(PUBLISHER) >= 2, "it goes on without Redis", still_possible=second.alive)
    finally:
        bench.stack.redis.start()
    assert second.stop() == 0
