"""Giving a repository up: bucket, keys and pending work are let go, also after death; the rest when it is time."""

from collections.abc import Callable
from pathlib import Path

import pytest

from softman.adapters.memory import MemoryBuckets
from softman.adapters.memory_pending import MemoryPendingKeys
from softman.adapters.memory_vault import MemoryKeyVault
from softman.adapters.vault_layout import Role
from softman.cvmfs.errors import ObjectMissing
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.store.local import LocalStore
from softman.errors import CandidateRefused, Forbidden, InvalidInput
from softman.model import Base, CommitRequest, State
from softman.names import Kind, RepositoryName
from softman.services.material import MasterKind
from softman.services.proof import signed
from tests.support.dying import Death, Killed
from tests.support.world import DOMAIN, World

_GRACE = 30 * 86400.0


def never() -> bool:
    return False


@pytest.fixture
def alice(world: World) -> RepositoryName:
    name = world.provision("alice")
    world.connector.connect(name)
    world.buckets.put("alice", "cvmfs/a", b"1")
    world.sync(name)
    return name


def owned(world: World, name: RepositoryName) -> dict[str, str]:
    found = MemoryKeyVault(Role.PUBLISHER, world.vault).read_owner_keys(world.record(name).owner, name)
    assert found is not None
    return found


def retire(world: World, name: RepositoryName, *, keep_content: bool = True) -> None:
    """All of the chain, as its tasks do it."""
    world.lifecycle.retire(name, keep_content=keep_content)
    world.retirements.revoke_keys(name)
    world.connector.disconnect(name)
    world.turns().forget(name)


def restore(world: World, name: RepositoryName) -> None:
    """All of the chain of provisioning."""
    world.lifecycle.restore(name)
    world.stratum0.create_repository(name)
    world.stratum0.publish_keys(name)
    world.publisher.attach(name)
    world.connector.connect(name)
    world.sync(name)


def proposal(world: World, name: RepositoryName, key: GatewayKey) -> CommitRequest:
    manifest = world.reader(name).manifest()
    here = Base(manifest.revision, str(manifest.root_hash))
    return signed(CommitRequest(str(name), "0" * 32, here, here.root_hash, "", ""), key)


def test_nothing_of_it_goes_on(world: World, alice: RepositoryName) -> None:
    events: list[str] = []
    world.buckets._on_event = lambda _bucket, key: events.append(key)
    world.pending.add(alice, frozenset({"cvmfs/b"}))
    former = world.keys.get(alice).gateway
    retire(world, alice)
    world.buckets.put("alice", "cvmfs/b", b"2")
    assert events == []
    assert world.pending.count(alice) == 0
    assert owned(world, alice).keys() == {"publicKey", "certificateKey"}
    assert world.keys.get(alice).gateway != former
    with pytest.raises(CandidateRefused, match="is retired"):
        world.stratum0.commit(proposal(world, alice, former))
    with pytest.raises(Forbidden, match="comes back with softman restore"):
        world.stratum0.request("alice", "sub-alice", Kind.PERSONAL, None)
    assert world.shown(alice) == {"/a": b"1"}
    assert world.whitelists.sign_all() == (0, [])
    world.clock.tick(_GRACE - 86400)
    assert world.whitelists.sign_all() == (1, [])


def test_what_was_queued_before_connects_the_bucket_for_a_moment_only(world: World, alice: RepositoryName) -> None:
    retire(world, alice)
    world.connector.connect(alice)
    world.pending.add(alice, frozenset({"cvmfs/b"}))
    assert world.turns().publish_changes(alice).connected
    assert world.pending.count(alice) == 0


def test_it_comes_back_with_another_gateway_key(world: World, alice: RepositoryName) -> None:
    former = world.keys.get(alice).gateway
    retire(world, alice)
    world.buckets.put("alice", "cvmfs/b", b"2")
    restore(world, alice)
    assert world.shown(alice) == {"/a": b"1", "/b": b"2"}
    assert owned(world, alice)["gatewayKey"] == world.keys.get(alice).gateway.to_text()
    with pytest.raises(Forbidden):
        world.stratum0.commit(proposal(world, alice, former))


def test_the_rest_of_the_chain_leaves_alone_what_is_restored(world: World, alice: RepositoryName) -> None:
    world.lifecycle.retire(alice, keep_content=True)
    restore(world, alice)
    before = owned(world, alice)
    world.pending.add(alice, frozenset({"cvmfs/b"}))
    assert "restored" in world.retirements.revoke_keys(alice)
    assert "restored" in world.turns().forget(alice)
    assert owned(world, alice) == before
    assert world.pending.count(alice) == 1


def test_a_bucket_that_is_gone_is_no_obstacle(world: World) -> None:
    assert world.connector.disconnect(RepositoryName("bobby", "example.org")) == "there is no bucket bobby any more"


@pytest.mark.parametrize("keep_content", [True, False])
def test_content_goes_when_it_shall_and_not_before(world: World, alice: RepositoryName, keep_content: bool) -> None:
    retire(world, alice, keep_content=keep_content)
    world.clock.tick(_GRACE - 1)
    assert world.retirements.due() == []
    assert world.retirements.drop(alice, never)
    assert world.shown(alice) == {"/a": b"1"}
    world.clock.tick(2)
    assert world.retirements.due() == ([] if keep_content else [alice])
    assert world.retirements.drop(alice, never)
    if keep_content:
        world.whitelists.sign_all()
        assert world.shown(alice) == {"/a": b"1"}
        assert world.lifecycle.restore(alice).state is State.CREATED
        return
    _assert_dropped(world, alice)


def test_its_own_master_key_goes_and_that_of_the_domain_stays(tmp_path: Path, material: dict[str, str]) -> None:
    for kind, place in (
        (MasterKind.REPOSITORY, "repository/alice.example.org"),
        (MasterKind.DOMAIN, f"domain/{DOMAIN}"),
    ):
        world = World(tmp_path / kind, material, master=kind)
        name = world.stratum0.request("alice", "sub-alice", Kind.PERSONAL, None).repository
        world.stratum0.create_repository(name)
        world.stratum0.publish_keys(name)
        _drop(world, name)
        left = MemoryKeyVault(Role.STRATUM0, world.vault).read_master(place)
        assert left is not None
        assert left.keys() == ({"dropped"} if kind is MasterKind.REPOSITORY else {"masterKey", "publicKey"})


def test_a_drop_that_takes_long_goes_on_later_and_shows_nothing_meanwhile(world: World, alice: RepositoryName) -> None:
    retire(world, alice, keep_content=False)
    world.clock.tick(_GRACE)
    turns = 0
    while not world.retirements.drop(alice, _after(2)):
        turns += 1
        with pytest.raises(ObjectMissing):
            world.reader(alice).manifest()
        assert world.record(alice).retirement is not None
    assert turns >= 2
    _assert_dropped(world, alice)


def test_killed_between_any_two_writes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever repeats it comes to the same end, for retiring, dropping and restoring."""
    death = Death(
        monkeypatch,
        (MemoryBuckets, "remove_notification"),
        (MemoryBuckets, "remove_uploads"),
        (MemoryPendingKeys, "drop"),
        (LocalStore, "delete"),
    )
    deaths = {"retire": 0, "restore": 0, "drop": 0}
    name = world.provision("alice")
    restore_it = lambda: restore(world, name)  # noqa: E731 - one line each
    while _dies(death, deaths, "retire", lambda: retire(world, name)):
        assert world.record(name).state is State.RETIRED
        retire(world, name)
        assert "gatewayKey" not in owned(world, name)
        restore(world, name)
    while _dies(death, deaths, "restore", restore_it):
        restore(world, name)
        assert world.record(name).state is State.ACTIVE
        world.buckets.put("alice", "cvmfs/a", f"{deaths}".encode())
        world.sync(name)
        retire(world, name)
    retire(world, name, keep_content=False)
    world.clock.tick(_GRACE)
    while _dies(death, deaths, "drop", lambda: world.retirements.drop(name, never)):
        assert world.retirements.due() in ([name], [])
    _assert_dropped(world, name)
    assert min(deaths.values()) >= 3, f"the loops have met every write: {deaths}"


def _dies(death: Death, deaths: dict[str, int], what: str, act: Callable[[], object]) -> bool:
    """Do it, and be killed one write later than the last time; False when it came to its end before."""
    death.after = deaths[what] + 1
    try:
        act()
    except Killed:
        deaths[what] += 1
        return True
    finally:
        death.after = 0
    return False


def _after(times: int) -> Callable[[], bool]:
    left = iter(range(times))
    return lambda: next(left, None) is None


def _drop(world: World, name: RepositoryName) -> None:
    retire(world, name, keep_content=False)
    world.clock.tick(_GRACE)
    assert world.retirements.drop(name, never)


def _assert_dropped(world: World, name: RepositoryName) -> None:
    assert list(LocalStore(world.root / str(name)).names()) == []
    assert world.keys.find(name, fresh=True) is None
    assert owned(world, name) == {}
    record = world.record(name)
    assert record.state is State.RETIRED
    assert record.retirement is not None
    assert record.retirement.dropped
    assert world.retirements.due() == []
    assert world.retirements.retired() == []
    assert world.whitelists.sign_all() == (0, [])
    with pytest.raises(InvalidInput, match="were dropped"):
        world.lifecycle.restore(name)
    with pytest.raises(Forbidden):
        world.stratum0.request("alice", "sub-alice", Kind.PERSONAL, None)
