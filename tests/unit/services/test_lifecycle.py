"""Repositories that are locked or retired: nothing is signed, nothing is made anew, and what waits is kept."""

from dataclasses import replace

import pytest

from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.errors import CandidateRefused, Forbidden, InvalidInput, NotFound
from softman.model import State
from softman.names import Kind, RepositoryName
from softman.services.lifecycle import Lifecycle
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
    lifecycle = Lifecycle(registry(world))
    for _ in range(2):
        assert lifecycle.lock(name) == "alice.example.org is locked"
    for _ in range(2):
        assert lifecycle.unlock(name) == "alice.example.org is active"
    world.buckets.put(name.bucket, "cvmfs/a", b"a")
    world.sync(name)
    assert world.shown(name) == {"/a": b"a"}


@pytest.mark.parametrize("state", [State.REQUESTED, State.CREATED, State.RETIRED])
def test_only_what_takes_commits_can_be_locked(world: World, state: State) -> None:
    name = world.provision()
    put(world, name, state)
    with pytest.raises(InvalidInput, match=f"is {state}: only one that is active"):
        Lifecycle(registry(world)).lock(name)
    with pytest.raises(NotFound):
        Lifecycle(registry(world)).lock(RepositoryName("bob", "example.org"))


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
