"""Ending exactly our processes: stale records, orphans, stubborn ones. Real processes, no servers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from softman.errors import ServiceUnavailable
from softman.standalone.process import Identity, ProcessTable, base_environment, wait_until

SLEEP = ["sleep", "600"]
IGNORES_TERM = [
    sys.executable,
    "-c",
    "import signal,time; signal.signal(15, signal.SIG_IGN); print('on', flush=True); time.sleep(600)",
]
WITH_CHILD = ["sh", "-c", "sleep 600 & echo $!; wait"]

Spawn = Callable[[str, list[str]], Identity]


@pytest.fixture
def table(tmp_path: Path) -> Iterator[ProcessTable]:
    made = ProcessTable(tmp_path, os.urandom(8).hex())
    yield made
    made.sweep()


@pytest.fixture
def spawn(table: ProcessTable, tmp_path: Path) -> Spawn:
    def run(name: str, argv: list[str]) -> Identity:
        return table.spawn(name, argv, log=tmp_path / f"{name}.log", environment=base_environment(), cwd=tmp_path)

    return run


def _printed(log: Path) -> str:
    wait_until(lambda: log.read_text().strip() != "", "it prints", seconds=180)
    return log.read_text().strip()


def test_a_process_is_found_by_another_program(table: ProcessTable, spawn: Spawn, tmp_path: Path) -> None:
    identity = spawn("one", SLEEP)
    other = ProcessTable(tmp_path, "another marker")
    assert other.names() == ["one"]
    assert other.identity("one") == identity
    assert other.alive("one")
    other.stop("one", grace=5)
    assert not identity.alive()
    assert not table.alive("one")
    assert other.names() == []


def test_a_stale_record_kills_no_stranger(table: ProcessTable, tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
        try:
            present = Identity.of(stranger.pid)
            assert present is not None
            for stale in (replace(present, started=present.started - 1), replace(present, boot="an earlier boot")):
                (tmp_path / "pids").mkdir(exist_ok=True)
                (tmp_path / "pids" / "old.json").write_text(json.dumps(asdict(stale)))
                assert not table.alive("old")
                table.stop("old", grace=1)
                assert present.alive()
                assert table.names() == []
        finally:
            stranger.kill()


def test_one_that_ignores_sigterm_is_killed_after_the_grace(table: ProcessTable, spawn: Spawn, tmp_path: Path) -> None:
    identity = spawn("deaf", IGNORES_TERM)
    _printed(tmp_path / "deaf.log")
    table.stop("deaf", grace=0.2)
    assert not identity.alive()


def test_children_end_with_their_leader(table: ProcessTable, spawn: Spawn, tmp_path: Path) -> None:
    spawn("parent", WITH_CHILD)
    child = Identity.of(int(_printed(tmp_path / "parent.log")))
    assert child is not None
    table.kill("parent")
    assert not child.alive()


def test_orphans_are_found_when_the_leader_is_gone(table: ProcessTable, spawn: Spawn, tmp_path: Path) -> None:
    leader = spawn("parent", WITH_CHILD)
    child = Identity.of(int(_printed(tmp_path / "parent.log")))
    assert child is not None
    leader.send(signal.SIGKILL)
    wait_until(lambda: not leader.alive(), "the leader is dead", seconds=180)
    assert child.alive()
    table.kill("parent")
    assert not child.alive()


def test_sweep_finds_what_left_its_session(table: ProcessTable, spawn: Spawn, tmp_path: Path) -> None:
    spawn("parent", ["sh", "-c", "setsid sh -c 'echo $$; exec sleep 600' & wait"])
    runaway = Identity.of(int(_printed(tmp_path / "parent.log")))
    assert runaway is not None
    table.kill("parent")
    assert runaway.alive()
    table.sweep()
    assert not runaway.alive()


def test_a_missing_program_is_named(spawn: Spawn) -> None:
    with pytest.raises(ServiceUnavailable, match=r"none cannot be started.*no-such-program"):
        spawn("none", ["no-such-program"])


def test_children_get_no_secret_of_ours(spawn: Spawn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    spawn("env", ["sh", "-c", "env; echo done; sleep 600"])
    wait_until(lambda: "done" in (tmp_path / "env.log").read_text(), "it prints", seconds=180)
    assert "hidden" not in (tmp_path / "env.log").read_text()
