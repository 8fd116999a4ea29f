"""Tasks about the life of a repository: what they answer, what they send on, what the audit log says."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from softman import wiring
from softman.adapters.audit import AuditFiles
from softman.adapters.memory import MemoryRecords
from softman.adapters.memory_vault import MemoryRegistry
from softman.errors import InvalidInput
from softman.model import LinkState, Quotas, RegistryRecord, State
from softman.names import Owner, RepositoryName
from softman.services.lifecycle import Lifecycle
from softman.services.rollback import WentBack
from softman.tasks.catalogue import RESYNC
from tests.support.world import Clock
from tests.unit.workers.conftest import Sent
from workers.lifecycle import restore, resume, retire, rollback, set_quotas

NAME = RepositoryName("alice", "example.org")


@dataclass
class Rollbacks:
    """Rolls everything back."""

    def roll_back(self, name: RepositoryName, revision: int) -> WentBack:
        del name
        if revision > 9:
            msg = "there is none"
            raise InvalidInput(msg)
        return WentBack(10, revision)


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> MemoryRegistry:
    kept = MemoryRegistry()
    kept.put(RegistryRecord(NAME, Owner("alice", "sub-alice"), State.ACTIVE))
    clock = Clock()
    monkeypatch.setattr(wiring, "lifecycle", lambda _settings: Lifecycle(kept, timedelta(days=1), clock))
    monkeypatch.setattr(wiring, "rollbacks", lambda _settings: Rollbacks())
    return kept


def lines(audit_log: AuditFiles) -> list[tuple[Any, Any]]:
    return [(event["action"], event["outcome"]) for event in audit_log.events()]


def test_rolling_back_says_what_is_shown(audit_log: AuditFiles) -> None:
    answer = rollback(NAME, 3)
    assert {name: answer[name] for name in ("schema", "repository", "revision", "shows")} == {
        "schema": 1, "repository": str(NAME), "revision": 10, "shows": 3,
    }  # fmt: skip
    with pytest.raises(InvalidInput):
        rollback(NAME, 10)
    assert lines(audit_log) == [("roll back", "done"), ("roll back", "refused")]


def test_resuming_publishes_the_bucket(sent: Sent, audit_log: AuditFiles) -> None:
    assert resume(NAME)["next"] == "task 1"
    assert [(spec, args) for spec, args, _ in sent.tasks] == [(RESYNC, (str(NAME),))]
    assert lines(audit_log) == [("resume", "done")]


def test_retiring_and_restoring(sent: Sent, records: MemoryRecords, registry: MemoryRegistry) -> None:
    answer = retire(NAME, keep_content=False)
    assert (answer["state"], answer["keep_content"]) == ("retired", False)
    assert answer["until"] == Clock().unix() + 86400
    assert restore(NAME)["chain"] == ["one", "two"]
    record = registry.get(NAME)
    assert record is not None
    assert record.state is State.CREATED
    assert sent.chains == [NAME]
    assert {link.state for link in records.links(NAME)} == {LinkState.WAITING}


def test_quotas_are_in_the_audit_log(audit_log: AuditFiles) -> None:
    answer = set_quotas(NAME, {"max_entries": 5})
    assert answer["quotas"]["max_entries"] == 5
    assert answer["quotas"]["max_bytes"] == Quotas().max_bytes
    (event,) = audit_log.events()
    assert (event["action"], event["max_entries"]) == ("set quotas", 5)
