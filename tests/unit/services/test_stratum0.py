"""Registering, creating and opening repositories: every step may be repeated, and names belong to whoever was first."""

from datetime import timedelta

import pytest

from softman.adapters.memory_vault import MemoryKeyVault, MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.cvmfs.format.manifest import MANIFEST_NAME
from softman.cvmfs.format.whitelist import WHITELIST_NAME
from softman.errors import CandidateRefused, Corrupt, InvalidInput, NameTaken, NotFound
from softman.model import Base, CommitRequest, State
from softman.names import Kind, RepositoryName
from tests.support.world import World

ALICE = RepositoryName("alice", "example.org")


def test_asking_twice_gives_the_same_repository(world: World) -> None:
    first = world.stratum0.request("alice", "s1", Kind.PERSONAL, None)
    assert (str(first.repository), first.state, first.version) == ("alice.example.org", State.REQUESTED, 1)
    assert world.stratum0.request("alice", "s1", Kind.PERSONAL, None) == first


@pytest.mark.parametrize(
    ("user", "subject", "kind", "group", "word"),
    [
        ("alice", "s2", Kind.PERSONAL, None, "another account"),
        ("bob", "s3", Kind.GROUP, "alice", "already belongs to a user"),
        ("carol", "s4", Kind.PERSONAL, None, None),
        ("physics", "s5", Kind.PERSONAL, None, "already belongs to a group"),
        ("bob", "s6", Kind.GROUP, "physics", None),
    ],
)
def test_first_come(world: World, *, user: str, subject: str, kind: Kind, group: str | None, word: str | None) -> None:
    world.stratum0.request("alice", "s1", Kind.PERSONAL, None)
    world.stratum0.request("bob", "s3", Kind.GROUP, "physics")
    if word is None:
        world.stratum0.request(user, subject, kind, group)
    else:
        with pytest.raises(NameTaken, match=word):
            world.stratum0.request(user, subject, kind, group)


@pytest.mark.parametrize(
    "user", ["Alice", "al_ice", "al", "-alice", "alice.b", "../x", "a" * 49, "", "älice", "al ice"]
)
def test_names_that_cannot_be(world: World, user: str) -> None:
    with pytest.raises(InvalidInput):
        world.stratum0.request(user, "s", Kind.PERSONAL, None)
    assert MemoryRegistry(Role.STRATUM0, world.vault).names() == []


@pytest.mark.parametrize("subject", ["groups", "softman", "", "a/b", "..", "x" * 200, "a b"])
def test_subjects_that_cannot_be(world: World, subject: str) -> None:
    with pytest.raises(InvalidInput, match="subject"):
        world.stratum0.request("alice", subject, Kind.PERSONAL, None)


def test_the_steps_and_their_repetition(world: World) -> None:
    name = world.stratum0.request("alice", "s1", Kind.PERSONAL, None).repository
    assert world.stratum0.unfinished() == [name]
    assert world.stratum0.create_repository(name) == "revision 1"
    keys = MemoryKeyVault(Role.STRATUM0, world.vault).read_signing(name)
    assert world.stratum0.create_repository(name) == "revision 1"
    assert MemoryKeyVault(Role.STRATUM0, world.vault).read_signing(name) == keys
    for _ in range(2):
        world.stratum0.publish_keys(name)
        assert world.stratum0.unfinished() == []
    record = MemoryRegistry(Role.STRATUM0, world.vault).get(name)
    assert record is not None
    owned = MemoryKeyVault(Role.PUBLISHER, world.vault).read_owner_keys(record.owner, name)
    assert owned is not None
    assert set(owned) == {"publicKey", "certificateKey", "gatewayKey"}
    assert owned["gatewayKey"].startswith("plain_text ")
    assert "PRIVATE" not in "".join(owned.values())


def test_what_comes_too_early_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        world.stratum0.create_repository(ALICE)
    world.stratum0.request("alice", "s1", Kind.PERSONAL, None)
    with pytest.raises(NotFound, match="no keys"):
        world.stratum0.publish_keys(ALICE)
    with pytest.raises(CandidateRefused, match="not ready"):
        world.stratum0.commit(CommitRequest(str(ALICE), "0" * 32, Base(1, "a" * 40), "b" * 40, "k", "s"))


def test_incomplete_key_material_is_noticed(world: World) -> None:
    world.stratum0.request("alice", "s1", Kind.PERSONAL, None)
    MemoryKeyVault(Role.STRATUM0, world.vault).create_signing(ALICE, {"masterKey": "m"})
    with pytest.raises(Corrupt, match="certificate, gatewayKey"):
        world.stratum0.create_repository(ALICE)


def test_whitelists_are_signed_anew_in_time(world: World) -> None:
    name = world.provision("alice")
    whitelist = world.root / str(name) / WHITELIST_NAME
    before = whitelist.read_bytes()
    assert world.whitelists.sign_all() == (0, [])
    world.clock.tick(timedelta(days=16).total_seconds())
    assert world.whitelists.sign_all() == (1, [])
    assert whitelist.read_bytes() != before
    world.clock.tick(timedelta(days=20).total_seconds())
    assert world.reader(name).manifest().revision == 1


def test_a_damaged_repository_keeps_no_other_from_its_whitelist(world: World) -> None:
    names = [world.provision(user) for user in ("alice", "bob", "carol")]
    before = {name: (world.root / str(name) / WHITELIST_NAME).read_bytes() for name in names}
    for damaged in (names[0], names[1]):
        (world.root / str(damaged) / MANIFEST_NAME).write_bytes(b"no manifest")
    world.clock.tick(timedelta(days=16).total_seconds())
    done, failed = world.whitelists.sign_all()
    assert (done, [each.repository for each in failed]) == (1, names[:2])
    changed = {name for name in names if (world.root / str(name) / WHITELIST_NAME).read_bytes() != before[name]}
    assert changed == {names[2]}


def test_abandoned_transactions_are_swept(world: World) -> None:
    name = world.provision("alice")
    area = world.root / str(name) / "data" / "txn" / ("a" * 32)
    area.mkdir()
    (area / "object").write_bytes(b"x")
    assert world.stratum0.sweep_staging() == 0
    world.clock.tick(timedelta(days=2000).total_seconds())
    assert world.stratum0.sweep_staging() == 1
    assert not area.exists()
