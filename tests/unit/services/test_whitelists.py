"""Whitelists: signed in time, one repository apart from another, or elsewhere."""

from datetime import timedelta

import pytest

from softman.cvmfs.format.hashes import HashAlgorithm
from softman.cvmfs.format.keys import generate_master_key
from softman.cvmfs.format.manifest import MANIFEST_NAME
from softman.cvmfs.format.signature import sign_whitelist
from softman.cvmfs.format.whitelist import WHITELIST_NAME, Whitelist
from softman.errors import Corrupt, PermanentError
from softman.names import Kind, RepositoryName
from softman.services.material import MasterKind
from tests.support.world import World

_DAY = timedelta(days=1).total_seconds()


def test_one_that_fails_stops_no_other(world: World) -> None:
    names = [world.provision(user) for user in ("alice", "bobby", "carol")]
    (world.root / str(names[0]) / MANIFEST_NAME).write_bytes(b"damaged")
    world.clock.tick(16 * _DAY)
    done, failed = world.whitelists.sign_all()
    assert done == len(names) - 1
    assert [(each.repository, each.alarm) for each in failed] == [(names[0], False)]
    assert failed[0].expires is not None
    world.clock.tick(8 * _DAY)
    done, failed = world.whitelists.sign_all()
    assert (done, [each.alarm for each in failed]) == (0, [True])
    with pytest.raises(Corrupt):
        raise failed[0].error


@pytest.fixture
def offline(world: World) -> tuple[World, RepositoryName, bytes]:
    master, public = generate_master_key()
    world.keys._kind = MasterKind.OFFLINE
    world.offline_keys = (public,)
    return world, world.stratum0.request("alice", "sub-alice", Kind.PERSONAL, None).repository, master


def _sign(text: bytes, master: bytes) -> bytes:
    return sign_whitelist(text, master, HashAlgorithm.SHA1)


def test_a_master_key_that_is_offline(offline: tuple[World, RepositoryName, bytes]) -> None:
    world, name, master = offline
    with pytest.raises(PermanentError, match=f"softman whitelist export {name}"):
        world.stratum0.create_repository(name)
    assert "masterKey" not in world.keys.get(name).values
    world.whitelists.import_signed(name, _sign(world.whitelists.export(name), master), ttl=60)
    assert world.stratum0.create_repository(name) == "revision 1"
    world.stratum0.publish_keys(name)
    assert world.reader(name, world.offline_keys).manifest().revision == 1
    world.clock.tick(20 * _DAY)
    assert world.whitelists.sign_all() == (0, [])
    world.clock.tick(4 * _DAY)
    done, failed = world.whitelists.sign_all()
    assert (done, [each.alarm for each in failed]) == (0, [True])
    assert "softman whitelist export" in str(failed[0].error)
    world.whitelists.import_signed(name, _sign(world.whitelists.export(name), master), ttl=60)
    assert world.whitelists.sign_all() == (0, [])
    world.clock.tick(20 * _DAY)
    assert world.reader(name, world.offline_keys).manifest().revision == 1


def test_what_is_not_imported(offline: tuple[World, RepositoryName, bytes]) -> None:
    world, name, master = offline
    with pytest.raises(PermanentError):
        world.stratum0.create_repository(name)
    text = world.whitelists.export(name)
    listed = Whitelist.parse(text)
    other, _ = generate_master_key()
    foreign = text.replace(name.label.encode(), b"bobby")
    stranger = text.replace(str(listed.fingerprints[0])[:2].upper().encode() + b":", b"00:", 1)
    for bad in (_sign(text, other), _sign(foreign, master), _sign(stranger, master), text, b""):
        with pytest.raises(PermanentError):
            world.whitelists.import_signed(name, bad, ttl=60)
    assert not (world.root / str(name) / WHITELIST_NAME).exists()


def test_a_certificate_below_an_offline_master_key(offline: tuple[World, RepositoryName, bytes]) -> None:
    world, name, master = offline
    with pytest.raises(PermanentError):
        world.stratum0.create_repository(name)
    world.whitelists.import_signed(name, _sign(world.whitelists.export(name), master), ttl=60)
    world.stratum0.create_repository(name)
    world.stratum0.publish_keys(name)
    before = world.keys.get(name).keys.certificate
    world.clock.tick(60)
    with pytest.raises(PermanentError, match="softman whitelist export"):
        world.rotations.certificate(name, "one")
    world.whitelists.import_signed(name, _sign(world.whitelists.export(name), master), ttl=60)
    world.clock.tick(121)
    world.rotations.certificate(name, "one")
    assert world.keys.get(name).keys.certificate != before
    assert world.reader(name, world.offline_keys).manifest().revision == 1


def test_another_offline_master_key(offline: tuple[World, RepositoryName, bytes]) -> None:
    world, name, master = offline
    with pytest.raises(PermanentError):
        world.stratum0.create_repository(name)
    world.whitelists.import_signed(name, _sign(world.whitelists.export(name), master), ttl=60)
    world.stratum0.create_repository(name)
    fresh, public = generate_master_key()
    world.offline_keys = (*world.offline_keys, public)
    world.clock.tick(60)
    world.whitelists.import_signed(name, _sign(world.whitelists.export(name), fresh), ttl=60)
    world.offline_keys = (public,)
    world.stratum0.publish_keys(name)
    assert world.whitelists.sign_all() == (0, [])
    assert world.reader(name, (public,)).manifest().revision == 1
