"""The broker's users: what is shipped is what the module says, and the module says enough for every task."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from beat_schedule import SCHEDULE
from softman.tasks.catalogue import COMMIT, CONNECTOR, PUBLIC_EXCHANGE, PUBLIC_TASKS, TASK_QUEUES
from softman.tasks.rights import BEAT_TASKS, RIGHTS, WORKERS, definitions, password_hash

SHIPPED = Path(__file__).parents[3] / "compose" / "rabbitmq" / "definitions.json"


def test_the_example_of_rabbitmqs_documentation() -> None:
    hashed = password_hash("test12", bytes.fromhex("908DC60A"))
    assert hashed == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"


def test_the_shipped_file_is_what_the_module_says() -> None:
    """Make it anew with: softman broker definitions > compose/rabbitmq/definitions.json."""
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == definitions({})


def test_a_user_without_a_password_cannot_log_in() -> None:
    users: Any = definitions({"events": "secret"})["users"]
    hashes = {user["name"]: user["password_hash"] for user in users}
    assert {name for name, hashed in hashes.items() if hashed} == {"softman-events"}
    assert "secret" not in json.dumps(users)


def test_beat_may_ask_for_what_is_in_its_schedule() -> None:
    assert {spec.name for spec in BEAT_TASKS} == {periodic.task.name for periodic in SCHEDULE}


def test_every_queue_has_one_kind_of_worker() -> None:
    assert sorted(queue for worker in WORKERS.values() for queue in worker.queues if worker.tasks) == sorted(
        TASK_QUEUES
    )


@pytest.mark.parametrize("role", [role for role in RIGHTS if role != "admin"])
def test_nobody_may_write_what_has_no_routing_keys(role: str) -> None:
    """Every exchange for work is restricted to keys of its own."""
    rights = RIGHTS[role]
    for exchange in (*TASK_QUEUES, PUBLIC_EXCHANGE, "softman.dead", "s3-events"):
        assert bool(re.search(rights.write, exchange)) == (exchange in rights.topics)
    assert not re.search(rights.configure, "stratum0")


def test_dashboards_reach_the_public_exchange_with_public_names_only() -> None:
    rights = RIGHTS["dashboard"]
    for name in (*PUBLIC_TASKS, "softman.commit", "softman.resign", COMMIT, CONNECTOR):
        assert bool(re.search(rights.topics[PUBLIC_EXCHANGE], name)) == (name in PUBLIC_TASKS)


def test_only_our_dashboard_asks_for_what_administrators_decide() -> None:
    """It knows who is one; another system is any broker user ``client``."""
    for role, allowed in (("dashboard", True), ("client", False)):
        topics = RIGHTS[role].topics[PUBLIC_EXCHANGE]
        assert bool(re.search(topics, "softman.set_quotas")) == allowed
        assert re.search(topics, "softman.rollback")
        assert not re.search(topics, "softman.collect_garbage")
