"""The restarter of a server that crashes: what is started again, and what is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from softman.standalone import restarter


def kept(script: str, directory: Path) -> "subprocess.Popen[str]":
    """The restarter of a Python script that works in ``directory``."""
    command = [sys.executable, "-I", restarter.__file__, sys.executable, "-I", "-c", script]
    return subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, text=True)


def test_a_crash_is_followed_by_a_new_start(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "open('starts', 'a').write('x')\n"
        "if os.path.getsize('starts') < 3: os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    with kept(script, tmp_path) as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (tmp_path / "starts").read_text() == "xxx"
    assert out.count("SIGSEGV") == 2


def test_a_command_is_run_before_each_start(tmp_path: Path) -> None:
    """Whatever it returns."""
    python = (sys.executable, "-I", "-c")
    before = "print('before', flush=True); raise SystemExit(1)"
    script = (
        "import os, signal\n"
        "print('started', flush=True)\n"
        "open('starts', 'a').write('x')\n"
        "if os.path.getsize('starts') < 2: os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    command = [sys.executable, "-I", restarter.__file__, *python, before, "--", *python, script]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if "SIGSEGV" not in line] == ["before", "started"] * 2


@pytest.mark.parametrize(("end", "status"), [("raise SystemExit(3)", 3), ("os.kill(os.getpid(), 9)", 137)])
def test_every_other_end_is_the_end(end: str, status: int, tmp_path: Path) -> None:
    with kept(f"import os\nopen('starts', 'a').write('x')\n{end}", tmp_path) as process:
        assert process.wait(60) == status
    assert (tmp_path / "starts").read_text() == "x"


def test_a_signal_to_stop_is_passed_on(tmp_path: Path) -> None:
    script = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    with kept(script, tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(60) == 5
