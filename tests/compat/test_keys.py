"""Other keys, and one master key for a domain, judged by the official tools."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from softman.cvmfs.format.keys import generate_gateway_key, generate_keys
from softman.names import Kind, RepositoryName
from softman.services.material import MasterKind
from tests.compat.conftest import StockClient, Swissknife
from tests.support.serving import served
from tests.support.world import Clock, World

pytestmark = pytest.mark.compat

_LEAD = 121.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Repositories that share the master key of their domain; some minutes ago, because clients know the time, too."""
    keys = generate_keys("unused.example.org", datetime.now(UTC))
    material = {"publicKey": keys.public_key.decode(), "gatewayKey": generate_gateway_key().to_text()}
    root = tmp_path / "cvmfs"
    root.mkdir()
    return World(root, material, clock=Clock(datetime.now(UTC)), master=MasterKind.DOMAIN)


def _provision(world: World, user: str) -> RepositoryName:
    name = world.stratum0.request(user, f"sub-{user}", Kind.PERSONAL, None).repository
    world.stratum0.create_repository(name)
    world.stratum0.publish_keys(name)
    world.buckets.add_user(user)
    world.buckets.ensure_bucket(user, user)
    return name


def _publish(world: World, name: RepositoryName, content: bytes) -> None:
    world.buckets.put(name.bucket, "cvmfs/file", content)
    world.pending.add(name, frozenset({"cvmfs/file"}))
    assert world.publisher.publish_changes(name).revision


def test_a_master_key_of_the_domain_and_other_keys(
    world: World, swissknife: Swissknife, stock_client: StockClient, tmp_path: Path
) -> None:
    names = [_provision(world, user) for user in ("alice", "bobby")]
    old, both = tmp_path / "example.org.pub", tmp_path / "next.pub"
    master = world.keys.master(world.keys.get(names[0]))
    old.write_bytes(master.public_key)

    def is_good(key: Path, *, good: bool = True) -> None:
        for name in names:
            result = swissknife.check(f"{url}/{name}", key, str(name))
            assert (result.returncode == 0) is good, result.stdout + result.stderr

    with served(world.root) as url:
        for name in names:
            _publish(world, name, b"first")
        is_good(old)
        with stock_client.mounted(f"{url}/@fqrn@", old, str(names[1])) as mount_point:
            assert (mount_point / "file").read_bytes() == b"first"
        world.rotations.gateway_key(names[0], "one")
        world.rotations.certificate(names[0], "two")
        is_good(old)
        world.clock.tick(_LEAD)
        world.rotations.certificate(names[0], "two")
        is_good(old)
        _publish(world, names[0], b"second")
        is_good(old)
        world.rotations.master_key(names[0], "three")
        announced = world.keys.master(world.keys.get(names[0])).next_public_key
        assert announced is not None
        both.write_bytes(announced)
        is_good(old)
        is_good(both, good=False)
        world.clock.tick(_LEAD)
        with stock_client.mounted(f"{url}/@fqrn@", Path(f"{old}:{both}"), str(names[0])) as mount_point:
            assert (mount_point / "file").read_bytes() == b"second"
        world.rotations.master_key(names[0], "four", switch=True)
        is_good(both)
        is_good(old, good=False)
        with stock_client.mounted(f"{url}/@fqrn@", Path(f"{old}:{both}"), str(names[0])) as mount_point:
            assert (mount_point / "file").read_bytes() == b"second"
