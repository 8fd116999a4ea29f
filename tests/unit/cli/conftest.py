"""The command line on a service in memory, reading a repository that the stock tools wrote."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from softman.adapters.audit import AuditFiles
from softman.adapters.memory import MemoryRecords
from softman.adapters.memory_clockwork import MemoryClockwork
from softman.adapters.memory_letters import MemoryDeadLetters
from softman.adapters.memory_pending import MemoryPendingKeys
from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.memory_vault import MemoryRegistry
from softman.cli.main import run
from softman.cli.sender import Request
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store.local import LocalStore
from softman.errors import NotFound
from softman.model import AuditEvent, RegistryRecord, State
from softman.names import Owner, RepositoryName
from softman.services.deadletters import DeadLetterOffice
from softman.services.status import Status
from softman.services.whitelists import Whitelists
from softman.settings import Settings
from softman.tasks.catalogue import TaskSpec
from tests.support.archives import unpack

DATA = Path(__file__).parents[2] / "data" / "cvmfs" / "basic"


class DoneRequest(Request):
    """A request that is answered already."""

    def __init__(self, answer: Any = None, *, ready: bool = True) -> None:
        self.task_id = "task-1"
        self._answer = answer
        self._ready = ready

    def ready(self) -> bool:
        return self._ready

    def answer(self) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


@dataclass
class MemoryBackend:
    """A service in memory. ``on_send`` plays the workers."""

    repositories: Path
    clock: datetime
    settings: Settings
    registry: MemoryRegistry = field(default_factory=MemoryRegistry)
    records: MemoryRecords = field(default_factory=MemoryRecords)
    pending: MemoryPendingKeys = field(default_factory=MemoryPendingKeys)
    states: MemoryTurnStates = field(default_factory=MemoryTurnStates)
    clockwork: MemoryClockwork = field(default_factory=MemoryClockwork)
    letters: MemoryDeadLetters = field(default_factory=MemoryDeadLetters)
    sent: list[tuple[str, tuple[object, ...]]] = field(default_factory=list)
    announced: tuple[bytes, ...] = ()
    audit_files: Path = Path("/nonexistent")
    archives: Any = None
    on_send: Callable[[TaskSpec], Request] = lambda _task: DoneRequest()

    def status(self) -> Status:
        return Status(
            self.registry,
            self.records,
            self.pending,
            self.settings.cvmfs.url,
            self.reader,
            states=self.states,
            clockwork=self.clockwork,
        )

    def reader(self, repository: RepositoryName) -> RepositoryReader:
        store = LocalStore(self.repositories / str(repository))
        return RepositoryReader(store, str(repository), self.public_keys(repository), now=self.now)

    def public_keys(self, repository: RepositoryName) -> tuple[bytes, ...]:
        if self.registry.get(repository) is None:
            msg = f"there is no repository {repository}"
            raise NotFound(msg)
        return ((DATA / "keys" / "basic.example.org.pub").read_bytes(), *self.announced)

    def whitelists(self) -> Whitelists:
        raise NotImplementedError

    def porter(self) -> Any:
        return self.archives

    def audit_log(self) -> AuditFiles:
        return AuditFiles(self.audit_files, self.now)

    def audit(self, action: str, repository: RepositoryName, detail: str) -> None:
        self.audit_log().record(AuditEvent(action, "done", str(repository), "tester", "here", detail=detail))

    def send(self, task: TaskSpec, *arguments: object) -> Request:
        self.sent.append((task.name, arguments))
        return self.on_send(task)

    def request(self, task: TaskSpec, task_id: str) -> Request:
        self.sent.append((f"wait for {task_id}", ()))
        return self.on_send(task)

    def dead_letters(self) -> DeadLetterOffice:
        return DeadLetterOffice(self.letters)

    def declare_queues(self) -> None:
        self.sent.append(("declare", ()))

    def now(self) -> datetime:
        return self.clock

    def register(self, label: str) -> RepositoryName:
        name = RepositoryName(label, self.settings.domain)
        self.registry.put(RegistryRecord(name, Owner(label, f"sub-{label}"), State.ACTIVE))
        return name


@pytest.fixture(scope="session")
def truth() -> dict[str, Any]:
    """What the stock client showed."""
    content: dict[str, Any] = json.loads(gzip.decompress((DATA / "truth.json.gz").read_bytes()))
    return content


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the repository basic.example.org."""
    directory = tmp_path_factory.mktemp("repositories")
    unpack(DATA / "repo.tar.gz", directory)
    return directory


@pytest.fixture
def backend(repositories: Path, truth: dict[str, Any]) -> MemoryBackend:
    settings = Settings(domain="example.org", cvmfs={"url": repositories.as_uri()})
    clock = datetime.fromtimestamp(truth["clock"]["now_epoch"], UTC)
    made = MemoryBackend(repositories, clock, settings)
    made.register("basic")
    made.clockwork.alive("beat")
    return made


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return os.fsdecode(self.out).splitlines()

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


Softman = Callable[..., Outcome]


@pytest.fixture
def softman(backend: MemoryBackend, capfdbinary: pytest.CaptureFixture[bytes]) -> Softman:
    """Run one command line."""

    def call(*arguments: str | Path) -> Outcome:
        code = run([str(argument) for argument in arguments], backend)
        captured = capfdbinary.readouterr()
        return Outcome(code, captured.out, captured.err.decode())

    return call
