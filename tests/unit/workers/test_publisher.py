"""What publishers' tasks ask for next."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from softman.adapters.circuit import Circuit
from softman.adapters.memory import MemoryRecords
from softman.errors import InvalidInput, Outage, ServiceUnavailable
from softman.model import Link, LinkProgress, LinkState, Part, Turn
from softman.names import RepositoryName
from softman.services.preview import Action, PlannedStep
from softman.settings import Settings
from softman.tasks.catalogue import (
    ATTACH_PUBLISHER,
    BULK,
    CONNECT_BUCKET,
    FIRST_SYNC,
    PUBLISH_CHANGES,
    RECONCILE_REPOSITORY,
    RESYNC,
)
from workers import publisher
from workers.answers import plan_to_json
from workers.publisher import CROWDED_SECONDS

NAME = RepositoryName("alice", "example.org")


@dataclass(slots=True)
class Service:
    """A publisher whose every turn is the same."""

    turn: Turn
    names: tuple[RepositoryName, ...] = (NAME,)
    anew: bool | None = None

    def publish_changes(self, _name: RepositoryName) -> Turn:
        return self.turn

    def sync_everything(self, _name: RepositoryName, *, anew: bool = True) -> Turn:
        self.anew = anew
        return self.turn

    def forget_refusals(self, _name: RepositoryName) -> None:
        pass

    def sync_part(self, _name: RepositoryName, part: Part) -> Turn:
        return replace(self.turn, rest=replace(part, after="cvmfs/m") if self.turn.rest else None)

    def plan(self, _name: RepositoryName, part: Part) -> Iterator[PlannedStep]:
        return (PlannedStep(Action.ADD, f"{part.prefix}{number}", f"/{number}") for number in range(3))

    def repositories(self) -> list[RepositoryName]:
        return list(self.names)

    waiting = repositories


def _use(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    monkeypatch.setattr(publisher, "_publisher", lambda: service)
    monkeypatch.setattr(publisher, "_turns", lambda: service)


@pytest.mark.usefixtures("records")
@pytest.mark.parametrize("body", [publisher.publish_changes, publisher.resync, publisher.first_sync])
@pytest.mark.parametrize(
    ("turn", "options"),
    [
        (Turn(revision=2), None),
        (Turn(held_elsewhere=True), None),
        (Turn(revision=2, again=True), {"countdown": 0.0}),
        (Turn(revision=2, again=True, bulk=True), {"queue": BULK, "countdown": 0.0}),
        (Turn(again=True, crowded=True), {"countdown": CROWDED_SECONDS}),
    ],
)
def test_the_rest_of_the_work_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, sent: Any, body: Any, turn: Turn, options: Any
) -> None:
    _use(monkeypatch, Service(turn))
    body(NAME)
    assert sent.tasks == ([] if options is None else [(PUBLISH_CHANGES, (str(NAME),), options)])


@pytest.mark.parametrize(
    ("turn", "words", "more"),
    [
        (Turn(), "nothing to publish", False),
        (Turn(revision=2), "revision 2", False),
        (Turn(held_elsewhere=True), "another publisher is at work and does it", True),
        (Turn(revision=3, again=True), "revision 3; more follows", True),
    ],
)
def test_a_resync_says_what_it_did(
    monkeypatch: pytest.MonkeyPatch, sent: Any, turn: Turn, words: str, more: bool
) -> None:
    del sent
    _use(monkeypatch, Service(turn))
    assert json.loads(json.dumps(publisher.resync(NAME))) == {
        "schema": 1,
        "repository": str(NAME),
        "message": words,
        "revision": turn.revision,
        "more": more,
        "next": None,
    }


def test_a_part_that_is_not_finished_goes_on_behind_its_last_key(monkeypatch: pytest.MonkeyPatch, sent: Any) -> None:
    _use(monkeypatch, Service(Turn(revision=2, rest=Part())))
    answer = publisher.resync(NAME, "cvmfs/d/", verify=True)
    assert (answer["message"], answer["more"], answer["next"]) == ("revision 2; more follows", True, "task 1")
    options = {"countdown": 0.0, "keep_result": True}
    assert sent.tasks == [(RESYNC, (str(NAME), "cvmfs/d/", True, "cvmfs/m"), options)]
    _use(monkeypatch, Service(Turn(revision=2)))
    assert publisher.resync(NAME, "cvmfs/d/")["more"] is False
    assert len(sent.tasks) == 1


def test_only_published_keys_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, Service(Turn()))
    with pytest.raises(InvalidInput, match="begin with cvmfs/"):
        publisher.resync(NAME, "elsewhere/")


def test_a_plan_is_bounded_and_can_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, Service(Turn()))
    plan = publisher.plan(NAME, "cvmfs/d/", limit=2)
    assert json.loads(json.dumps(plan)) == {
        "schema": 1,
        "repository": str(NAME),
        "counts": {"add": 3},
        "steps": [
            {"action": "add", "key": "cvmfs/d/0", "path": "/0", "reason": ""},
            {"action": "add", "key": "cvmfs/d/1", "path": "/1", "reason": ""},
        ],
        "complete": False,
    }


def test_keys_that_are_no_text_do_not_break_a_plan() -> None:
    steps = [PlannedStep(Action.REFUSE, "cvmfs/\udcff", "", "not Unicode")]
    assert plan_to_json(NAME, steps, 10)["steps"][0]["key"] == "cvmfs/\\udcff"


def test_a_first_sync_of_several_tasks_is_ended_by_the_last(
    monkeypatch: pytest.MonkeyPatch, sent: Any, records: MemoryRecords
) -> None:
    records.set_link(NAME, LinkProgress(Link.FIRST_SYNC, LinkState.RUNNING, 1.0))
    _use(monkeypatch, Service(Turn(revision=2, again=True, bulk=True)))
    assert publisher.first_sync(NAME) is None
    publisher.publish_changes(NAME)
    assert [link.state for link in records.links(NAME)] == [LinkState.RUNNING]
    _use(monkeypatch, Service(Turn(revision=4)))
    publisher.publish_changes(NAME)
    assert [(link.state, link.detail) for link in records.links(NAME)] == [(LinkState.DONE, "revision 4")]
    assert len(sent.tasks) == 2


def test_reconciliation_is_spread_over_the_period_and_does_not_pile_up(
    monkeypatch: pytest.MonkeyPatch, sent: Any
) -> None:
    names = tuple(RepositoryName(f"user{number}", "example.org") for number in range(4))
    _use(monkeypatch, Service(Turn(), names))
    monkeypatch.setattr(publisher, "settings", lambda: Settings(reconcile_seconds=100))
    publisher.reconcile()
    assert sent.tasks == [
        (RECONCILE_REPOSITORY, (str(name),), {"countdown": 25.0 * place, "expires": 25.0 * place + 100})
        for place, name in enumerate(names)
    ]


def test_reconciliation_of_nothing_asks_for_nothing(monkeypatch: pytest.MonkeyPatch, sent: Any) -> None:
    _use(monkeypatch, Service(Turn(), ()))
    publisher.reconcile()
    assert sent.tasks == []


def test_reconciliation_connects_the_bucket_and_compares(
    monkeypatch: pytest.MonkeyPatch, sent: Any, records: MemoryRecords
) -> None:
    for link in Link:
        records.set_link(NAME, LinkProgress(link, LinkState.DONE, 1.0))
    _use(monkeypatch, Service(Turn(revision=2, again=True)))
    publisher.reconcile_repository(NAME)
    assert [task[0] for task in sent.tasks] == [CONNECT_BUCKET, PUBLISH_CHANGES]


def test_reconciliation_redoes_links_that_stopped(
    monkeypatch: pytest.MonkeyPatch, sent: Any, records: MemoryRecords
) -> None:
    for link, state in zip(Link, [*[LinkState.DONE] * 2, *[LinkState.FAILED] * 3], strict=True):
        records.set_link(NAME, LinkProgress(link, state, 1.0))
    _use(monkeypatch, Service(Turn()))
    publisher.reconcile_repository(NAME)
    assert [task[0] for task in sent.tasks] == [ATTACH_PUBLISHER, CONNECT_BUCKET, FIRST_SYNC]


def test_reconciliation_restores_the_links_that_a_flush_took(
    monkeypatch: pytest.MonkeyPatch, sent: Any, records: MemoryRecords
) -> None:
    records.set_link(NAME, LinkProgress(Link.CONNECT_BUCKET, LinkState.DONE, 1.0, "bucket alice connected"))
    _use(monkeypatch, Service(Turn()))
    publisher.reconcile_repository(NAME)
    assert [task[0] for task in sent.tasks] == [ATTACH_PUBLISHER, CONNECT_BUCKET, FIRST_SYNC]
    found = {progress.link: (progress.state, progress.detail) for progress in records.links(NAME)}
    assert found == {
        Link.CREATE_REPOSITORY: (LinkState.DONE, "done before"),
        Link.PUBLISH_KEYS: (LinkState.DONE, "done before"),
        Link.CONNECT_BUCKET: (LinkState.DONE, "bucket alice connected"),
    }


def test_reconciliation_works_without_redis(monkeypatch: pytest.MonkeyPatch, sent: Any, records: MemoryRecords) -> None:
    def away(_name: RepositoryName) -> list[LinkProgress]:
        msg = "Redis does not answer"
        raise ServiceUnavailable(msg)

    monkeypatch.setattr(records, "links", away)
    _use(monkeypatch, Service(Turn(revision=2)))
    publisher.reconcile_repository(NAME)
    publisher.publish_changes(NAME)
    assert [task[0] for task in sent.tasks] == [CONNECT_BUCKET]


def test_draining_asks_for_every_repository_that_waits(monkeypatch: pytest.MonkeyPatch, sent: Any) -> None:
    _use(monkeypatch, Service(Turn()))
    publisher.drain()
    assert sent.tasks == [(PUBLISH_CHANGES, (str(NAME),), {})]


@pytest.mark.usefixtures("records")
def test_no_turn_begins_while_nobody_takes_commits(monkeypatch: pytest.MonkeyPatch, sent: Any) -> None:
    circuit = Circuit("the pool", lambda: 0.0, most=1)
    monkeypatch.setattr("softman.wiring.commit_circuit", lambda _settings: circuit)
    with pytest.raises(Outage, match="no answer"), circuit.guard():
        raise ServiceUnavailable("no answer")
    _use(monkeypatch, Service(Turn(revision=2, again=True)))
    for body in (publisher.publish_changes, publisher.first_sync, publisher.resync):
        sent.tasks.clear()
        with pytest.raises(Outage, match="it is asked again in"):
            body(NAME)
        assert PUBLISH_CHANGES not in {task[0] for task in sent.tasks}
    publisher.drain()
    assert sent.tasks[-1][0] == PUBLISH_CHANGES
