"""Which turns are made: not those that would fail again, not too many of one owner, none for strangers."""

from typing import Any, cast

import pytest

from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.errors import CandidateRefused, Forbidden, NotFound
from softman.model import CommitRequest, Failure, Stranger
from softman.names import RepositoryName
from softman.services.turns import FIRST_PAUSE, LONGEST_PAUSE, KeysOnly, Turns
from tests.support.world import World


@pytest.fixture
def states() -> MemoryTurnStates:
    return MemoryTurnStates()


@pytest.fixture
def alice(world: World) -> RepositoryName:
    return world.provision()


def _turns(world: World, states: MemoryTurnStates, *, interactive: bool = False, most: int = 4) -> Turns:
    publisher = world.make_publisher()
    if interactive:
        publisher._pending = cast("Any", KeysOnly(world.pending))
    return Turns(
        publisher,
        MemoryRegistry(Role.PUBLISHER, world.vault),
        world.pending,
        states,
        most=most,
        lease_seconds=60,
        clock=world.clock,
        interactive=interactive,
    )


def _refuses(_request: CommitRequest) -> None:
    raise CandidateRefused("over its quota")


def _put(world: World, name: RepositoryName, key: str) -> None:
    world.buckets.put(name.bucket, key, key.encode())
    world.pending.add(name, frozenset({key}))


def test_a_failure_is_remembered_and_nothing_is_dropped(
    world: World, alice: RepositoryName, states: MemoryTurnStates
) -> None:
    world.sync(alice)
    turns = _turns(world, states)
    _put(world, alice, "cvmfs/a")
    world.door.before = _refuses
    with pytest.raises(CandidateRefused):
        turns.publish_changes(alice)
    now = world.clock.unix()
    assert states.failure(alice) == Failure("over its quota", "candidate-refused", now, now, 1, now + FIRST_PAUSE)
    assert turns.waiting() == []
    _put(world, alice, "cvmfs/b")
    asked = len(world.door.requests)
    assert turns.publish_changes(alice).revision is None
    assert len(world.door.requests) == asked
    world.clock.tick(FIRST_PAUSE)
    world.door.before = lambda _request: None
    assert turns.waiting() == [alice]
    turns.publish_changes(alice)
    assert world.shown(alice) == {"/a": b"cvmfs/a", "/b": b"cvmfs/b"}
    assert states.failure(alice) is None


def test_pauses_grow_and_whoever_asks_for_a_sync_gets_it(
    world: World, alice: RepositoryName, states: MemoryTurnStates
) -> None:
    turns = _turns(world, states)
    world.buckets.put("alice", "cvmfs/a", b"a")
    world.door.before = _refuses
    began = world.clock.unix()
    for times in range(1, 9):
        with pytest.raises(CandidateRefused):
            turns.sync_everything(alice)
        failure = states.failure(alice)
        assert failure is not None
        assert (failure.times, failure.since) == (times, began)
        assert failure.again_at - failure.at == min(FIRST_PAUSE * 2 ** (times - 1), LONGEST_PAUSE)
        world.clock.tick()
    world.door.before = lambda _request: None
    assert turns.sync_everything(alice).revision == 2
    assert states.failure(alice) is None


def test_a_bucket_that_is_no_repository_is_refused_and_reported(world: World, states: MemoryTurnStates) -> None:
    turns = _turns(world, states)
    nobody = RepositoryName("nobody", "example.org")
    world.pending.add(nobody, frozenset({"cvmfs/a"}))
    assert not turns.publish_changes(nobody).again
    assert states.strangers() == [Stranger("nobody", "there is no repository for this bucket", world.clock.unix())]
    assert states.failure(nobody) is None
    assert not world.pending.add(nobody, frozenset({"cvmfs/b"}))
    assert world.pending.count(nobody) == 0
    with pytest.raises(NotFound, match="no repository nobody"):
        turns.sync_everything(nobody)


def test_somebody_elses_bucket_is_refused_and_reported(world: World, states: MemoryTurnStates) -> None:
    world.buckets.add_user("mallory")
    world.buckets.ensure_bucket("alice", "mallory")
    name = world.stratum0.request("alice", "s", "personal", None).repository  # type: ignore[arg-type]
    world.stratum0.create_repository(name)
    world.stratum0.publish_keys(name)
    _put(world, name, "cvmfs/a")
    turns = _turns(world, states)
    with pytest.raises(Forbidden):
        turns.publish_changes(name)
    failure = states.failure(name)
    assert failure is not None
    assert "belongs to mallory" in failure.reason
    assert world.pending.count(name) == 0  # they could be without number


def test_interactive_turns_publish_keys_and_leave_the_rest(
    world: World, alice: RepositoryName, states: MemoryTurnStates
) -> None:
    world.buckets.put("alice", "cvmfs/old", b"old")
    _put(world, alice, "cvmfs/new")
    turn = _turns(world, states, interactive=True).publish_changes(alice)
    assert world.shown(alice) == {"/new": b"cvmfs/new"}
    assert turn.again
    assert turn.bulk
    assert not _turns(world, states).publish_changes(alice).again
    assert world.shown(alice) == {"/new": b"cvmfs/new", "/old": b"old"}
    _put(world, alice, "cvmfs/newer")
    assert not _turns(world, states, interactive=True).publish_changes(alice).again


def test_an_owner_has_only_so_many_turns(world: World, alice: RepositoryName, states: MemoryTurnStates) -> None:
    world.sync(alice)
    bob = world.provision("bob")
    place: Any = states.enter("alice:bulk", 1)
    turns = _turns(world, states, most=1)
    _put(world, alice, "cvmfs/a")
    turn = turns.publish_changes(alice)
    assert (turn.crowded, turn.again, turn.bulk) == (True, True, True)
    assert turns.sync_everything(alice).crowded
    assert turns.sync_everything(bob).revision is None
    assert not turns.sync_everything(bob).crowded
    states.leave("alice:bulk", place)
    assert not turns.publish_changes(alice).again
    assert world.shown(alice) == {"/a": b"cvmfs/a"}
