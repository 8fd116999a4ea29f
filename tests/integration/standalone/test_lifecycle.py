"""Starting and stopping stacks: two at once, failures, restarts, ordinary users, long paths."""

import json
import os
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from softman.errors import Busy, NotFound, ServiceUnavailable
from softman.standalone.ports import PortHold, is_taken
from softman.standalone.process import ProcessTable
from softman.standalone.redis import RedisServer
from softman.standalone.server import Facts, Place
from softman.standalone.stack import Options, Stack

Leftovers = Callable[[Path], list[str]]
START = """\
import json, sys
from pathlib import Path
from softman.standalone.stack import Stack

stack = Stack.start(Path(sys.argv[1]))
print(json.dumps({"down": stack.down(), "amqp": stack.amqp_url, "s3": stack.s3_endpoint}))
sys.stdout.flush()
if sys.argv[2] == "stop":
    stack.stop(purge=True)
else:
    stack.detach()
"""

pytestmark = pytest.mark.usefixtures("stack_packages")


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_two_stacks_start_at_the_same_time_and_leave_nothing(processes_of: Leftovers) -> None:
    directories = [Path(tempfile.mkdtemp(prefix="softman-two-")) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        stacks = list(pool.map(Stack.start, directories))
    try:
        assert [stack.down() for stack in stacks] == [[], []]
        ports = [port for stack in stacks for server in stack.servers.values() for port in server.facts.ports.values()]
        assert len(set(ports)) == len(ports)
        assert stacks[0].s3_credentials("alice") != stacks[1].s3_credentials("alice")
        stacks[0].stop(purge=True)
        assert stacks[1].down() == []
        assert processes_of(directories[0]) == []
    finally:
        for stack in stacks:
            if stack.directory.exists():
                stack.stop(purge=True)
    assert not any(directory.exists() for directory in directories)
    assert processes_of(directories[1]) == []


@pytest.mark.parametrize("program", ["redis-server", "radosgw", "epmd"])
def test_a_failed_start_says_why_and_leaves_nothing(
    program: str, short_directory: Path, monkeypatch: pytest.MonkeyPatch, processes_of: Leftovers
) -> None:
    (short_directory / "bin").mkdir()
    _program(short_directory / "bin" / program, "#!/bin/sh\necho broken on purpose\nexit 3\n")
    monkeypatch.setenv("PATH", f"{short_directory / 'bin'}{os.pathsep}{os.environ['PATH']}")
    place = short_directory / "stack"
    with pytest.raises(ServiceUnavailable, match="did not start") as caught:
        Stack.start(place)
    assert "broken on purpose" in str(caught.value)
    assert processes_of(place) == []
    assert list(place.glob("pids/*")) == []
    assert not (place / "run").exists()


def test_a_failed_start_removes_the_directory_it_made(short_directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (short_directory / "bin").mkdir()
    (short_directory / "tmp").mkdir()
    _program(short_directory / "bin" / "nginx", "#!/bin/sh\nexit 3\n")
    monkeypatch.setenv("PATH", f"{short_directory / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(tempfile, "tempdir", str(short_directory / "tmp"))
    with pytest.raises(ServiceUnavailable, match="nginx did not start"):
        Stack.start()
    assert list((short_directory / "tmp").iterdir()) == []


def test_a_stack_outlives_its_starter_and_starts_again_empty(short_directory: Path, processes_of: Leftovers) -> None:
    place = short_directory / "stack"
    started = subprocess.run(
        [sys.executable, "-c", START, str(place), "keep"], capture_output=True, text=True, check=True, timeout=300
    )
    first = Stack.attach(place)
    assert json.loads(started.stdout) == {"down": [], "amqp": first.amqp_url, "s3": first.s3_endpoint}
    with pytest.raises(Busy, match=r"runs in .* already"):
        Stack.start(place)
    assert first.down() == []
    (first.repositories_dir / "repository").touch()
    first.stop()
    assert processes_of(place) == []
    assert not (place / "pids").exists()
    assert not (place / "run").exists()
    assert set(first.down()) == set(first.servers)
    with Stack.start(place, options=Options(users=())) as second:
        assert second.down() == []
        assert list(second.repositories_dir.iterdir()) == []
        assert second.vault_role("stratum0") != first.vault_role("stratum0")
        assert (place / "log").is_dir()
        with pytest.raises(NotFound):
            second.s3_credentials("alice")
    assert not place.exists()


def test_a_long_path_is_possible(short_directory: Path, processes_of: Leftovers) -> None:
    place = short_directory / ("long" * 30)
    with Stack.start(place) as stack:
        assert stack.down() == []
        sockets = Path(json.loads((place / "env.json").read_text())["sockets"])
        assert not sockets.is_relative_to(place)
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not place.exists()
    assert not sockets.exists()
    assert processes_of(place) == []


def test_a_port_that_was_taken_meanwhile_is_replaced(short_directory: Path) -> None:
    holder, ports = PortHold(), PortHold()
    taken = holder.take()
    table = ProcessTable(short_directory, os.urandom(8).hex())
    server = RedisServer(
        Place(short_directory, short_directory, table, ports),
        Facts({"redis": taken}, dict.fromkeys(RedisServer.secret_names, "p")),
    )
    try:
        with pytest.raises(ServiceUnavailable, match=r"(?s)redis did not start.*in use"):
            server.start()
        server.start_anywhere()
        assert server.alive()
        assert server.facts.ports["redis"] != taken
    finally:
        server.kill()
        holder.close()
        ports.close()
    assert not is_taken(taken)


def _as_nobody(*command: str, directory: Path, python_path: str) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": python_path, "HOME": str(directory)}
    # setpriv itself still has root's rights when it starts the program, so a shell in between is asked to.
    drop = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'exec "$@"', "sh"]
    return subprocess.run(
        [*drop, *command], env=environment, cwd=directory, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; the other tests ran as one")
def test_an_ordinary_user_can_start_it(short_directory: Path) -> None:
    os.chown(short_directory, 65534, 65534)
    source = str(Path(__file__).parents[3])
    path = os.pathsep.join([source, sysconfig.get_paths()["purelib"]])
    for python in (sys.executable, "/usr/bin/python3"):
        probe = "import softman.standalone.stack"
        if _as_nobody(python, "-c", probe, directory=short_directory, python_path=path).returncode == 0:
            break
    else:
        pytest.skip("no Python that an ordinary user may run finds softman here (the virtual environment is root's)")
    place = short_directory / "stack"
    done = _as_nobody(python, "-c", START, str(place), "stop", directory=short_directory, python_path=path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["down"] == []
    assert list(short_directory.iterdir()) == []
