"""Our own processes under the supervisor: started, started again when they are killed, stopped in order."""

import json
import signal
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from softman.errors import ServiceUnavailable
from softman.standalone.process import Identity, wait_until
from softman.standalone.processes import process_specs, wait_ready
from softman.standalone.stack import Stack
from softman.tasks.client import client_app

Leftovers = Callable[[Path], list[str]]
NAMES = {"beat", "beat-too", "events", "publisher", "bulk", "connector", "stratum0", "commit", "flower"}
SECONDS = 180.0


@pytest.fixture(scope="module")
def working(stack_packages: None) -> Iterator[Stack]:  # noqa: ARG001 - the packages come first
    """A stack of its own with workers: those of the session's stack would take other tests' messages."""
    with Stack.start(workers=True) as stack:
        yield stack


def _identity(stack: Stack, name: str) -> Identity | None:
    return stack.processes.identity(f"worker-{name}")


def _environment(identity: Identity) -> set[str]:
    raw = Path(f"/proc/{identity.pid}/environ").read_bytes().decode()
    return {entry.partition("=")[0] for entry in raw.split("\0")}


def test_all_run_and_consume_their_own_queues(working: Stack) -> None:
    assert working.down() == []
    assert set(json.loads((working.directory / "workers.json").read_text())) == NAMES
    expected: dict[str, set[str]] = {
        "events": set(),
        "publisher": {"publisher"},
        "bulk": {"publisher.bulk"},
        "connector": {"connector"},
        "stratum0": {"stratum0"},
        "commit": {"stratum0.commit"},
    }
    app = client_app(working.settings())

    def consumed() -> dict[str, set[str]]:  # by those that answer in time
        queues = app.control.inspect(timeout=1).active_queues() or {}
        return {node.partition("@")[0]: {queue["name"] for queue in found} for node, found in queues.items()}

    try:
        wait_until(lambda: consumed() == expected, "each consumes its own queues", seconds=SECONDS)
    finally:
        app.close()


def test_each_process_has_only_its_own_secrets(working: Stack) -> None:
    found = {}
    for name in NAMES:
        identity = _identity(working, name)
        assert identity is not None
        found[name] = {key for key in _environment(identity) if key.endswith(("SECRET_ID", "SECRET_KEY", "ENDPOINT"))}
    publisher = {"SOFTMAN_VAULT__PUBLISHER__SECRET_ID", "SOFTMAN_S3__READER__SECRET_KEY", "SOFTMAN_S3__ENDPOINT"}
    stratum0 = {"SOFTMAN_VAULT__STRATUM0__SECRET_ID"}
    assert found == {
        "beat": set(),
        "beat-too": set(),
        "events": set(),
        "flower": set(),
        "publisher": publisher,
        "bulk": publisher,
        "connector": {
            "SOFTMAN_S3__CONNECTOR__SECRET_KEY", "SOFTMAN_S3__PUSH_ENDPOINT", "SOFTMAN_S3__ENDPOINT",
        },
        "stratum0": stratum0,
        "commit": stratum0,
    }  # fmt: skip


def test_flower_wants_its_password(working: Stack) -> None:
    flower = working.flower
    assert flower is not None
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{flower.url}/api/workers", timeout=60)  # noqa: S310 - http on loopback


@pytest.mark.parametrize("name", ["publisher", "events"])
def test_a_killed_process_is_started_again(working: Stack, name: str) -> None:
    before = _identity(working, name)
    assert before is not None
    before.send(signal.SIGKILL)

    def replaced() -> bool:
        now = _identity(working, name)
        return now is not None and now != before and now.alive()

    wait_until(replaced, f"{name} is started again", seconds=SECONDS)
    specs = [spec for spec in process_specs(None) if spec.name == name]
    wait_ready(working, specs, {}, seconds=SECONDS)
    status = working.directory / "workers.json"
    wait_until(lambda: json.loads(status.read_text())[name]["starts"] == 2, "the start is counted", seconds=SECONDS)
    assert working.down() == []


def test_stopping_leaves_the_servers_alone(working: Stack, processes_of: Leftovers) -> None:
    working.stop_workers()
    assert working.down() == []
    assert not [line for line in processes_of(working.directory) if "celery" in line or "supervisor" in line]
    status = json.loads((working.directory / "workers.json").read_text())
    assert not any(entry["running"] for entry in status.values())
    log = (working.directory / "log" / "supervisor.log").read_text()
    assert log.index("'worker-publisher'") < log.index("'worker-commit'")


def test_workers_that_never_get_ready_are_named_and_stopped(working: Stack, processes_of: Leftovers) -> None:
    working.stop_workers()
    with pytest.raises(ServiceUnavailable, match="commit, connector, events, publisher, stratum0 did not get ready"):
        working.start_workers(flower=False, seconds=0.01)
    assert not [line for line in processes_of(working.directory) if "celery" in line or "supervisor" in line]
