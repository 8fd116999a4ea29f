"""Tasks of upkeep: what they answer, what they send on, what the audit log says."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from softman import wiring
from softman.adapters.audit import AuditFiles
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.repository import Collection
from softman.errors import Busy, Corrupt
from softman.model import Fault
from softman.names import RepositoryName
from softman.services.upkeep import Checked
from softman.tasks.catalogue import CHECK, COLLECT_GARBAGE, RESYNC
from tests.unit.workers.conftest import Sent
from workers.upkeep import check, collect_garbage, upkeep

NAME, OTHER = RepositoryName("alice", "example.org"), RepositoryName("bobby", "example.org")
HASH = ContentHash.parse("00" * 20)
MANIFEST = Manifest(
    root_hash=HASH, root_size=1, revision=7, ttl=60, repository=str(NAME), certificate=HASH, published_at=1
)
COLLECTED = Collection(False, (7, 6), 2, 5, 1024, 0, MANIFEST)
FAULT = Fault("ab" * 20, "/a", "is missing", 1.0)
SOUND = Checked(5, 10, (), (), (), "")


class Upkeep:
    """Does what it is told, and fails for some."""

    def __init__(self) -> None:
        self.collected, self.checked = COLLECTED, SOUND

    def to_collect(self) -> list[RepositoryName]:
        return [OTHER, NAME]

    def to_check(self) -> list[RepositoryName]:
        return [OTHER, NAME]

    def collect_garbage(
        self, name: RepositoryName, *, dry_run: bool = False, over: Callable[[], bool] | None = None
    ) -> Collection:
        assert over is not None
        if name == OTHER:
            raise Corrupt("a catalog is damaged")
        return replace(self.collected, dry_run=dry_run)

    def check(self, name: RepositoryName, over: Callable[[], bool], *, after: str = "") -> Checked:
        del name, over, after
        return self.checked

    def check_share(self, name: RepositoryName, over: Callable[[], bool]) -> Checked:
        del over
        if name == OTHER:
            raise Busy("somebody else")
        return self.checked


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Upkeep:
    made = Upkeep()
    monkeypatch.setattr(wiring, "upkeep", lambda _settings: made)
    return made


def test_a_collection_says_what_went_and_goes_on(service: Upkeep, sent: Sent) -> None:
    answer = collect_garbage(NAME, dry_run=True)
    assert (answer["objects"], answer["bytes"], answer["kept"], answer["next"]) == (5, 1024, [7, 6], None)
    assert "would go" in answer["message"]
    service.collected = replace(COLLECTED, complete=False)
    answer = collect_garbage(NAME)
    assert (answer["complete"], answer["next"]) == (False, "task 1")
    assert [(spec, args) for spec, args, _ in sent.tasks] == [(COLLECT_GARBAGE, (str(NAME), False))]


def test_a_check_goes_on_and_asks_for_repairs(service: Upkeep, sent: Sent, audit_log: AuditFiles) -> None:
    service.checked = Checked(5, 10, (FAULT,), (), ("cvmfs/a",), "ab")
    answer = check(NAME)
    assert answer["problems"] == [{"kind": "object", "path": "/a", "message": "is missing"}]
    assert [(spec, args) for spec, args, _ in sent.tasks] == [
        (RESYNC, (str(NAME), "cvmfs/a", True)),
        (CHECK, (str(NAME), "ab")),
    ]
    (event,) = audit_log.events()
    assert (event["action"], event["outcome"], event["faults"]) == ("check", "failed", 1)


def test_one_that_fails_keeps_no_other_from_being_looked_after(
    service: Upkeep, sent: Sent, audit_log: AuditFiles
) -> None:
    upkeep()
    found = [(event["action"], event["repository"], event["outcome"]) for event in audit_log.events()]
    assert found == [("collect garbage", str(OTHER), "refused"), ("collect garbage", str(NAME), "done")]
    service.checked = Checked(5, 10, (), (FAULT,), (), "")
    upkeep()
    assert [event["repaired"] for event in audit_log.events() if event["action"] == "check"] == [1]
    assert sent.tasks == []
