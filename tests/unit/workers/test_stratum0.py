"""When a provisioning chain is started again."""

from datetime import UTC, datetime
from typing import Any

import pytest

from softman import wiring
from softman.adapters.audit import AuditFiles
from softman.adapters.memory import MemoryRecords
from softman.errors import InvalidInput, PermanentError, ServiceUnavailable
from softman.model import Link, LinkProgress, LinkState, RegistryRecord
from softman.names import Kind, Owner, RepositoryName
from softman.services.whitelists import Unsigned
from tests.unit.workers.conftest import Sent
from workers.chains import QUIET_AFTER_FAILURE_SECONDS, QUIET_SECONDS, stopped
from workers.stratum0 import provision, resign, resume_provisioning, rotate

NAME = RepositoryName("alice", "example.org")
NOW = 1_000_000.0


def _link(state: LinkState, age: float) -> LinkProgress:
    return LinkProgress(Link.CREATE_REPOSITORY, state, NOW - age)


def test_nothing_recorded_is_a_standstill() -> None:
    assert stopped([], NOW)


@pytest.mark.parametrize(
    ("state", "quiet"),
    [
        (LinkState.WAITING, QUIET_SECONDS),
        (LinkState.RUNNING, QUIET_SECONDS),
        (LinkState.RETRYING, QUIET_SECONDS),
        (LinkState.FAILED, QUIET_AFTER_FAILURE_SECONDS),
    ],
)
def test_a_chain_is_left_alone_until_it_was_quiet_long_enough(state: LinkState, quiet: float) -> None:
    assert not stopped([_link(state, quiet - 1)], NOW)
    assert stopped([_link(state, quiet + 1)], NOW)


def test_the_youngest_sign_of_life_counts() -> None:
    old, young = _link(LinkState.DONE, 10 * QUIET_AFTER_FAILURE_SECONDS), _link(LinkState.RUNNING, 1)
    assert not stopped([old, young], NOW)


class Service:
    """A stratum 0 that registers everything and has one unfinished repository."""

    def request(self, user: str, subject: str, kind: Kind, group: str | None) -> RegistryRecord:
        owner = Owner(user, subject, kind, group)
        return RegistryRecord(RepositoryName(owner.label, "example.org"), owner)

    def unfinished(self) -> list[RepositoryName]:
        return [NAME]


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wiring, "stratum0", lambda _settings: Service())


def test_provisioning_starts_the_chain_and_says_that_all_links_wait(sent: Any, records: MemoryRecords) -> None:
    assert provision("alice", "sub-1") == {"repository": str(NAME), "chain": ["one", "two"]}
    assert sent.chains == [NAME]
    assert [(link.link, link.state) for link in records.links(NAME)] == [(link, LinkState.WAITING) for link in Link]


def test_a_group_gets_the_repository_of_its_name(sent: Any, records: MemoryRecords) -> None:
    del records
    provision("alice", "sub-1", Kind.GROUP, "physics")
    assert sent.chains == [RepositoryName("physics", "example.org")]


def test_what_stopped_is_resumed_and_what_moves_is_not(sent: Any, records: MemoryRecords) -> None:
    resume_provisioning()
    assert sent.chains == [NAME]
    assert {link.state for link in records.links(NAME)} == {LinkState.WAITING}
    resume_provisioning()
    assert sent.chains == [NAME]


class Signer:
    """Signs whitelists as far as it is told."""

    def __init__(self, *failed: Unsigned) -> None:
        self.failed = list(failed)

    def sign_all(self) -> tuple[int, list[Unsigned]]:
        return 1, self.failed


def test_a_whitelist_that_cannot_be_signed_is_an_alarm_when_it_is_urgent(
    monkeypatch: pytest.MonkeyPatch, audit_log: AuditFiles, capfd: pytest.CaptureFixture[str]
) -> None:
    other = RepositoryName("bobby", "example.org")
    later, soon = datetime(2026, 12, 24, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)
    failed = (
        Unsigned(NAME, PermanentError("master key is offline"), soon, alarm=True),
        Unsigned(other, PermanentError("damaged"), later, alarm=False),
    )
    monkeypatch.setattr(wiring, "whitelists", lambda _settings: Signer(*failed))
    resign()
    (event,) = audit_log.events()
    assert (event["repository"], event["outcome"]) == (str(NAME), "failed")
    assert (event["detail"], event["expires"]) == ("master key is offline", "2026-11-24 00:00 UTC")
    lines = "".join(capfd.readouterr()).splitlines()
    assert [line for line in lines if "error" in line and "expires soon" in line and "2026-11-24" in line]
    assert [line for line in lines if "warning" in line and str(other) in line]


def test_signing_is_tried_again_when_the_fault_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Unsigned(NAME, ServiceUnavailable("no answer"), None, alarm=False)
    monkeypatch.setattr(wiring, "whitelists", lambda _settings: Signer(failed))
    with pytest.raises(ServiceUnavailable):
        resign()


def test_provisioning_is_in_the_audit_log(
    monkeypatch: pytest.MonkeyPatch, sent: Sent, records: MemoryRecords, audit_log: AuditFiles
) -> None:
    monkeypatch.setattr(wiring, "stratum0", lambda _settings: Service())
    provision("alice", "s1")
    (event,) = audit_log.events()
    assert (event["action"], event["owner"], event["requested_by"]) == ("provision", "alice", "unknown")
    assert (event["detail"], event["outcome"]) == (str(NAME), "done")
    assert sent.chains == [NAME]
    assert records.links(NAME)


def test_what_cannot_be_replaced() -> None:
    with pytest.raises(InvalidInput, match="gateway-key, certificate, master-key"):
        rotate(NAME, "house", "one")
