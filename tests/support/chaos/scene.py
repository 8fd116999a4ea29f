"""Where a storm takes place: servers, own processes, and what stands between them."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import psutil

from softman import wiring
from softman.adapters.s3_client import S3Access
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store.http import HttpStore
from softman.model import LinkState
from softman.names import RepositoryName
from softman.standalone.process import Identity
from softman.standalone.record import load_record
from softman.standalone.stack import Options, Stack
from tests.support.chaos.load import User
from tests.support.chaos.proxy import Proxy
from tests.support.site import Site

LEASE_SECONDS = 4.0
RECONCILE_SECONDS = 20.0
_SETTINGS = {
    "SYNC__LEASE_SECONDS": str(LEASE_SECONDS),
    "RECONCILE_SECONDS": str(RECONCILE_SECONDS),
    "SYNC__COMMIT_TIMEOUT": "30",
}
_PORTS = {"redis": "redis", "rabbitmq": "amqp", "rgw": "s3", "vault": "http"}
_DISK = "size=96m"


@dataclass
class Target:
    """One repository of the storm: its user, and a reader that needs neither vault nor proxy."""

    name: RepositoryName
    user: User
    reader: RepositoryReader
    store: HttpStore
    public_key: bytes


@dataclass
class Scene:
    """What faults are injected into.

    Attributes:
        site: as softman's processes see it.
        servers: the same stack with the servers' own ports.
        proxies: between our processes and a server, by the server's name; none on a borrowed site.
        disk: whether the repositories lie on a small disk of their own.
        random: decides on details of faults.
    """

    site: Site
    servers: Stack
    random: Random
    proxies: dict[str, Proxy] = field(default_factory=dict)
    disk: bool = False
    targets: list[Target] = field(default_factory=list)

    @property
    def lease_seconds(self) -> float:
        return self.site.settings.sync.lease_seconds

    def add_targets(self, labels: list[str], seed: int, pause: float) -> None:
        """Make repositories, each with a user who does not work yet; all at the same time."""
        names = []
        for label in labels:
            self.servers.create_s3_user(label)
            names.append(self.site.ask(label))
        for name in names:
            self.site.wait(lambda name=name: self._is_ready(name), f"{name} is ready")  # type: ignore[misc]
            self.targets.append(self._target(name, seed, pause))

    def _is_ready(self, name: RepositoryName) -> bool:
        return self.site.link_states(name) == {LinkState.DONE}

    def _target(self, name: RepositoryName, seed: int, pause: float) -> Target:
        keys, s3 = self.servers.s3_credentials(name.bucket), self.site.settings.s3
        access = S3Access(self.servers.s3_endpoint, keys.access_key, keys.secret_key, s3.region)
        chance = Random(f"{seed}:{name.bucket}")
        user = User(access, name.bucket, chance, pause, deletes_many=bool(self.proxies))
        store = HttpStore([f"{self.site.settings.cvmfs.url}/{name}"], attempts=1)
        public_key = wiring.public_keys(self.site.settings, name)[0]
        reader = RepositoryReader(store, str(name), [public_key], now=lambda: datetime.now(UTC))
        return Target(name, user, reader, store, public_key)

    def repository(self, target: Target) -> Path:
        """Where a repository is stored."""
        return self.servers.repositories_dir / str(target.name)

    def pid(self, worker: str) -> int | None:
        """The main process of a worker, when it runs."""
        return self.site.worker_pid(worker)

    def members(self, process: str) -> list[Identity]:
        """A process of the table with all its children."""
        identity = self.servers.processes.identity(process)
        if identity is None or not identity.alive():
            return []
        try:
            found = [identity.pid, *(child.pid for child in psutil.Process(identity.pid).children(recursive=True))]
        except psutil.NoSuchProcess:
            return []
        return [each for each in map(Identity.of, found) if each is not None]

    def signal(self, process: str, number: signal.Signals) -> None:
        """Send a signal to a process of the table and its children."""
        for each in self.members(process):
            each.send(number)


def borrowed(site: Site, seed: int) -> Scene:
    """A scene on a site that others use, too: no proxies, no small disk."""
    return Scene(site, site.stack, Random(seed))


@contextmanager
def own_scene(seed: int) -> Iterator[Scene]:
    """A scene of its own: short leases, quick reconciliation, proxies in front of four servers, a small disk."""
    with ExitStack() as exits:
        directory = Path(tempfile.mkdtemp(prefix="softman-storm-"))  # paths of sockets must be short
        options = Options(settings=_SETTINGS)
        servers = exits.enter_context(Stack.start(directory, options=options))
        disk = _mount(servers.repositories_dir)
        if disk:
            exits.callback(_unmount, servers.repositories_dir)
        proxies = {
            name: exits.enter_context(Proxy(servers.server(name).facts.ports[port])) for name, port in _PORTS.items()
        }
        front = _behind(servers, proxies)
        front.start_workers()
        exits.callback(front.stop_workers, grace=0)
        site = Site(front)
        site.wake_topic()
        yield Scene(site, servers, Random(seed), proxies, disk=disk)


def _behind(servers: Stack, proxies: dict[str, Proxy]) -> Stack:
    """The same stack as somebody sees it who knows the proxies' ports only."""
    record = load_record(servers.directory)
    facts = dict(record.facts)
    for name, proxy in proxies.items():
        ports = {**facts[name].ports, _PORTS[name]: proxy.port}
        facts[name] = replace(facts[name], ports=ports)
    replace(record, facts=facts).save(servers.directory)
    return Stack.attach(servers.directory)


def _mount(directory: Path) -> bool:
    """A small disk at ``directory``; False when we may not mount."""
    if os.geteuid() != 0:
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"{_DISK},mode=0700", "tmpfs", str(directory)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _unmount(directory: Path) -> None:
    subprocess.run(["umount", "-l", str(directory)], check=True)
