"""The processes of a deployment by their names, on real servers: each starts, is well, and ends when it is told to."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from softman.standalone.process import python_environment, wait_until
from softman.standalone.stack import Stack

pytestmark = pytest.mark.stack


def _softman(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "softman", *arguments]


@pytest.mark.parametrize("process", ["commit", "beat", "exporter"])
def test_a_process_is_well_while_it_runs_and_ends_on_sigterm(stack: Stack, process: str, tmp_path: Path) -> None:
    role = {"exporter": "dashboard"}.get(process, process)
    environment = {
        **python_environment(),
        **stack.environment(role),
        "SOFTMAN_STATE_DIR": str(tmp_path),
        "SOFTMAN_METRICS__LISTEN_PORT": "29797",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }

    def is_well() -> bool:
        assert running.poll() is None, log.read_text()
        check = subprocess.run(_softman("alive", process), env=environment, capture_output=True, check=False)
        return check.returncode == 0

    log = tmp_path / "log"
    with log.open("wb") as out:
        running = subprocess.Popen(_softman("run", process), env=environment, cwd=tmp_path, stdout=out, stderr=out)
        try:
            assert not (tmp_path / "alive" / process).exists()
            wait_until(is_well, f"{process} is well", seconds=120)
        finally:
            running.send_signal(signal.SIGTERM)
            status = running.wait(timeout=60)
    assert status in {0, -signal.SIGTERM}, log.read_text()
