"""A running site as its users and admins meet it: the embedded stack with all workers."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil
from celery import Celery
from kombu import Connection

from softman import wiring
from softman.adapters.s3_client import S3Access
from softman.cli.demo.bucket import UserBucket
from softman.cli.demo.canary import Canary
from softman.cvmfs.reader import RepositoryReader
from softman.model import Link, LinkState, RepositoryStatus
from softman.names import RepositoryName
from softman.services.status import Status
from softman.standalone.process import base_environment, wait_until
from softman.standalone.processes import WORKERS
from softman.standalone.stack import Stack
from softman.tasks.catalogue import DEAD, EVENTS, PROVISION, PUBLIC_EXCHANGE
from softman.tasks.queues import REASON_HEADER
from tests.support.patience import SECONDS, has_come, patiently
from tests.support.trees import Nodes, content_of, in_repository

SETTINGS = {
    "SYNC__LEASE_SECONDS": "10",
    "SYNC__COMMIT_TIMEOUT": "15",
    "DRAIN_SECONDS": "5",
    "RECONCILE_SECONDS": "1000000",
    "DASHBOARD__READS_PER_MINUTE": "1000000",
}
"""Of the site of the tests: what a killed process leaves is noticed sooner. Reconciliation is asked for where it is
wanted; by the clock, it would publish what tests do behind the workers' backs.
Tests ask the dashboard more often than people do."""


@dataclass
class Site:
    """One running stack with workers."""

    stack: Stack

    def __post_init__(self) -> None:
        self.settings = self.stack.settings()
        self.other = Celery("another dashboard", broker=self.stack.broker_url("client"), set_as_current=False)
        self.other.conf.update(task_default_exchange=PUBLIC_EXCHANGE, task_default_exchange_type="topic")

    @property
    def status(self) -> Status:
        return wiring.status(self.settings)

    def wake_topic(self, *, wait: bool = True) -> None:
        """Make the object store's topic, which delivers half a minute after the store's start (decision 20)."""
        with Canary(self.stack) as canary:
            canary.send()
            if wait:
                canary.wait()

    def ask(self, user: str, *more: object) -> RepositoryName:
        """Ask for a repository as another system would: a bare Celery client that declares nothing."""
        self.other.send_task(
            PROVISION.name,
            args=(user, user, *more),
            exchange=PUBLIC_EXCHANGE,
            routing_key=PROVISION.name,
            declare=[],
            ignore_result=True,
        )
        return RepositoryName(str(more[1]) if len(more) > 1 else user, self.settings.domain)

    def provision(self, user: str) -> RepositoryName:
        """Make the user, ask, and wait until every link is done."""
        self.stack.create_s3_user(user)
        name = self.ask(user)
        self.wait(lambda: self.link_states(name) == {LinkState.DONE}, f"{name} is provisioned")
        return name

    def link_states(self, name: RepositoryName) -> set[LinkState]:
        links = wiring.records(self.settings).links(name)
        return {progress.state for progress in links} if len(links) == len(Link) else set()

    def described(self, name: RepositoryName) -> RepositoryStatus:
        return self.status.repository(name)

    def bucket(self, user: str, name: str | None = None) -> UserBucket:
        return UserBucket(self._access(user), name or user)

    def access(self, name: RepositoryName) -> S3Access:
        """The object store with the keys of a repository's owner."""
        return self._access(name.bucket)

    def _access(self, user: str) -> S3Access:
        keys, s3 = self.stack.s3_credentials(user), self.settings.s3
        return S3Access(s3.endpoint, keys.access_key, keys.secret_key, s3.region)

    def reader(self, name: RepositoryName) -> RepositoryReader:
        return wiring.reader(self.settings, name)

    def shown(self, name: RepositoryName) -> dict[str, bytes]:
        """Every file with its content, over HTTP, verified."""
        return patiently(lambda: self._shown(name))

    def _shown(self, name: RepositoryName) -> dict[str, bytes]:
        with self.reader(name).snapshot() as snapshot:
            return {
                entry.path.decode(): b"".join(snapshot.read_entry(entry)) for entry in snapshot.walk() if entry.is_file
            }

    def nodes(self, name: RepositoryName) -> Nodes:
        """Everything, over HTTP, verified."""
        return in_repository(self.reader(name))

    def shows_nodes(self, name: RepositoryName, nodes: Nodes) -> None:
        """Wait until the repository shows exactly these, whatever their modes and times."""
        self.wait(lambda: content_of(self.nodes(name)) == nodes, f"{name} shows {nodes}")

    def shows(self, name: RepositoryName, files: dict[str, bytes]) -> None:
        """Wait until the repository shows exactly these files."""
        self.wait(lambda: self.shown(name) == files, f"{name} shows {len(files)} files")

    def wait(self, condition: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
        wait_until(lambda: has_come(condition), what, seconds=seconds)

    def kill_worker(self, name: str) -> int:
        """``kill -9`` of a worker's main process; the pid it had."""
        identity = self.stack.processes.identity(WORKERS + name)
        assert identity is not None
        os.kill(identity.pid, signal.SIGKILL)
        return identity.pid

    def worker_pid(self, name: str) -> int | None:
        identity = self.stack.processes.identity(WORKERS + name)
        return None if identity is None or not identity.alive() else identity.pid

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """A worker that does nothing, with all its processes: as if work without end had all its slots."""
        pid = self.worker_pid(name)
        assert pid is not None
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            yield
        finally:
            for process in family:
                process.resume()

    def notify(self, body: bytes) -> None:
        """Publish what an object store would, byte for byte."""
        with Connection(self.stack.amqp_url) as connection, connection.Producer() as producer:
            producer.publish(body, exchange=EVENTS, routing_key="softman", content_type="", content_encoding="binary")

    def dead_letters(self) -> list[tuple[bytes, str]]:
        """Take all dead letters: body and reason."""
        found: list[tuple[bytes, str]] = []
        with Connection(self.stack.amqp_url) as connection:
            channel: Any = connection.channel()
            while (message := channel.basic_get(DEAD)) is not None:
                raw = message.body.encode() if isinstance(message.body, str) else bytes(message.body)
                found.append((raw, str(message.headers.get(REASON_HEADER, ""))))
                channel.basic_ack(message.delivery_info["delivery_tag"])
        return found

    def celery(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The Celery command line as an admin runs it."""
        return subprocess.run(
            [sys.executable, "-m", "celery", "-A", "softman.app", *arguments],
            env={**base_environment(), **self.stack.environment(), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
