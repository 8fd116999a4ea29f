"""Keys on real parts: replaced while files are published, seen by nobody else, and every step recorded."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import pytest

from softman import wiring
from softman.adapters.redis_client import redis_client
from softman.adapters.vault_layout import Role
from softman.cli.backend import ServiceBackend
from softman.cli.main import run
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store.http import HttpStore
from softman.names import Kind, Owner, RepositoryName
from tests.support.site import Site

_LARGEST = 256 * 1024**2
OWNER = "keys-owner"
Softman = Callable[..., str]


@dataclass
class Secrets:
    """Every secret that a repository ever had, gathered from the vault as its stratum 0."""

    site: Site
    name: RepositoryName
    found: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._vault = wiring._vault(self.site.settings, Role.STRATUM0)[0]
        self.owner = Owner(self.name.label, self.name.label, Kind.PERSONAL, None)

    def look(self) -> dict[str, str]:
        values = self._vault.read_signing(self.name, fresh=True)
        master = self._vault.read_master(f"repository/{self.name}")
        assert values is not None
        assert master is not None
        assert "masterKey" not in values
        for part in ("privateKey", "nextPrivateKey", "masterKey", "nextMasterKey"):
            for where in (values, master):
                if part in where:  # a line from within, since a log or JSON may break lines otherwise
                    line = where[part].splitlines()[5].encode()
                    self.found[f"{part} {line[:6]!r}"] = line
        for part in ("gatewayKey", "formerGatewayKey"):
            if part in values:
                self.found[f"{part} {GatewayKey.parse(values[part]).key_id}"] = GatewayKey.parse(
                    values[part]
                ).secret.encode()
        return values

    def owned(self) -> dict[str, str]:
        return self._vault.read_owner_keys(self.owner, self.name, fresh=True) or {}

    def in_bytes(self, data: bytes) -> list[str]:
        return [what for what, secret in self.found.items() if secret in data]


@pytest.fixture(scope="module")
def name(site: Site) -> RepositoryName:
    return site.provision(OWNER)


@pytest.fixture
def softman(site: Site, capsys: pytest.CaptureFixture[str]) -> Softman:
    """Run one command; what it prints."""

    def call(*arguments: str) -> str:
        code = run(list(arguments), ServiceBackend(site.settings))
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return call


def test_keys_are_replaced_while_files_are_published(site: Site, name: RepositoryName, softman: Softman) -> None:
    secrets, bucket = Secrets(site, name), site.bucket(OWNER)
    files: dict[str, bytes] = {}

    def put(number: int) -> None:
        bucket.put(f"f{number}", b"%d" % number)
        files[f"/f{number}"] = b"%d" % number

    put(0)
    site.shows(name, files)
    before = secrets.look()
    steps = (
        ("rotate", "gateway-key", OWNER),
        ("rotate", "certificate", OWNER, "--revoke"),
        ("rotate", "master-key", OWNER),
        ("rotate", "master-key", OWNER, "--switch"),
    )
    first = secrets.owned()
    for number, step in enumerate(steps, start=1):
        put(10 * number)
        softman(*step)
        put(10 * number + 1)
        secrets.look()
        if step[1] == "certificate":
            site.wait(lambda: "nextPrivateKey" not in secrets.look(), "the new certificate signs")
    site.wait(lambda: "nextPublicKey" not in secrets.owned(), "the new master key signs")
    # What everybody reads is written after what the owner reads; and this process, too, knows keys for a minute.
    vault = wiring._vault(site.settings, Role.DASHBOARD)[0]
    site.wait(
        lambda: (vault.read_public_keys(name, fresh=True) or {}).get("publicKey") == secrets.owned()["publicKey"],
        "everybody reads the new public key",
    )
    put(100)
    site.shows(name, files)
    after, last = secrets.look(), secrets.owned()
    assert not {before["privateKey"], before["gatewayKey"]} & {after["privateKey"], after["gatewayKey"]}
    assert all(first[part] != last[part] for part in ("publicKey", "certificateKey", "gatewayKey"))
    assert last["publicKey"].strip() in softman("key", OWNER)
    with pytest.raises(CvmfsError):
        _reader(site, name, first["publicKey"]).manifest()
    _is_recorded(softman)
    _is_nowhere(site, secrets)


def _reader(site: Site, name: RepositoryName, public_key: str) -> RepositoryReader:
    store = HttpStore([f"{site.settings.cvmfs.url}/{name}"])
    return RepositoryReader(store, str(name), [public_key.encode()], now=lambda: datetime.now(UTC))


def _is_recorded(softman: Softman) -> None:
    """The audit log has every step, who asked and from where."""
    printed = softman("audit", "--repository", OWNER, "--json").splitlines()
    events = [json.loads(line) for line in printed if line.startswith("{")]
    found = {(event["action"], event["outcome"]) for event in events}
    assert found >= {
        ("provision", "done"),
        ("create repository", "done"),
        ("publish keys", "done"),
        ("commit", "done"),
        ("rotate gateway-key", "done"),
        ("rotate certificate", "begun"),
        ("rotate certificate", "done"),
        ("rotate master-key", "done"),
    }
    asked = [event for event in events if event["action"].startswith("rotate")]
    assert {event["requested_by"] for event in asked} == {getuser()}, "also of what went on by itself"
    assert all("@" in event["origin"] and event["task"] for event in asked)


def _is_nowhere(site: Site, secrets: Secrets) -> None:
    """No secret is outside of the vault: in files of logs, messages and scratch, in Redis, in processes."""
    directory = site.stack.directory
    vault = {path for path in directory.iterdir() if path.name.startswith("vault")}
    assert vault, "the one place where they may be"
    key_id = GatewayKey.parse(secrets.owned()["gatewayKey"]).key_id.encode()
    controls = 0
    for path in _files(directory, vault):
        data = path.read_bytes()
        controls += key_id in data
        assert secrets.in_bytes(data) == [], path
    assert controls, "the search finds what is in messages and logs"
    for path in [*(directory / "state" / "audit").iterdir(), directory / "state" / "audit"]:
        assert not path.stat().st_mode & 0o077, path
    for path in Path(gettempdir()).glob("softman-*"):
        if path.is_file():
            assert secrets.in_bytes(path.read_bytes()) == [], path
    assert secrets.in_bytes(_redis(site)) == []
    for process in Path("/proc").glob("[0-9]*"):
        for part in ("cmdline", "environ"):
            with suppress(OSError):  # it ended meanwhile, or is somebody else's
                assert secrets.in_bytes((process / part).read_bytes()) == [], process


def _files(directory: Path, but: set[Path]) -> Iterator[Path]:
    for path in directory.iterdir():
        if path in but or path.is_symlink():
            continue
        if path.is_dir():
            with suppress(FileNotFoundError):
                yield from _files(path, but)
        elif path.is_file() and path.stat().st_size < _LARGEST:
            yield path


def _redis(site: Site) -> bytes:
    """All keys and values."""
    client: Any = redis_client(site.settings.redis_url.get_secret_value())
    reads = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1),
        "stream": client.xrange,
        "none": lambda _key: b"",
    }
    found = []
    for key in client.scan_iter():
        kind = client.type(key)
        found.append(repr((key, reads[kind.decode() if isinstance(kind, bytes) else kind](key))))
    assert found
    return "".join(found).encode()
