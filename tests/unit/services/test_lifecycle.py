"""Repositories that are locked or retired: nothing is signed, nothing is made anew, and what waits is kept."""

from dataclasses import replace

import pytest

from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.errors import CandidateRefused, Forbidden, InvalidInput, NotFound
from softman.model import Quotas, RegistryRecord, Retirement, State
from softman.names import Kind, RepositoryName
from softman.services.turns import Turns
from tests.support.world import World


def registry(world: World) -> MemoryRegistry:
    return MemoryRegistry(Role.STRATUM0, world.vault)


def put(world: World, name: RepositoryName, state: State) -> None:
    record = registry(world).get(name)
    assert record is not None
    registry(world).put(replace(record, state=state))


@pytest.mark.parametrize(("state", "why"), [(State.LOCKED, "is locked"), (State.RETIRED, "is retired")])
def test_nothing_is_signed_for_a_closed_repository(world: World, state: State, why: str) -> None:
    name = world.provision()
    world.buckets.put(name.bucket, "cvmfs/a", b"a")
    world.sync(name)
    request = world.door.requests[-1]
    put(world, name, state)
    with pytest.raises(CandidateRefused, match=why):
        world.stratum0.commit(request)
    world.buckets.put(name.bucket, "cvmfs/b", b"b")
    with pytest.raises(CandidateRefused, match=why):
        world.sync(name)
    assert world.shown(name) == {"/a": b"a"}
    assert world.publisher.repositories() == []


def test_locking_and_unlocking_may_be_repeated(world: World) -> None:
    name = world.provision()
    for _ in range(2):
        assert world.lifecycle.lock(name) == "alice.example.org is locked"
    for _ in range(2):
        assert world.lifecycle.unlock(name) == "alice.example.org is active"
    world.buckets.put(name.bucket, "cvmfs/a", b"a")
    world.sync(name)
    assert world.shown(name) == {"/a": b"a"}


@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED, State.RETIRED])
def test_only_what_takes_commits_can_be_locked(world: World, state: State) -> None:
    name = world.provision()
    put(world, name, state)
    with pytest.raises(InvalidInput, match=f"is {state}: only one that is active"):
        world.lifecycle.lock(name)
    with pytest.raises(NotFound):
        world.lifecycle.lock(RepositoryName("bob", "example.org"))


def test_asking_again_does_not_unlock(world: World) -> None:
    name = world.provision()
    put(world, name, State.LOCKED)
    world.stratum0.request("alice", "sub-alice", Kind.PERSONAL, None)
    world.stratum0.create_repository(name)
    world.stratum0.publish_keys(name)
    record = registry(world).get(name)
    assert record is not None
    assert record.state is State.LOCKED
    assert world.stratum0.unfinished() == []


def test_a_retired_repository_is_not_made_again(world: World) -> None:
    name = world.provision()
    put(world, name, State.RETIRED)
    with pytest.raises(Forbidden, match="is retired"):
        world.stratum0.request("alice", "sub-alice", Kind.PERSONAL, None)
    with pytest.raises(Forbidden, match="is retired"):
        world.stratum0.create_repository(name)
    with pytest.raises(Forbidden, match="is retired"):
        world.stratum0.publish_keys(name)


def test_keys_of_a_locked_repository_wait_and_are_published_afterwards(world: World) -> None:
    name = world.provision()
    states = MemoryTurnStates()
    turns = Turns(
        world.publisher,
        registry(world),
        world.pending,
        states,
        most=4,
        lease_seconds=60,
        clock=world.clock,
        interactive=False,
    )
    world.sync(name)
    world.buckets.put(name.bucket, "cvmfs/a", b"a")
    put(world, name, State.LOCKED)
    world.pending.add(name, frozenset({"cvmfs/a"}))
    assert turns.publish_changes(name).reports == ()
    with pytest.raises(CandidateRefused, match="is locked"):
        turns.sync_everything(name)
    assert states.failure(name) is None
    assert (turns.waiting(), world.shown(name)) == ([], {})
    put(world, name, State.ACTIVE)
    assert turns.waiting() == [name]
    turns.publish_changes(name)
    assert world.shown(name) == {"/a": b"a"}


def test_a_retired_repository_comes_back_as_it_was(world: World) -> None:
    name = world.provision()
    for _ in range(2):
        retired = world.lifecycle.retire(name, keep_content=True)
        assert retired.state is State.RETIRED
        assert retired.retirement == Retirement(world.clock.unix(), world.clock.unix() + 30 * 86400)
    assert world.stratum0.unfinished() == []
    for _ in range(2):
        assert world.lifecycle.restore(name).state is State.CREATED
    assert world.stratum0.unfinished() == [name]
    world.stratum0.publish_keys(name)
    assert world.record(name).state is State.ACTIVE
    assert world.record(name).retirement is None


def test_giving_up_and_restoring_is_no_way_around_a_lock(world: World) -> None:
    name = world.provision()
    world.lifecycle.lock(name)
    for keep in (True, False):
        world.lifecycle.retire(name, keep_content=keep)
    assert world.lifecycle.restore(name).state is State.LOCKED
    world.stratum0.publish_keys(name)
    assert world.record(name).state is State.LOCKED
    with pytest.raises(InvalidInput, match="locked, not retired"):
        world.lifecycle.restore(name)


def test_deciding_otherwise_begins_the_grace_anew(world: World) -> None:
    name = world.provision()
    world.lifecycle.retire(name, keep_content=True)
    world.clock.tick(86400)
    assert world.lifecycle.retire(name, keep_content=False).retirement == Retirement(
        world.clock.unix(), world.clock.unix() + 30 * 86400, keep_content=False
    )


def test_what_is_dropped_does_not_come_back(world: World) -> None:
    name = world.provision()
    retired = world.lifecycle.retire(name, keep_content=False)
    assert retired.retirement is not None
    registry(world).put(replace(retired, retirement=replace(retired.retirement, dropped=True)))
    with pytest.raises(InvalidInput, match="were dropped"):
        world.lifecycle.restore(name)
    with pytest.raises(InvalidInput, match="dropped already"):
        world.lifecycle.retire(name, keep_content=True)
    assert world.lifecycle.retire(name, keep_content=False).retirement == world.record(name).retirement


def test_quotas_are_changed_one_by_one(world: World) -> None:
    name = world.provision()
    assert world.lifecycle.set_quotas(name, {"max_entries": 5}) == Quotas(max_entries=5)
    assert world.lifecycle.set_quotas(name, {"max_bytes": 7}) == Quotas(max_entries=5, max_bytes=7)
    assert world.record(name).quotas == Quotas(max_entries=5, max_bytes=7)


@pytest.mark.parametrize(
    ("quotas", "why"),
    [
        ({}, "no quota is named; there are max_entries"),
        ({"max_files": 1}, "no quota 'max_files'"),
        ({"max_bytes": 0}, "max_bytes is a whole number from 1 on"),
        ({"max_bytes": True}, "max_bytes"),
        ({"max_bytes": "9"}, "max_bytes"),
        ({"max_bytes": 2**63}, "max_bytes"),
    ],
)
def test_quotas_that_make_no_sense(world: World, quotas: dict[str, object], why: str) -> None:
    name = world.provision()
    with pytest.raises(InvalidInput, match=why):
        world.lifecycle.set_quotas(name, quotas)
    assert world.record(name).quotas == Quotas()


def test_others_who_change_the_record_meanwhile(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit notes the configuration of the bucket at the same moment."""
    name = world.provision()
    mine = registry(world)
    put_it = MemoryRegistry.put

    def put_late(self: MemoryRegistry, record: RegistryRecord) -> RegistryRecord:
        monkeypatch.setattr(MemoryRegistry, "put", put_it)
        put_it(mine, replace(world.record(name), configuration="unpack = false\n"))
        return put_it(self, record)

    monkeypatch.setattr(MemoryRegistry, "put", put_late)
    world.lifecycle.lock(name)
    assert (world.record(name).state, world.record(name).configuration) == (State.LOCKED, "unpack = false\n")
