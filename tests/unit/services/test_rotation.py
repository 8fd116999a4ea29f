"""Other keys: whatever is interrupted is gone on with, and clients find what fits at every moment."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from softman.adapters.memory_vault import MemoryKeyVault
from softman.adapters.vault_layout import Role
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.format.keys import generate_gateway_key
from softman.cvmfs.format.whitelist import WHITELIST_NAME, Whitelist
from softman.errors import Forbidden, InvalidInput
from softman.model import Base, CommitAnswer, CommitRequest
from softman.names import Kind, RepositoryName
from softman.services.material import MasterKind, Material
from softman.services.proof import signed
from tests.support.dying import Death, Killed
from tests.support.world import World

_LEAD = 121.0
_DAY = timedelta(days=1).total_seconds()

Step = Callable[[World, RepositoryName, str], object]


@pytest.fixture
def alice(world: World) -> RepositoryName:
    name = world.provision("alice")
    world.buckets.put("alice", "cvmfs/a", b"1")
    world.sync(name)
    return name


def owned(world: World, name: RepositoryName) -> dict[str, str]:
    owner = world.stratum0.request(name.label, f"sub-{name.label}", Kind.PERSONAL, None).owner
    found = MemoryKeyVault(Role.PUBLISHER, world.vault).read_owner_keys(owner, name)
    assert found is not None
    return found


def listed(world: World, name: RepositoryName) -> Whitelist:
    return Whitelist.from_bytes((world.root / str(name) / WHITELIST_NAME).read_bytes()).whitelist


def is_published(world: World, name: RepositoryName, public_key: str) -> bool:
    """Whether whoever has this public key reads the repository."""
    try:
        return world.reader(name, (public_key.encode(),)).manifest().revision > 0
    except CvmfsError:
        return False


def publish(world: World, name: RepositoryName, content: bytes) -> None:
    world.buckets.put(name.bucket, "cvmfs/a", content)
    world.sync(name, "cvmfs/a")
    assert world.shown(name)["/a"] == content


def _certificate(world: World, name: RepositoryName, rotation: str = "one") -> None:
    world.rotations.certificate(name, rotation)
    world.clock.tick(_LEAD)
    world.rotations.certificate(name, rotation)


def _master(world: World, name: RepositoryName, rotation: str = "one") -> None:
    world.rotations.master_key(name, f"announce {rotation}")
    world.clock.tick(_LEAD)
    world.rotations.master_key(name, f"switch {rotation}", switch=True)


STEPS: dict[str, Step] = {
    "gateway key": lambda world, name, rotation: world.rotations.gateway_key(name, rotation),
    "certificate": _certificate,
    "master key": _master,
}
_WRITES = {"gateway key": 2, "certificate": 7, "master key": 7}
"""At least so many writes each makes, to the vault and to the repository."""


def test_a_new_gateway_key(world: World, alice: RepositoryName) -> None:
    before = owned(world, alice)
    world.rotations.gateway_key(alice, "one")
    after = owned(world, alice)
    assert after["gatewayKey"] != before["gatewayKey"]
    assert {**after, "gatewayKey": ""} == {**before, "gatewayKey": ""}
    world.rotations.gateway_key(alice, "one")  # delivered again
    assert owned(world, alice) == after
    publish(world, alice, b"2")


def test_who_commits_with_the_former_gateway_key_is_told_so(world: World, alice: RepositoryName) -> None:
    manifest = world.reader(alice).manifest()
    here = Base(manifest.revision, str(manifest.root_hash))
    request = CommitRequest(str(alice), "0" * 32, here, here.root_hash, "", "")
    former = world.keys.get(alice).gateway
    assert world.stratum0.commit(signed(request, former)).committed
    world.rotations.gateway_key(alice, "one")
    answer = world.stratum0.commit(signed(request, former))
    assert answer == CommitAnswer(
        committed=False, current=here, reason=f"the gateway key of {alice} was replaced", key_replaced=True
    )
    world.rotations.gateway_key(alice, "two")
    for stranger in (former, generate_gateway_key()):
        with pytest.raises(Forbidden):
            world.stratum0.commit(signed(request, stranger))


def test_a_publish_under_way_survives_a_new_gateway_key(world: World, alice: RepositoryName) -> None:
    def rotate(_request: CommitRequest) -> None:
        world.door.before = lambda _request: None
        world.rotations.gateway_key(alice, "meanwhile")

    world.door.before = rotate
    sent = len(world.door.requests)
    publish(world, alice, b"2")
    assert len({request.new_root_hash for request in world.door.requests[sent:]}) == 1
    assert len(world.door.requests) == sent + 2, "what was staged is committed, not made again"


def test_a_new_certificate(world: World, alice: RepositoryName) -> None:
    before = world.keys.get(alice)
    root = world.reader(alice).manifest()
    first = world.rotations.certificate(alice, "one")
    assert first.again_in == pytest.approx(120.0)
    assert world.reader(alice).manifest() == root, "proxies may have the old whitelist: the old key signs"
    assert listed(world, alice).lists(world.keys.get(alice).certificates(world.clock())[1])
    publish(world, alice, b"2")
    world.clock.tick(_LEAD)
    assert world.rotations.certificate(alice, "one").again_in is None
    after = world.keys.get(alice)
    assert after.keys.certificate != before.keys.certificate
    assert before.keys.private_key.decode() not in "".join(after.values.values())
    assert owned(world, alice)["certificateKey"] == after.keys.certificate.decode()
    assert world.reader(alice).manifest().certificate != root.certificate
    publish(world, alice, b"3")
    world.rotations.certificate(alice, "one")  # delivered again
    assert world.keys.get(alice) == after
    assert listed(world, alice).lists(before.keys.certificate), "mirrors may have the old manifest"
    world.clock.tick(_DAY)
    assert world.whitelists.sign_all() == (1, [])
    assert not listed(world, alice).lists(before.keys.certificate)
    assert listed(world, alice).lists(after.keys.certificate)
    publish(world, alice, b"4")


def test_a_certificate_that_is_revoked(world: World, alice: RepositoryName) -> None:
    before = world.keys.get(alice)
    world.rotations.certificate(alice, "one", revoke=True)
    world.clock.tick(_LEAD)
    world.rotations.certificate(alice, "one", revoke=True)
    assert not listed(world, alice).lists(before.keys.certificate)
    publish(world, alice, b"2")


def test_a_commit_that_meets_a_new_certificate(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stratum 0's processes remember keys for a while: here one that has seen nothing of the rotation."""
    before, real = world.keys.get(alice), world.keys.get
    _certificate(world, alice)
    asked: list[bool] = []

    def get(name: RepositoryName, *, fresh: bool = False) -> Material:
        asked.append(fresh)
        return real(name) if fresh else before

    monkeypatch.setattr(world.keys, "get", get)
    publish(world, alice, b"2")
    assert True in asked


def test_a_new_master_key(world: World, alice: RepositoryName) -> None:
    old = owned(world, alice)["publicKey"]
    with pytest.raises(InvalidInput, match="announced"):
        world.rotations.master_key(alice, "early", switch=True)
    world.rotations.master_key(alice, "announce")
    world.rotations.master_key(alice, "announce again")
    announced = owned(world, alice)
    new = announced["nextPublicKey"]
    assert announced["publicKey"] == old
    assert (is_published(world, alice, old), is_published(world, alice, new)) == (True, False)
    assert world.rotations.master_key(alice, "switch", switch=True).again_in == pytest.approx(120.0)
    world.clock.tick(_LEAD)
    world.rotations.master_key(alice, "switch", switch=True)
    assert (is_published(world, alice, old), is_published(world, alice, new)) == (False, True)
    after = owned(world, alice)
    assert (after["publicKey"], "nextPublicKey" in after) == (new, False)
    world.rotations.master_key(alice, "switch", switch=True)  # delivered again
    assert owned(world, alice) == after
    world.clock.tick(16 * _DAY)
    assert world.whitelists.sign_all() == (1, [])
    assert is_published(world, alice, new)


def test_a_master_key_of_the_domain(world: World) -> None:
    world.keys._kind = MasterKind.DOMAIN
    names = []
    for user in ("alice", "bobby"):
        name = world.stratum0.request(user, f"sub-{user}", Kind.PERSONAL, None).repository
        world.stratum0.create_repository(name)
        world.stratum0.publish_keys(name)
        names.append(name)
    old = {owned(world, name)["publicKey"] for name in names}
    assert len(old) == 1
    assert len({world.keys.get(name).keys.certificate for name in names}) == len(names)
    assert all(is_published(world, name, next(iter(old))) for name in names)
    _master(world, names[0])
    new = {owned(world, name)["publicKey"] for name in names}
    assert len(new) == 1
    assert new != old
    assert all(is_published(world, name, next(iter(new))) for name in names)


def test_a_master_key_that_lay_beside_the_signing_key_moves(world: World, alice: RepositoryName) -> None:
    vault = MemoryKeyVault(Role.STRATUM0, world.vault)
    kept = vault.read_signing(alice)
    assert kept is not None
    assert "masterKey" not in kept
    assert vault.read_master(f"repository/{alice}") == {
        "masterKey": world.material["masterKey"],
        "publicKey": world.material["publicKey"],
    }


def public_keys(world: World, name: RepositoryName) -> set[bytes]:
    keys = owned(world, name)
    return {keys[field].encode() for field in ("publicKey", "nextPublicKey") if field in keys}


@pytest.mark.parametrize("what", STEPS)
def test_killed_between_any_two_writes(
    world: World, alice: RepositoryName, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has all public keys that are given out reads the repository; the repetition ends what was begun."""
    death = Death(monkeypatch)
    deaths = 0
    while True:
        rotation, known = str(deaths), public_keys(world, alice)
        before = world.keys.get(alice)
        death.after = deaths + 1
        try:
            STEPS[what](world, alice, rotation)
        except Killed:
            deaths += 1
        else:
            break
        finally:
            death.after = 0
        known |= public_keys(world, alice)
        assert world.reader(alice, tuple(known)).manifest().revision > 0
        if what != "master key":  # later, the reader needs the key of then
            publish(world, alice, f"{deaths}".encode())
        STEPS[what](world, alice, rotation)
        assert is_published(world, alice, owned(world, alice)["publicKey"])
        assert world.keys.get(alice).values != before.values
        world.clock.tick(2 * _DAY)
    assert deaths >= _WRITES[what], "the loop has met every write"
