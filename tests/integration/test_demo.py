"""The demo as its users run it: as a program of its own, to the end and interrupted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from softman.model import Link

pytestmark = pytest.mark.usefixtures("stack_packages")
DEMO = ["env", "--default-signal=INT", str(Path(sys.executable).with_name("softman")), "demo", "--json"]
LONGEST_SECONDS = 400.0


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that has just been started, with temporary files of its own."""
    temporary = Path("/tmp") / f"demo-{os.getpid()}"  # short, for sockets  # noqa: S108
    temporary.mkdir()
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TMPDIR": str(temporary)}
    process = subprocess.Popen(DEMO, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate()
        left = sorted(path.name for path in temporary.iterdir())
        if not left:
            temporary.rmdir()
    assert left == []
    assert _processes_of(temporary) == []


def test_the_demo_shows_the_main_job(demo: subprocess.Popen[str]) -> None:
    out, err = demo.communicate(timeout=LONGEST_SECONDS)
    assert demo.returncode == 0, err
    assert err == ""
    steps = [json.loads(line) for line in out.splitlines()]
    assert [step["step"] for step in steps] == [
        "stack", "workers", "canary", *["link"] * len(Link), "repository", "upload", "published", "compared",
        "changed", "added", "removed", "unpacked", "reconciled", "end",
    ]  # fmt: skip
    _check_story({step["step"]: step for step in steps}, [step["link"] for step in steps if step["step"] == "link"])


def _check_story(steps: dict[str, Any], links: list[str]) -> None:
    assert {"RabbitMQ", "Redis", "Ceph"} <= steps["stack"]["versions"].keys()
    assert links == [link.value for link in Link]
    assert steps["repository"]["repository"] == "alice.example.org"
    assert steps["upload"]["files"] >= 1000
    assert steps["compared"]["files"] == steps["upload"]["files"]
    publishing = ("published", "changed", "added", "removed", "unpacked", "reconciled")
    revisions = [steps[name]["revision"] for name in publishing]
    assert revisions == sorted(set(revisions))
    assert not Path(steps["end"]["directory"]).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing(demo: subprocess.Popen[str], number: signal.Signals) -> None:
    assert demo.stdout is not None
    assert json.loads(demo.stdout.readline())["step"] == "stack"
    demo.send_signal(number)
    _, err = demo.communicate(timeout=LONGEST_SECONDS)
    assert demo.returncode == 130
    assert err.strip() == "softman: interrupted"


def _processes_of(directory: Path) -> list[str]:
    """Command lines of processes that work below ``directory``."""
    found = []
    for process in psutil.process_iter():
        try:
            line = " ".join(process.cmdline())
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if str(directory) in line:
            found.append(line)
    return found
