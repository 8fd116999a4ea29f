"""Rolling back: an earlier tree is shown, and stays shown, whatever bucket and publishers say, until it is resumed."""

import pytest

from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.errors import CandidateRefused, InvalidInput, NotFound
from softman.model import CommitRequest
from softman.names import RepositoryName
from softman.services.rollback import WentBack
from tests.support.world import World


def registry(world: World) -> MemoryRegistry:
    return MemoryRegistry(Role.STRATUM0, world.vault)


def with_two_revisions(world: World) -> RepositoryName:
    """``/a`` is there, and was something else in the revision before."""
    name = world.provision()
    for content in (b"good", b"bad"):
        world.buckets.put(name.bucket, "cvmfs/a", content)
        world.sync(name)
    return name


def test_the_earlier_tree_is_shown_until_it_is_resumed(world: World) -> None:
    name = with_two_revisions(world)
    assert world.rollbacks.roll_back(name, 2) == WentBack(revision=4, shows=2)
    assert world.shown(name) == {"/a": b"good"}
    with pytest.raises(CandidateRefused, match=r"is paused: rolled back to revision 2; .* softman resume alice"):
        world.sync(name)
    assert world.publisher.repositories() == []
    assert world.shown(name) == {"/a": b"good"}
    assert world.lifecycle.resume(name)
    assert not world.lifecycle.resume(name)
    world.sync(name)
    assert world.shown(name) == {"/a": b"bad"}


def test_events_wait_without_an_error(world: World) -> None:
    name = with_two_revisions(world)
    world.rollbacks.roll_back(name, 2)
    turns = world.turns(interactive=True)
    world.pending.add(name, frozenset({"cvmfs/a"}))
    assert turns.publish_changes(name).reports == ()
    assert world.pending.count(name) == 1
    with pytest.raises(CandidateRefused, match="is paused"):
        turns.sync_everything(name)


def test_asked_twice_it_makes_one_revision(world: World) -> None:
    name = with_two_revisions(world)
    for _ in range(2):
        assert world.rollbacks.roll_back(name, 2) == WentBack(revision=4, shows=2)


def test_a_publisher_that_is_at_work_does_not_undo_it(world: World) -> None:
    """It has staged a revision, and asks for it a moment after the roll-back."""
    name = with_two_revisions(world)
    world.buckets.put(name.bucket, "cvmfs/a", b"worse")

    def roll_back(_request: CommitRequest) -> None:
        world.door.before = lambda _request: None
        world.rollbacks.roll_back(name, 2)

    world.door.before = roll_back
    with pytest.raises(CandidateRefused, match="is paused"):
        world.sync(name)
    assert world.shown(name) == {"/a": b"good"}


@pytest.mark.parametrize(("revision", "why"), [(9, "softman log alice"), (3, "in force already"), (0, "from 1 on")])
def test_a_revision_that_is_not_there_pauses_nothing(world: World, revision: int, why: str) -> None:
    name = with_two_revisions(world)
    with pytest.raises(InvalidInput, match=why):
        world.rollbacks.roll_back(name, revision)
    assert world.record(name).pause is None


def test_only_what_is_in_use_is_rolled_back(world: World) -> None:
    name = with_two_revisions(world)
    world.lifecycle.lock(name)
    assert world.rollbacks.roll_back(name, 2).shows == 2
    world.lifecycle.retire(name, keep_content=True)
    with pytest.raises(InvalidInput, match="is retired"):
        world.rollbacks.roll_back(name, 2)
    with pytest.raises(NotFound):
        world.rollbacks.roll_back(RepositoryName("bobby", "example.org"), 1)
