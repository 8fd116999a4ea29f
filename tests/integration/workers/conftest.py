"""Real workers on the real broker: the bench has a clean set of queues, worker processes, and what they write down."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from kombu import Connection

from softman.errors import ServiceUnavailable
from softman.settings import Settings, load_settings
from softman.standalone.process import base_environment, wait_until
from softman.standalone.stack import Stack
from softman.tasks.catalogue import DEAD, EVENTS, TASK_QUEUES
from softman.tasks.client import client_app
from softman.tasks.queues import declare_all

ROOT = Path(__file__).resolve().parents[3]
SECONDS = 120.0
"""Longest wait for anything: far above what is usual, because machines are busy."""
PROBES = Path(__file__).with_name("probes")


@dataclass(slots=True)
class Worker:
    """A process of Celery."""

    process: subprocess.Popen[bytes]
    log: Path
    name: str = ""

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """End it, and the children it has, as a crash of the host would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """Ask it to finish."""
        self.process.terminate()
        return self.process.wait(SECONDS)


@dataclass(slots=True)
class Bench:
    """What the tests of this folder work with."""

    stack: Stack
    settings: Settings
    client: Celery[Any]
    connection: Connection
    directory: Path
    workers: list[Worker] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Of a process on the stack; probes write into ``PROBE_DIR``."""
        return {
            **base_environment(),
            "SOFTMAN_BROKER_URL": self.stack.amqp_url,
            "SOFTMAN_REDIS_URL": self.stack.redis_url,
            "SOFTMAN_DOMAIN": self.stack.domain,
            "SOFTMAN_STATE_DIR": str(self.directory / "state"),
            "PROBE_DIR": str(self.directory),
            "TMPDIR": str(self.directory),  # what a killed worker leaves goes with the test
            "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(PROBES), str(ROOT)]),
            "PYTHONUNBUFFERED": "1",
        }

    def spawn(self, *arguments: str, **variables: str) -> Worker:
        """Start ``celery ARGUMENTS``."""
        log = self.directory / f"process{len(self.workers)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", *arguments],
                env={**self.environment, **variables},
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        return worker

    def worker(self, module: str, *options: str, **variables: str) -> Worker:
        """Start ``celery -A MODULE worker OPTIONS`` and wait until it answers."""
        name = f"w{len(self.workers)}-{time.monotonic_ns()}@test"
        worker = self.spawn("-A", module, "worker", "-n", name, *options, **variables)
        worker.name = name
        self.wait(
            lambda: bool(self.client.control.ping(destination=[name], timeout=0.5)),
            f"{module} answers",
            still_possible=worker.alive,
        )
        return worker

    def celery(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``celery ARGUMENTS`` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "celery", *arguments],
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def wait(
        self,
        condition: Callable[[], bool],
        what: str,
        *,
        seconds: float = SECONDS,
        still_possible: Callable[[], bool] = lambda: True,
    ) -> None:
        """Wait for a condition; what the workers logged is shown when it does not come true."""
        try:
            wait_until(condition, what, seconds=seconds, still_possible=still_possible)
        except ServiceUnavailable as exc:
            for worker in self.workers:
                exc.add_note(f"the end of {worker.log.name}:\n{worker.text()[-4000:]}")
            raise

    def kill_broker(self) -> None:
        """Kill the broker and start it again, when it keeps all queues.

        A quorum queue declared less than half a second before a kill does not come back (RabbitMQ 3.10 writes the table
        of its members that late), so this waits for the table.
        """
        rabbitmq = self.stack.rabbitmq
        listed = json.loads(rabbitmq.ctl("list_queues", "name", "type", "--formatter=json"))
        queues = [row["name"].encode() for row in listed if row["type"] == "quorum"]
        [table] = rabbitmq.home.glob("mnesia/*/quorum/*/names.dets")
        self.wait(lambda: all(queue in table.read_bytes() for queue in queues), "all queues are on disk")
        rabbitmq.kill()
        rabbitmq.start()
        self.connection.collect()

    def notes(self, label: str) -> list[str]:
        """What probes wrote down under a label: the rest of each line."""
        path = self.directory / "notes"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [line.removeprefix(f"{label} ") for line in lines if line.startswith(f"{label} ")]

    def depth(self, queue: str) -> int:
        """Messages ready in a queue."""
        channel: Any = self.connection.default_channel
        return int(channel.queue_declare(queue, passive=True).message_count)

    def take(self, queue: str) -> list[Any]:
        """Take all messages out of a queue."""
        channel: Any = self.connection.default_channel
        found = []
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(message)
        return found

    def publish(self, body: bytes, **options: Any) -> None:
        """Publish a raw message, confirmed."""
        with self.client.producer_pool.acquire() as producer:
            producer.publish(body, delivery_mode=2, **options)


@pytest.fixture
def bench(stack: Stack, tmp_path: Path) -> Iterator[Bench]:
    """A bench with declared, empty queues; its processes are ended after the test."""
    settings = load_settings(broker_url=stack.amqp_url, redis_url=stack.redis_url, domain=stack.domain)
    app = client_app(settings)
    with app.connection_for_write() as connection:
        declare_all(connection)
    with app.connection_for_write() as connection:
        channel: Any = connection.default_channel
        for queue in (*TASK_QUEUES, EVENTS, DEAD):
            channel.queue_purge(queue)
        found = Bench(stack, settings, app, connection, tmp_path)
        yield found
        for worker in found.workers:
            if worker.alive():
                worker.kill()
    app.close()
