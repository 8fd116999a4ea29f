"""What each user of Redis may do and what not, tried on the real one."""

from collections.abc import Iterator
from typing import Any

import celery.exceptions
import pytest
import redis
from redis.exceptions import NoPermissionError

from softman.adapters.clockwork import RedisClockwork
from softman.adapters.pending import RedisPendingKeys
from softman.adapters.redis_client import key_name, redis_client
from softman.adapters.redis_rights import CACHE_RIGHTS
from softman.adapters.turn_states import RedisTurnStates
from softman.errors import Forbidden
from softman.names import RepositoryName
from softman.settings import load_settings
from softman.standalone.stack import Stack
from softman.tasks.client import client_app

pytestmark = pytest.mark.stack
RESULT = "celery-task-meta-0"


@pytest.fixture
def name(unique: str) -> RepositoryName:
    return RepositoryName(unique, "example.org")


@pytest.fixture
def as_role(stack: Stack) -> Iterator[Any]:
    clients: list[redis.Redis] = []

    def connect(role: str) -> redis.Redis:
        clients.append(redis_client(stack.cache_url(role)))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.mark.parametrize("role", CACHE_RIGHTS)
def test_nobody_reaches_further_than_own_keys(as_role: Any, role: str) -> None:
    client = as_role(role)
    assert client.ping()
    commands = (["KEYS", "*"], ["SCAN", "0"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["ACL", "LIST"], ["MONITOR"])
    for command in (*commands, ["EVAL", "return redis.call('KEYS', '*')", "0"], ["SET", "foreign", "1"]):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)
    digest = client.script_load("return redis.call('KEYS', '*')") if "evalsha" in CACHE_RIGHTS[role].commands else None
    if digest:
        with pytest.raises(redis.ResponseError, match="user executing the script"):
            client.evalsha(digest, 0)


def _attempts(name: RepositoryName) -> dict[str, list[str]]:
    return {
        "lease": ["SET", key_name(name, "lease"), "1"],
        "failure": ["SET", key_name(name, "failure"), "1"],
        "links": ["HSET", key_name(name, "links"), "a", "1"],
        "turn": ["SET", "softman:beat:turn:x", "1"],
        "places": ["ZADD", "softman:owner:x:turns", "1", "1"],
        "result": ["SET", RESULT, "1"],
        "told": ["PUBLISH", RESULT, "1"],
    }


WRITES = {
    "client": set(),
    "flower": set(),
    "dashboard": set(),
    "events": {"lease"},
    "publisher": {"lease", "failure", "links", "places", "result", "told"},
    "connector": {"links", "result", "told"},
    "stratum0": {"links", "result", "told"},
    "commit": {"result", "told"},
    "beat": {"turn"},
}


@pytest.mark.parametrize("role", WRITES)
def test_a_role_writes_its_own_keys_only(as_role: Any, name: RepositoryName, role: str) -> None:
    client, admin = as_role(role), as_role("admin")
    written = set()
    for what, command in _attempts(name).items():
        try:
            client.execute_command(*command)
        except NoPermissionError:
            continue
        written.add(what)
        admin.delete(command[1])
    assert written == WRITES[role]


def test_dashboards_look_and_events_add(stack: Stack, as_role: Any, name: RepositoryName) -> None:
    events, looks = RedisPendingKeys(as_role("events")), RedisPendingKeys(as_role("dashboard"))
    assert events.add_many({name: frozenset({"cvmfs/a"})}) == [name]
    assert (looks.count(name), looks.is_whole(name), looks.backlog(name, 5).keys) == (1, False, ("cvmfs/a",))
    with pytest.raises(Forbidden):
        looks.add_many({name: frozenset({"cvmfs/b"})})
    with pytest.raises(Forbidden):
        events.acquire(name)
    beat = RedisClockwork(as_role("beat"))
    beat.alive("one")
    assert "one" in RedisClockwork(as_role("events")).beats()
    assert "one" in RedisClockwork(as_role("dashboard")).beats()
    with pytest.raises(Forbidden):
        RedisTurnStates(as_role("dashboard")).set_failure(name, None)
    as_role("admin").delete(*(key_name(name, what) for what in ("pending", "queued")))
    app = client_app(load_settings(broker_url=stack.amqp_url, redis_url=stack.cache_url("client")))
    with pytest.raises(celery.exceptions.TimeoutError):
        app.AsyncResult("nobody").get(timeout=0.2)
    app.close()
