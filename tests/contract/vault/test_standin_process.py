"""The stand-in as a program: its command line, what it keeps over a restart, and where it listens."""

import concurrent.futures
import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hvac
import psutil
import pytest
import requests
from hvac import exceptions as vault_errors

from softman.adapters.vault_layout import Role
from softman.adapters.vault_session import VaultSession

Connect = Callable[[str, str], hvac.Client]
COMMAND = [sys.executable, "-m", "softman.standalone.vault_standin"]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_everything_is_kept_over_a_restart(standin_process: Any, connect: Connect, number: int) -> None:
    server = standin_process.start()
    settings = server.set_up(server.settings())
    session = VaultSession(settings, Role.STRATUM0)
    try:
        session.write("softman", "public/a", {"n": 1}, base=0, what="a")
        session.write("softman", "public/a", {"n": 2}, base=1, what="a")
        token = session._client.token
        standin_process.stop(number)
        again = standin_process.start(_port(server.address))
        assert again == server
        assert session.read("softman", "public/a", "a").values == {"n": 2}
        assert session._client.token == token, "the login is still good"
    finally:
        session.close()
    root: Any = connect(again.address, again.root_token)
    old = root.secrets.kv.v2.read_secret_version("public/a", 1, mount_point="softman", raise_on_deleted_version=True)
    assert old["data"]["data"] == {"n": 1}
    assert server.set_up(settings).stratum0.role_id == settings.stratum0.role_id


def test_no_acknowledged_write_is_lost_by_kill(
    standin_process: Any, connect: Connect, wait: Callable[..., None]
) -> None:
    server = standin_process.start()
    root: Any = connect(server.address, server.root_token)
    root.sys.enable_secrets_engine("kv", path="kv", options={"version": "2"})
    acknowledged: list[int] = []

    def write() -> None:
        for number in range(100_000):
            try:
                root.secrets.kv.v2.create_or_update_secret(f"n/{number}", {}, mount_point="kv")
            except requests.exceptions.RequestException:
                return
            acknowledged.append(number)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        wait(lambda: len(acknowledged) >= 40 or writing.done(), "some writes are acknowledged")
        assert not writing.done()
        standin_process.stop(signal.SIGKILL)
    again = standin_process.start()
    kept = connect(again.address, again.root_token).secrets.kv.v2.list_secrets("n", mount_point="kv")["data"]["keys"]
    assert set(map(str, acknowledged)) <= set(kept)


def test_files_are_private_and_hold_no_tokens(standin_process: Any) -> None:
    server = standin_process.start()
    settings = server.set_up(server.settings())
    for name in ("state", "root-token", "unseal-key", "ready"):
        assert stat.S_IMODE((standin_process.directory / name).stat().st_mode) == 0o600, name
    text = (standin_process.directory / "state").read_text()
    assert server.root_token not in text
    assert settings.stratum0.secret_id.get_secret_value() not in text


def test_it_listens_on_loopback_only(standin_process: Any) -> None:
    standin_process.start()
    connections = psutil.Process(standin_process.process.pid).net_connections()
    listening = {found.laddr.ip for found in connections if found.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}


def test_a_root_token_can_be_given(standin_process: Any, connect: Connect) -> None:
    (standin_process.directory / "root-token").write_text("chosen\n")
    server = standin_process.start()
    assert server.root_token == "chosen"
    assert connect(server.address, "chosen").auth.token.lookup_self()["data"]["policies"] == ["root"]


def test_the_ready_line_and_the_exit_code(tmp_path: Path) -> None:
    command = [*COMMAND, "--port", "0", "--root-token-file", str(tmp_path / "root-token")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("vault-standin ready http://127.0.0.1:")
        assert requests.get(f"{line.split()[-1]}/v1/sys/health", timeout=60).json()["version"].endswith("standin")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [*COMMAND, "--port", str(taken.getsockname()[1]), "--state", str(tmp_path / "state")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("vault-standin cannot start:")


@pytest.mark.parametrize("text", ["", "{", '{"schema": 9, "state": {}}', '{"schema": 1, "state": {"mounts": 3}}'])
def test_a_state_that_cannot_be_read_is_said_and_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    command = [*COMMAND, "--port", "0", "--state", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "vault-standin cannot start: the state" in done.stderr
    assert (tmp_path / "state").read_text() == text


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /v1/../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET /elsewhere HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"POST /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 400),
        (b"POST /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /v1/sys/unseal HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]", 400),
        (b"PATCH /v1/sys/unseal HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_odd_requests_get_an_answer(standin_server: Any, raw: bytes, status: int) -> None:
    with socket.create_connection(("127.0.0.1", _port(standin_server.address)), timeout=60) as connection:
        connection.sendall(raw)
        answer = connection.recv(65536)
    assert f" {status} ".encode() in answer.partition(b"\r\n")[0]


def test_what_the_standin_does_not_know_it_refuses(standin_server: Any, connect: Connect) -> None:
    root: Any = connect(standin_server.address, standin_server.root_token)
    calls: tuple[Callable[[], object], ...] = (
        lambda: root.sys.enable_secrets_engine("kv", path="old", options={"version": "1"}),
        lambda: root.sys.enable_secrets_engine("transit", path="transit"),
        lambda: root.sys.enable_auth_method("userpass", path="userpass"),
        lambda: root.sys.create_or_update_acl_policy("x", 'path "x/{{identity.entity.id}}" {}'),
        lambda: root.sys.create_or_update_acl_policy("x", 'path "x" { policy = "write" }'),
    )
    for call in calls:
        with pytest.raises(vault_errors.InvalidRequest):
            call()


def test_the_state_is_json_of_one_schema_and_nothing_half_written_stays(standin_process: Any) -> None:
    standin_process.start()
    document = json.loads((standin_process.directory / "state").read_text())
    assert document["schema"] == 1
    assert [path for path in standin_process.directory.iterdir() if path.name.startswith(".")] == []
