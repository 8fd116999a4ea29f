"""Catalogue, workers and beat schedule agree: every task has one body, on its queue, and no other name exists."""

import pytest

import workers.app
from beat_schedule import SCHEDULE
from softman.model import Link, RetirementLink
from softman.settings import Settings
from softman.tasks.catalogue import (
    BULK,
    CHAINS,
    COMMIT,
    CONNECTOR,
    PROVISIONING_CHAIN,
    PUBLISHER,
    RETIREMENT_CHAIN,
    STRATUM0,
    TASK_QUEUES,
    TASKS,
    TaskSpec,
)
from workers import commit, connector, events, publisher, stratum0
from workers.app import beat_settings
from workers.base import BODIES
from workers.pool import WorkerApp

POOLS = {
    (STRATUM0,): stratum0.app,
    (COMMIT,): commit.app,
    (CONNECTOR,): connector.app,
    (PUBLISHER, BULK): publisher.app,
    (): events.app,
    TASK_QUEUES: workers.app.app,
}


def _tasks(app: WorkerApp) -> set[str]:
    return {name for name in app.tasks if not name.startswith("celery.")}


def test_every_task_has_a_body_and_every_body_a_task() -> None:
    assert {name: body.spec for name, body in BODIES.items()} == {spec.name: spec for spec in TASKS}


def test_names_are_unique_and_queues_known() -> None:
    assert len({spec.name for spec in TASKS}) == len(TASKS)
    assert {spec.queue for spec in TASKS} == set(TASK_QUEUES)


@pytest.mark.parametrize("queues", POOLS, ids=lambda queues: "+".join(queues) or "events")
def test_each_pool_has_the_tasks_of_its_queues_and_no_others(queues: tuple[str, ...]) -> None:
    app = POOLS[queues]
    assert app.pools == queues
    assert _tasks(app) == {spec.name for spec in TASKS if spec.queue in queues}


def test_only_links_of_the_chain_take_a_chain_along() -> None:
    assert {body.spec for body in BODIES.values() if body.chained} == {spec for chain in CHAINS for spec in chain}
    assert [BODIES[spec.name].link for spec in PROVISIONING_CHAIN] == list(Link)
    assert [BODIES[spec.name].link for spec in RETIREMENT_CHAIN] == list(RetirementLink)
    assert sum(body.link is not None for body in BODIES.values()) == len(Link) + len(RetirementLink)


@pytest.mark.parametrize("spec", TASKS, ids=lambda spec: spec.name)
def test_tasks_acknowledge_late_and_refuse_what_is_embedded(spec: TaskSpec) -> None:
    task = workers.app.app.tasks[spec.name]
    assert task.acks_late
    assert task.reject_on_worker_lost
    assert task.Strategy == f"workers.consumer:{'chained' if any(spec in chain for chain in CHAINS) else 'strict'}"
    assert task.run.__doc__


def test_beat_asks_for_tasks_that_need_no_arguments_and_says_why() -> None:
    assert len({periodic.entry for periodic in SCHEDULE}) == len(SCHEDULE)
    for periodic in SCHEDULE:
        assert periodic.task in TASKS
        assert BODIES[periodic.task.name].signature.bind((), {}) == {}
        assert len(periodic.why) > 40
        assert not periodic.task.public


def test_beat_takes_cadences_from_the_settings_and_lets_nothing_pile_up() -> None:
    table = beat_settings(Settings(reconcile_seconds=60, drain_seconds=5))
    schedule = table["beat_schedule"]
    assert schedule["reconcile"]["schedule"] == 60
    assert schedule["drain"]["schedule"] == 5
    assert all(entry["options"]["expires"] == entry["schedule"] for entry in schedule.values())
    assert workers.app.app.conf.beat_schedule.keys() == schedule.keys()
