"""Tasks about the life of a repository: what they answer, what they send on, what the audit log says."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from softman import wiring
from softman.adapters.audit import AuditFiles
from softman.adapters.memory import MemoryRecords
from softman.adapters.memory_vault import MemoryRegistry
from softman.errors import InvalidInput
from softman.model import LinkProgress, LinkState, Quotas, RegistryRecord, RetirementLink, State
from softman.names import Owner, RepositoryName
from softman.services.lifecycle import Lifecycle
from softman.services.rollback import WentBack
from softman.tasks.catalogue import DROP_RETIRED, RESYNC
from tests.support.world import Clock
from tests.unit.workers.conftest import Sent
from workers.lifecycle import drop_retired, restore, resume, resume_retirement, retire, rollback, set_quotas

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
    assert [link.link for link in records.links(NAME, RetirementLink)] == list(RetirementLink)
    sent.chains.clear()
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


class Retirements:
    """One is retired, and takes two turns to drop."""

    def __init__(self) -> None:
        self.turns = 2

    def retired(self) -> list[RepositoryName]:
        return [NAME]

    def due(self) -> list[RepositoryName]:
        return [NAME] if self.turns else []

    def drop(self, name: RepositoryName, over: Callable[[], bool]) -> bool:
        assert name == NAME
        assert over() is (self.turns == 2)
        self.turns -= 1
        return self.turns == 0


def test_a_retirement_that_stopped_is_resumed(
    sent: Sent, records: MemoryRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "retirements", lambda _settings: Retirements())
    resume_retirement()
    assert sent.chains == [NAME]
    resume_retirement()
    assert sent.chains == [NAME], "it moves"
    for link in RetirementLink:
        records.set_link(NAME, LinkProgress(link, LinkState.DONE, 1.0))
    resume_retirement()
    assert sent.chains == [NAME], "it is done"


def test_dropping_goes_on_later(sent: Sent, monkeypatch: pytest.MonkeyPatch, audit_log: AuditFiles) -> None:
    retirements = Retirements()
    monkeypatch.setattr(wiring, "retirements", lambda _settings: retirements)
    moments = iter([0.0, 21.0, 21.0, 100.0, 101.0, 102.0])
    monkeypatch.setattr("workers.lifecycle.time.monotonic", lambda: next(moments))
    drop_retired()
    assert [spec for spec, *_ in sent.tasks] == [DROP_RETIRED]
    drop_retired()
    assert len(sent.tasks) == 1
    assert lines(audit_log) == [("drop", "begun"), ("drop", "done")]
