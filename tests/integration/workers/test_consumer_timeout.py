"""A message that is held for longer than the broker's ``consumer_timeout``: the channel is closed, nothing is lost."""

from collections.abc import Iterator
from typing import Any

import pytest

from softman.tasks.catalogue import DEAD, STRATUM0

pytestmark = pytest.mark.stack
USUAL = {"consumer_timeout": 1_800_000, "channel_tick_interval": 60_000}
"""What RabbitMQ 3.10 has, in milliseconds: the second is how often the first is looked at."""


def _set(bench: Any, values: dict[str, int]) -> None:
    """Give channels that are opened from now on other limits."""
    text = ", ".join(f"application:set_env(rabbit, {name}, {value})" for name, value in values.items())
    bench.stack.rabbitmqctl("eval", f"{text}.")


@pytest.fixture
def impatient(bench: Any) -> Iterator[Any]:
    """A bench on a broker that gives consumers a second."""
    _set(bench, {"consumer_timeout": 1000, "channel_tick_interval": 200})
    yield bench
    _set(bench, USUAL)


def test_a_task_beyond_the_consumer_timeout_runs_again_and_the_worker_lives(impatient: Any, unique: str) -> None:
    bench = impatient
    worker = bench.worker("probe_tasks:stratum0", "-c2")
    result = bench.client.send_task("probe.patient", args=[unique], queue=STRATUM0)
    bench.wait(lambda: len(bench.notes("patient")) >= 2, "it was delivered again while it still ran")
    (bench.directory / "go").touch()
    assert result.get(timeout=120).startswith("run ")
    again = bench.client.send_task("probe.where", args=[unique], queue=STRATUM0)
    assert again.get(timeout=120)
    assert worker.alive()
    bench.wait(lambda: bench.depth(STRATUM0) == 0, "nothing waits")
    assert bench.depth(DEAD) == 0
