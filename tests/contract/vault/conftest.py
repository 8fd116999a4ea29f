"""Vault for the contract suites: the stand-in as a process of its own, and a real server when one is installed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac import exceptions as vault_errors
from pydantic import SecretStr
from requests import exceptions as http_errors

from softman.adapters.vault_setup import VaultSetup, set_up_vault
from softman.settings import VaultCredential, VaultSettings

START_SECONDS = 120.0
POLICY = """
# what the tests of this module may do
path "{mount}/data/open/*" {{ capabilities = ["create", "read", "update", "delete"] }}
path "{mount}/metadata/open/*" {{ capabilities = ["list"] }} // folders
path "{mount}/data/open/closed/*" {{ capabilities = ["deny"] }}
path "{mount}/data/+/shared" {{ capabilities = ["read"] }}
path "{mount}/data/append/*" {{ capabilities = ["create"] }}
"""
"""What ``limited`` may do."""
REAL_PROGRAM = shutil.which("bao") or shutil.which("vault")
NO_REAL_SERVER = "neither bao nor vault is on the PATH: only the stand-in was tested"


def wait_until(condition: Callable[[], bool], what: str, seconds: float = START_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


@pytest.fixture(scope="session")
def wait() -> Callable[..., None]:
    """Wait for a condition with a deadline."""
    return wait_until


@dataclass(frozen=True)
class Server:
    """A running server and what opens it."""

    address: str
    root_token: str
    unseal_key: str

    def settings(self, **changes: object) -> VaultSettings:
        return VaultSettings.model_validate({"address": self.address, **changes})

    def set_up(self, settings: VaultSettings) -> VaultSettings:
        """Settings with the credentials of a fresh set-up."""
        return with_access(settings, set_up_vault(settings, SecretStr(self.root_token)))


def with_access(settings: VaultSettings, setup: VaultSetup) -> VaultSettings:
    found = {
        access.role: VaultCredential(role_id=access.role_id, secret_id=access.secret_id) for access in setup.access
    }
    return settings.model_copy(update={role.value: each for role, each in found.items()})


class StandInProcess:
    """The stand-in's command line in a directory; stopped by pid."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0) -> Server:
        files = {name: self.directory / name for name in ("state", "root-token", "unseal-key", "ready")}
        files["ready"].unlink(missing_ok=True)
        command = [sys.executable, "-m", "softman.standalone.vault_standin", "--port", str(port)]
        command += ["--state", str(files["state"]), "--root-token-file", str(files["root-token"])]
        command += ["--unseal-key-file", str(files["unseal-key"]), "--ready-file", str(files["ready"])]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        process = self.process
        wait_until(lambda: files["ready"].exists() or process.poll() is not None, "the stand-in is ready")
        assert process.poll() is None, "the stand-in ended"
        address = files["ready"].read_text().split()[-1]
        return Server(address, files["root-token"].read_text().strip(), files["unseal-key"].read_text().strip())

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(timeout=START_SECONDS)
        self.process = None
        return code


@pytest.fixture
def standin_process(tmp_path: Path) -> Iterator[StandInProcess]:
    """A stand-in of its own for one test, not started yet."""
    found = StandInProcess(tmp_path)
    yield found
    found.stop()


def _run_standin(directory: Path) -> Iterator[Server]:
    found = StandInProcess(directory)
    yield found.start()
    assert found.stop() == 0


def _run_real(program: str, directory: Path) -> Iterator[Server]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    log = directory / "server.log"
    command = [program, "server", "-dev", "-dev-root-token-id=root-of-test", f"-dev-listen-address=127.0.0.1:{port}"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        try:
            wait_until(lambda: _answers(address) and "Root Token: " in log.read_text(), f"{program} answers")
            key = re.search(r"Unseal Key: (\S+)", log.read_text())
            assert key is not None
            yield Server(address, "root-of-test", key[1])
        finally:
            process.terminate()
            process.wait(timeout=START_SECONDS)


def _answers(address: str) -> bool:
    client: Any = hvac.Client(address, token="")
    try:
        return not client.sys.is_sealed()
    except (http_errors.RequestException, vault_errors.VaultError):
        return False
    finally:
        client.adapter.close()


@pytest.fixture(scope="session")
def standin_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The stand-in, one for the session."""
    yield from _run_standin(tmp_path_factory.mktemp("standin"))


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A bao or vault in dev mode, one for the session."""
    if REAL_PROGRAM is None:
        pytest.skip(NO_REAL_SERVER)
    yield from _run_real(REAL_PROGRAM, tmp_path_factory.mktemp("real"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever uses ``server`` or ``world`` runs on each server there is; without a real one, one test says so."""
    servers = ["standin_server", *(["real_server"] if REAL_PROGRAM else [])]
    if "world" in metafunc.fixturenames:
        metafunc.parametrize("world", ["memory", *servers], indirect=True)
    elif "server" in metafunc.fixturenames:
        metafunc.parametrize("server", servers, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    """The server this test runs on."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Server)
    return found


@pytest.fixture
def connect() -> Iterator[Callable[..., hvac.Client]]:
    """Make clients that are closed after the test."""
    made: list[hvac.Client] = []

    def make(address: str, token: str) -> hvac.Client:
        made.append(hvac.Client(address, token=token, timeout=60))
        return made[-1]

    yield make
    for client in made:
        client.adapter.close()


@pytest.fixture
def root(server: Server, connect: Callable[..., hvac.Client]) -> hvac.Client:
    """A client that may do everything."""
    return connect(server.address, server.root_token)


@pytest.fixture
def mount(root: hvac.Client, unique: str) -> str:
    """A KV version 2 mount of this test."""
    root.sys.enable_secrets_engine("kv", path=unique, options={"version": "2"})

    def ready() -> bool:
        try:
            root.secrets.kv.v2.read_configuration(mount_point=unique)
        except vault_errors.InvalidRequest:
            return False
        return True

    wait_until(ready, "the mount is prepared")
    return unique


@pytest.fixture
def approle(root: hvac.Client, unique: str) -> str:
    """An AppRole method of this test."""
    root.sys.enable_auth_method("approle", path=f"ar-{unique}")
    return f"ar-{unique}"


@pytest.fixture
def limited(root: hvac.Client, server: Server, mount: str, connect: Callable[..., hvac.Client]) -> hvac.Client:
    """A client whose token has ``POLICY`` only."""
    root.sys.create_or_update_acl_policy(f"p-{mount}", POLICY.format(mount=mount))
    made = root.auth.token.create(policies=[f"p-{mount}"], ttl="10m")
    return connect(server.address, made["auth"]["client_token"])
