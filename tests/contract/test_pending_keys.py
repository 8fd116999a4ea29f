"""What ``PendingKeys`` promises, held by Redis and by the memory version alike."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
import redis

from softman.adapters import pending_scripts
from softman.adapters.memory_pending import MemoryPendingKeys
from softman.adapters.pending import RedisPendingKeys
from softman.adapters.ports import Lease, PendingKeys
from softman.adapters.redis_client import key_name, redis_client
from softman.errors import Busy, Forbidden, InvalidInput, ServiceUnavailable
from softman.model import Backlog, Everything, Keys, Scope
from softman.names import RepositoryName
from softman.standalone.stack import Stack

DEADLINE = 60.0
ODD_KEYS = frozenset(
    {"cvmfs/a b", "cvmfs/new\nline", "cvmfs/\x00\x01", "cvmfs/\u00fc\U0001f600", "cvmfs/\ud800", "", "*"}
)


@dataclass
class World:
    """One server, and how to reach it anew, as another process would."""

    connect: Callable[[float, float], PendingKeys]
    flush: Callable[[], object]

    def pending(self, *, lease_seconds: float = 60.0, queued_seconds: float = 60.0) -> PendingKeys:
        return self.connect(lease_seconds, queued_seconds)


@pytest.fixture
def redis_server(stack: Stack) -> Iterator[redis.Redis]:
    with redis_client(f"{stack.redis_url.rpartition('/')[0]}/9") as client:  # a database of its own, to be flushed
        client.flushdb()
        yield client


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "redis":
        client: redis.Redis = request.getfixturevalue("redis_server")

        def reconnect(lease: float, queued: float) -> PendingKeys:
            return RedisPendingKeys(client, lease_seconds=lease, queued_seconds=queued)

        return World(reconnect, client.flushdb)
    shared: list[MemoryPendingKeys] = []

    def connect(lease: float, queued: float) -> PendingKeys:
        made = MemoryPendingKeys(lease_seconds=lease, queued_seconds=queued)
        if shared:
            made._waiting, made._lock = shared[0]._waiting, shared[0]._lock
        shared.append(made)
        return made

    def flush() -> None:
        shared[0].flush()

    return World(connect, flush)


@pytest.fixture
def name(unique: str) -> RepositoryName:
    return RepositoryName(unique, "example.org")


def held(pending: PendingKeys, name: RepositoryName) -> Lease:
    lease = pending.acquire(name)
    assert lease is not None
    return lease


def know(pending: PendingKeys, name: RepositoryName) -> None:
    """Sync in full once, so that scopes are keys from now on."""
    lease = held(pending, name)
    assert pending.take(lease, name, 10) == Everything()
    pending.done(lease, name, Everything())
    pending.release(lease, name)
    pending.started(name)


def taken(scope: Scope | None) -> frozenset[str]:
    assert isinstance(scope, Keys)
    return scope.keys


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_people_see_what_is_pending(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    assert pending.backlog(name, 10) == Backlog(everything=True)
    know(pending, name)
    pending.add(name, ODD_KEYS)
    odd = tuple(sorted(ODD_KEYS))
    assert pending.backlog(name, 10) == Backlog(pending=len(odd), keys=odd)
    lease = held(pending, name)
    pending.take(lease, name, 100)
    pending.add(name, frozenset({"cvmfs/b", "cvmfs/a"}))
    seen = pending.backlog(name, 10)
    assert seen == Backlog(2, len(odd), held=True, keys=("cvmfs/a", "cvmfs/b"), keys_in_flight=odd)
    few = pending.backlog(name, 1)
    assert (few.pending, few.in_flight) == (2, len(odd))
    assert len(few.keys) == len(few.keys_in_flight) == 1
    assert set(few.keys) < {"cvmfs/a", "cvmfs/b"}
    assert pending.backlog(name, 10) == seen  # looking changes nothing


def test_keys_travel_from_add_to_done(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    assert pending.add(name, ODD_KEYS) is True
    pending.started(name)
    lease = held(pending, name)
    scope = pending.take(lease, name, 100)
    assert scope == Keys(ODD_KEYS)
    assert pending.count(name) == len(ODD_KEYS)
    pending.done(lease, name, scope)
    assert pending.count(name) == 0
    assert pending.take(lease, name, 100) is None
    assert pending.release(lease, name) is False


def test_a_repository_never_synced_is_taken_whole(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    pending.add(name, frozenset({"cvmfs/a"}))
    lease = held(pending, name)
    assert pending.take(lease, name, 1) == Everything()
    assert pending.take(lease, name, 1) == Everything()  # until it is done
    pending.done(lease, name, Everything())
    assert pending.take(lease, name, 1) is None


def test_take_gives_up_to_the_limit(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    keys = frozenset(f"cvmfs/{number}" for number in range(25))
    pending.add(name, keys)
    lease = held(pending, name)
    portions = [taken(pending.take(lease, name, 10)) for _ in range(3)]
    assert [len(portion) for portion in portions] == [10, 10, 5]
    assert frozenset().union(*portions) == keys


def test_many_keys_at_once(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    keys = frozenset(f"cvmfs/{number}" for number in range(30_000))
    assert pending.add(name, keys) is True
    lease = held(pending, name)
    scope = pending.take(lease, name, 25_000)
    assert len(taken(scope)) == 25_000
    assert pending.count(name) == 30_000
    assert scope is not None
    pending.done(lease, name, scope)
    assert pending.count(name) == 5_000


def test_one_task_is_enqueued_at_a_time(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    assert pending.add(name, frozenset()) is False
    assert pending.add(name, frozenset({"a"})) is True
    assert pending.add(name, frozenset({"b"})) is False
    pending.started(name)
    assert pending.add(name, frozenset({"c"})) is True


def test_many_repositories_at_once(world: World, unique: str) -> None:
    pending = world.pending()
    names = [RepositoryName(f"{unique}-{number}", "example.org") for number in range(450)]
    pending.add(names[3], frozenset({"a"}))
    assert pending.add_many({each: frozenset({"a", str(each)}) for each in names}) == [*names[:3], *names[4:]]
    assert pending.add_many({each: frozenset({"a"}) for each in names}) == []
    assert {pending.count(each) for each in names} == {2}


def test_a_holder_needs_no_task(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    lease = held(pending, name)
    assert pending.add(name, frozenset({"a"})) is False
    assert pending.waiting([name]) == []
    assert taken(pending.take(lease, name, 9)) == {"a"}


def test_keys_that_come_too_late_for_the_holder_are_handed_on(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    lease = held(pending, name)
    assert pending.take(lease, name, 9) is None
    pending.add(name, frozenset({"a"}))
    assert pending.release(lease, name) is True
    assert pending.add(name, frozenset({"b"})) is False  # the releaser's task is queued


def test_a_lost_task_is_believed_in_for_a_time_only(world: World, name: RepositoryName) -> None:
    pending = world.pending(queued_seconds=0.2)
    assert pending.add(name, frozenset({"a"})) is True
    until(lambda: pending.waiting([name]) == [name])


def test_waiting_names_what_nobody_works_on_once(world: World, unique: str) -> None:
    pending = world.pending()
    known, fresh, busy, queued = (
        RepositoryName(f"{unique}-{what}", "example.org") for what in ("kn", "fr", "bu", "qu")
    )
    know(pending, known)
    held(pending, busy)
    pending.add(queued, frozenset({"a"}))
    assert pending.waiting([known, fresh, busy, queued]) == [fresh]
    assert pending.waiting([known, fresh, busy, queued]) == []


def test_only_one_holds_the_lease(world: World, name: RepositoryName) -> None:
    pending, other = world.pending(), world.pending()
    lease = held(pending, name)
    assert other.acquire(name) is None
    assert lease.renew() is True
    pending.release(lease, name)
    assert lease.renew() is False
    assert held(other, name).token != lease.token


def test_a_changed_key_is_pending_again_while_it_is_in_flight(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    pending.add(name, frozenset({"a"}))
    lease = held(pending, name)
    scope = pending.take(lease, name, 9)
    assert scope is not None
    pending.add(name, frozenset({"a"}))
    pending.done(lease, name, scope)
    assert taken(pending.take(lease, name, 9)) == {"a"}


def test_given_back_keys_are_pending(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    pending.add(name, frozenset({"a", "b"}))
    pending.started(name)
    lease = held(pending, name)
    pending.take(lease, name, 1)
    pending.give_back(lease, name)
    pending.give_back(lease, name)
    assert taken(pending.take(lease, name, 9)) == {"a", "b"}
    assert pending.release(lease, name) is True  # in flight still: as good as given back
    assert taken(pending.take(held(pending, name), name, 9)) == {"a", "b"}


def test_a_full_sync_that_is_given_back_is_asked_for_again(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    lease = held(pending, name)
    assert pending.take(lease, name, 1) == Everything()
    pending.give_back(lease, name)
    pending.done(lease, name, Everything())  # of a sync that was never taken: says nothing
    assert pending.take(lease, name, 1) == Everything()


def test_need_everything_reaches_the_holder_and_voids_a_full_sync_under_way(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    know(pending, name)
    lease = held(pending, name)
    pending.need_everything(name)
    assert pending.take(lease, name, 1) == Everything()
    pending.need_everything(name)
    pending.done(lease, name, Everything())
    assert pending.take(lease, name, 1) == Everything()
    pending.done(lease, name, Everything())
    assert pending.take(lease, name, 1) is None


FAR = Everything("cvmfs/caf\u00e9\udcff\nx", "rules 1")


def test_a_full_sync_goes_on_where_it_was_cut_and_leaves_keys_pending(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    lease = held(pending, name)
    pending.add(name, frozenset({"before"}))
    assert pending.take(lease, name, 1) == Everything()
    assert pending.count(name) == 1
    assert pending.reached(lease, name, Everything("cvmfs/a", "rules 1"))
    assert pending.reached(lease, name, FAR)
    assert pending.release(lease, name)
    pending.need_everything(name, anew=False)
    lease = held(pending, name)
    assert pending.take(lease, name, 1) == FAR
    assert pending.backlog(name, 9).keys == ("before",)
    pending.done(lease, name, FAR)
    assert pending.is_whole(name)
    assert pending.take(lease, name, 9) == Keys(frozenset({"before"}))
    pending.need_everything(name, anew=False)  # nothing is under way
    assert pending.take(lease, name, 1) == Everything()


def test_a_full_sync_that_is_asked_for_anew_begins_at_the_front(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    lease = held(pending, name)
    pending.take(lease, name, 1)
    assert pending.reached(lease, name, FAR)
    pending.need_everything(name)
    assert not pending.reached(lease, name, FAR)  # of the one that was under way
    assert pending.take(lease, name, 1) == Everything()
    assert pending.reached(lease, name, FAR)
    world.flush()
    lease = held(pending, name)
    assert pending.take(lease, name, 1) == Everything()


def test_only_the_holder_says_how_far_it_came(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    lease = held(pending, name)
    assert not pending.reached(lease, name, FAR)  # it has taken no full sync
    pending.take(lease, name, 1)
    pending.release(lease, name)
    with pytest.raises(Busy):
        pending.reached(lease, name, FAR)


def test_what_a_dead_holder_left_is_pending_again(world: World, name: RepositoryName) -> None:
    pending = world.pending(lease_seconds=3.0)
    know(world.pending(), name)
    pending.add(name, frozenset({"a", "b"}))
    pending.started(name)
    dead = held(pending, name)
    assert len(taken(pending.take(dead, name, 1))) == 1
    until(lambda: pending.waiting([name]) == [name])
    lease = held(pending, name)
    assert taken(pending.take(lease, name, 9)) == {"a", "b"}
    assert dead.renew() is False


def test_a_renewed_lease_lives_on(world: World, name: RepositoryName) -> None:
    pending = world.pending(lease_seconds=LIFE)
    until(lambda: lived_on(pending, name))


LIFE = 0.5


def lived_on(pending: PendingKeys, name: RepositoryName) -> bool:
    """Renew a lease over two of its lives; False when this machine stood still for one, which proves nothing."""
    lease = wait_for_lease(pending, name)
    began = renewed = time.monotonic()
    while time.monotonic() < began + 2 * LIFE:
        now = time.monotonic()
        lives = lease.renew() and pending.acquire(name) is None
        if time.monotonic() - renewed >= LIFE:
            return False
        assert lives
        renewed = now
        threading.Event().wait(0.05)
    return True


OPERATIONS: dict[str, Callable[[PendingKeys, Lease, RepositoryName], object]] = {
    "take": lambda pending, lease, name: pending.take(lease, name, 1),
    "done keys": lambda pending, lease, name: pending.done(lease, name, Keys(frozenset({"a"}))),
    "done everything": lambda pending, lease, name: pending.done(lease, name, Everything()),
    "give back": lambda pending, lease, name: pending.give_back(lease, name),
    "release": lambda pending, lease, name: pending.release(lease, name),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("how", ["released", "flushed", "expired", "taken over", "other repository"])
def test_a_lost_lease_changes_nothing(world: World, name: RepositoryName, operation: str, how: str) -> None:
    pending = world.pending(lease_seconds=0.1 if how in {"expired", "taken over"} else 60.0)
    know(world.pending(), name)
    lease = held(pending, name)
    if how == "released":
        pending.release(lease, name)
    elif how == "flushed":
        world.flush()
    elif how == "other repository":
        know(world.pending(), name := RepositoryName(f"{name.label}-b", name.domain))
    else:
        successor = wait_for_lease(world.pending(), name)
        if how == "expired":
            pending.release(successor, name)
    pending.add(name, frozenset({"a", "b"}))
    before = pending.count(name)
    with pytest.raises(Busy):
        OPERATIONS[operation](pending, lease, name)
    assert pending.count(name) == before == 2


STEPS = ("add", "started", "acquire", "take", "done", "release")


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("last", STEPS)
def test_a_flush_at_any_point_costs_a_full_sync_and_no_more(
    world: World, name: RepositoryName, last: str, known: bool
) -> None:
    pending = world.pending()
    if known:
        know(pending, name)
    holders: list[Lease] = []
    for step in STEPS[: STEPS.index(last) + 1]:
        if step == "add":
            pending.add(name, frozenset({"a"}))
        elif step == "started":
            pending.started(name)
        elif step == "acquire":
            holders.append(held(pending, name))
        elif step == "take":
            scope = pending.take(holders[0], name, 9)
            assert scope == (Keys(frozenset({"a"})) if known else Everything())
        elif step == "done":
            pending.done(holders[0], name, Keys(frozenset({"a"})) if known else Everything())
        else:
            assert pending.release(holders[0], name) is False
    world.flush()
    for lease in holders:
        assert lease.renew() is False
        with pytest.raises(Busy):
            pending.done(lease, name, Everything())
    assert pending.waiting([name]) == [name]
    assert pending.add(name, frozenset({"b"})) is False  # the task of ``waiting`` is queued
    lease = held(pending, name)
    assert pending.take(lease, name, 1) == Everything()
    pending.done(lease, name, Everything())
    assert pending.release(lease, name) is False
    assert pending.waiting([name]) == []


def wait_for_lease(pending: PendingKeys, name: RepositoryName) -> Lease:
    found: list[Lease] = []

    def acquire() -> bool:
        found.extend(lease for lease in [pending.acquire(name)] if lease is not None)
        return bool(found)

    until(acquire)
    return found[0]


class Bench:
    """Producers and workers as in production, but for the periodic drain: wake-ups alone must see every key through."""

    def __init__(self, world: World, name: RepositoryName) -> None:
        self._world = world
        self._name = name
        self._at_work = threading.Lock()
        self.tasks: queue.Queue[bool] = queue.Queue()
        self.published: set[str] = set()

    def produce(self, number: int) -> None:
        pending = self._world.pending()
        for each in range(50):
            if pending.add(self._name, frozenset({f"{number}/{each}", "shared"})):
                self.tasks.put(True)

    def work(self) -> None:
        pending = self._world.pending()
        while self.tasks.get():
            pending.started(self._name)
            lease = pending.acquire(self._name)
            if lease is not None:
                self._drain(pending, lease)

    def _drain(self, pending: PendingKeys, lease: Lease) -> None:
        assert self._at_work.acquire(blocking=False)
        while (scope := pending.take(lease, self._name, 7)) is not None:
            self.published.update(taken(scope))
            pending.done(lease, self._name, scope)
        self._at_work.release()
        if pending.release(lease, self._name):
            self.tasks.put(True)


def test_no_key_is_lost_and_one_works_at_a_time(world: World, name: RepositoryName) -> None:
    know(world.pending(), name)
    bench = Bench(world, name)
    wanted = {f"{number}/{each}" for number in range(4) for each in range(50)} | {"shared"}
    with ThreadPoolExecutor(8) as pool:
        workers = [pool.submit(bench.work) for _ in range(3)]
        producers = [pool.submit(bench.produce, number) for number in range(4)]
        try:
            for each in producers:
                each.result()
            until(lambda: bench.published == wanted and world.pending().count(name) == 0)
        finally:
            for _ in workers:
                bench.tasks.put(False)
        for each in workers:
            each.result()


@pytest.mark.stack
def test_scripts_are_sent_again_after_a_restart_of_redis(redis_server: redis.Redis, name: RepositoryName) -> None:
    pending = RedisPendingKeys(redis_server)
    pending.add(name, frozenset({"a"}))
    redis_server.script_flush()
    assert pending.add_many({name: frozenset({"b"})}) == []
    assert pending.count(name) == 2


@pytest.mark.stack
def test_a_request_sent_twice_gets_the_same_answer(redis_server: redis.Redis, name: RepositoryName) -> None:
    """redis-py repeats what may have been carried out before the connection broke."""
    pending = RedisPendingKeys(redis_server)
    assert [pending._run(pending_scripts.ADD, name, ["who", 9000, "a"], "add") for _ in range(2)] == [1, 1]
    assert [pending._run(pending_scripts.ACQUIRE, name, ["token", 9000], "acquire") for _ in range(2)] == [1, 1]


@pytest.mark.stack
def test_names_of_redis_keys_share_a_hash_tag(redis_server: redis.Redis, name: RepositoryName) -> None:
    pending = RedisPendingKeys(redis_server)
    pending.add(name, frozenset({"a"}))
    pending.take(held(pending, name), name, 1)
    keys: list[Any] = list(redis_server.scan_iter())
    found = {key.decode() for key in keys}
    assert found == {key_name(name, what) for what in ("lease", "flight", "queued", "mark")}
    assert all(each.startswith(f"softman:{{{name}}}:") for each in found)


@pytest.mark.stack
def test_a_refused_password_is_forbidden(stack: Stack, name: RepositoryName) -> None:
    server = stack.redis_url.rpartition("@")[2]
    with redis_client(f"redis://:wrong@{server}") as client, pytest.raises(Forbidden):
        RedisPendingKeys(client).count(name)


def test_a_redis_that_does_not_answer_is_unavailable(name: RepositoryName) -> None:
    with redis_client("redis://127.0.0.1:9/0") as client, pytest.raises(ServiceUnavailable):
        RedisPendingKeys(client).count(name)


def test_a_wrong_url_is_invalid_and_not_repeated() -> None:
    with pytest.raises(InvalidInput) as caught:
        redis_client("amqp://user:hidden@host")
    assert "hidden" not in str(caught.value)


def test_keys_can_be_taken_before_everything(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    pending.add(name, frozenset({"cvmfs/a", "cvmfs/b"}))
    lease = held(pending, name)
    assert not pending.is_whole(name)
    scope = pending.take_keys(lease, name, 10)
    assert scope == Keys(frozenset({"cvmfs/a", "cvmfs/b"}))
    pending.done(lease, name, scope)
    assert pending.take_keys(lease, name, 10) is None
    pending.started(name)
    assert pending.release(lease, name)  # everything is still to be done
    pending.started(name)
    lease = held(pending, name)
    everything = pending.take(lease, name, 10)
    assert everything == Everything()
    pending.done(lease, name, everything)
    assert pending.is_whole(name)


def test_what_is_no_repository_takes_no_keys_for_a_while(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    pending.add(name, frozenset({"cvmfs/a"}))
    pending.forget(name, 60)
    assert pending.count(name) == 0
    assert not pending.add(name, frozenset({"cvmfs/b"}))
    assert pending.count(name) == 0
    pending.need_everything(name)  # as soon as somebody syncs it, it is one
    assert pending.add(name, frozenset({"cvmfs/c"}))
    assert pending.count(name) == 1
    pending.forget(name, 0.1)
    until(lambda: pending.add(name, frozenset({"cvmfs/d"})))


def test_what_is_published_is_not_forgotten(world: World, name: RepositoryName) -> None:
    """Whoever says that there is no such repository looked before it was made."""
    pending = world.pending()
    pending.add(name, frozenset({"cvmfs/a"}))
    lease = held(pending, name)
    pending.forget(name, 60)
    assert pending.count(name) == 1
    scope = pending.take(lease, name, 10)
    assert scope == Everything()
    pending.done(lease, name, scope)
    pending.release(lease, name)
    pending.add(name, frozenset({"cvmfs/b"}))
    pending.forget(name, 60)
    pending.add(name, frozenset({"cvmfs/c"}))
    assert pending.count(name) == 2


def test_what_is_given_up_is_forgotten_with_its_lease(world: World, name: RepositoryName) -> None:
    pending = world.pending()
    lease = held(pending, name)
    assert pending.take(lease, name, 9) == Everything()
    pending.done(lease, name, Everything())
    pending.add(name, frozenset({"a", "b"}))
    pending.take(lease, name, 1)
    pending.drop(name)
    assert pending.backlog(name, 9) == Backlog(everything=True)
    with pytest.raises(Busy):
        pending.take(lease, name, 1)
    assert pending.acquire(name) is not None
    pending.drop(name)
