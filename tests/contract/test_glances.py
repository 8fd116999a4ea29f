"""What ``Glances`` promises: the same as the ports that write, from Redis and from memory."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from softman.adapters.glances import RedisGlances
from softman.adapters.memory import MemoryRecords
from softman.adapters.memory_glances import MemoryGlances
from softman.adapters.memory_pending import MemoryPendingKeys
from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.pending import RedisPendingKeys
from softman.adapters.ports import Glances, PendingKeys, Records, TurnStates
from softman.adapters.records import RedisRecords
from softman.adapters.redis_client import redis_client
from softman.adapters.turn_states import RedisTurnStates
from softman.errors import ServiceUnavailable
from softman.model import Failure, Glance, Link, LinkProgress, LinkState, Refusal, SyncProgress, SyncReport
from softman.names import RepositoryName


@dataclass
class Ports:
    glances: Glances
    records: Records
    pending: PendingKeys
    states: TurnStates

    def read(self, names: Sequence[RepositoryName]) -> list[Glance]:
        return self.glances.read(names)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
def ports(request: pytest.FixtureRequest) -> Ports:
    if request.param == "memory":
        written = MemoryRecords(), MemoryPendingKeys(), MemoryTurnStates()
        return Ports(MemoryGlances(*written), *written)
    stack = request.getfixturevalue("stack")
    client = redis_client(stack.redis_url)
    looking = redis_client(stack.cache_url("dashboard"))  # with the rights of the dashboard only
    return Ports(RedisGlances(looking), RedisRecords(client), RedisPendingKeys(client), RedisTurnStates(client))


def test_nothing_is_seen_where_nothing_is(ports: Ports, unique: str) -> None:
    assert ports.read([RepositoryName(unique, "example.org")]) == [Glance()]
    assert ports.read([]) == []


def test_each_repository_is_seen_as_it_stands(ports: Ports, unique: str) -> None:
    names = [RepositoryName(f"{unique}-{number}", "example.org") for number in range(450)]
    name = names[333]
    link = LinkProgress(Link.FIRST_SYNC, LinkState.DONE, 5.0, "done")
    progress = SyncProgress(str(name), "everything", 1.0, 2.0, objects=3)
    report = SyncReport(str(name), 7, "aa", added=4)
    failure = Failure("no room", "forbidden", 1.0, time.time(), 3, 9.0)
    ports.records.set_link(name, link)
    ports.records.set_progress(name, progress)
    ports.records.set_report(report)
    ports.records.set_refusals(name, [Refusal("cvmfs/a", "why"), Refusal("cvmfs/b", "why")], None)
    ports.pending.add(name, frozenset({"cvmfs/c", "cvmfs/d", "cvmfs/e"}))
    lease = ports.pending.acquire(name)
    assert lease is not None
    ports.pending.take_keys(lease, name, 2)
    ports.states.set_failure(name, failure)
    found = ports.read(names)
    assert found[333] == Glance((link,), 3, 2, progress, report, failure)
    assert {index for index, glance in enumerate(found) if glance != Glance()} == {333}


def test_a_server_that_is_away_is_said_to_be() -> None:
    glances = RedisGlances(redis_client("redis://127.0.0.1:1/0", retries=0))
    with pytest.raises(ServiceUnavailable):
        glances.read([RepositoryName("alice", "example.org")])
