"""Task bodies as plain functions: what they send is noted, records are in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from softman import wiring
from softman.adapters.audit import AuditFiles
from softman.adapters.memory import MemoryRecords
from softman.log import clear_context
from softman.names import RepositoryName
from softman.tasks.catalogue import CHAINS, TaskSpec


@dataclass(slots=True)
class Sent:
    """Takes the place of ``TaskSender``."""

    tasks: list[tuple[TaskSpec, tuple[object, ...], dict[str, Any]]] = field(default_factory=list)
    chains: list[RepositoryName] = field(default_factory=list)

    def send(self, spec: TaskSpec, *args: object, **options: Any) -> str:
        self.tasks.append((spec, args, {name: value for name, value in options.items() if value is not None}))
        return f"task {len(self.tasks)}"

    def send_chain(self, chain: Sequence[TaskSpec], repository: RepositoryName, *, requested_by: str = "") -> list[str]:
        assert requested_by == "", "nobody said who asks"
        assert chain in CHAINS
        self.chains.append(repository)
        return ["one", "two"]


@pytest.fixture(autouse=True)
def no_log_context() -> Iterator[None]:
    """Bodies that are called as plain functions leave what they bound."""
    yield
    clear_context()


@pytest.fixture(autouse=True)
def audit_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AuditFiles:
    log = AuditFiles(tmp_path / "audit", lambda: datetime.now(UTC))
    monkeypatch.setattr(wiring, "audit_log", lambda _settings: log)
    return log


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    noted = Sent()
    for module in ("chains", "lifecycle", "publisher", "stratum0", "upkeep"):
        monkeypatch.setattr(f"workers.{module}.sender", lambda: noted)
    return noted


@pytest.fixture
def records(monkeypatch: pytest.MonkeyPatch) -> MemoryRecords:
    kept = MemoryRecords()
    monkeypatch.setattr(wiring, "records", lambda _settings: kept)
    return kept
