"""Garbage goes in bounded turns; damaged and missing objects of real storage are found, told, and repaired."""

from collections.abc import Callable
from pathlib import Path

import pytest

from softman.cvmfs.format.hashes import ObjectKind
from softman.errors import Busy, InvalidInput, NotFound
from softman.model import Part
from softman.names import RepositoryName
from softman.services.upkeep import LOOK_AGAIN_SECONDS, Checked
from tests.support.tars import archive, member
from tests.support.world import World

_DAY = 86400.0


def never() -> bool:
    return False


def always() -> bool:
    return True


@pytest.fixture
def alice(world: World) -> RepositoryName:
    """Files ``/f0`` to ``/f9``, in the third revision."""
    name = world.provision("alice")
    world.buckets.put("alice", "cvmfs/old", b"old")
    world.sync(name)
    world.buckets.delete("alice", "cvmfs/old")
    for number in range(10):
        world.buckets.put("alice", f"cvmfs/f{number}", b"content %d" % number)
    world.sync(name)
    return name


def stored(world: World, name: RepositoryName, path: bytes) -> Path:
    """The file in the storage that holds the content of a path."""
    with world.reader(name).snapshot() as snapshot:
        entry = snapshot.lookup(path)
    assert entry is not None
    assert entry.hash is not None
    return world.root / str(name) / entry.hash.object_path(ObjectKind.FILE)


def damage(file: Path) -> None:
    file.chmod(0o644)
    file.write_bytes(b"something else")


def repair(world: World, name: RepositoryName, done: Checked) -> None:
    """What publishers do with the syncs that a check asks for."""
    for key in done.keys:
        world.publisher.sync_part(name, Part(key, verify=True))


def test_garbage_goes_and_a_dry_run_says_what_would(world: World, alice: RepositoryName) -> None:
    world.clock.tick(3 * _DAY)
    world.buckets.put("alice", "cvmfs/f0", b"other")
    world.sync(alice)
    world.clock.tick(2 * _DAY)
    old = _objects(world, alice)
    would = world.upkeep.collect_garbage(alice, dry_run=True)
    assert _objects(world, alice) == old
    assert world.upkeep.to_collect() == [alice]
    did = world.upkeep.collect_garbage(alice, over=never)
    assert (did.objects, did.bytes, did.revisions, did.kept) == (
        would.objects,
        would.bytes,
        would.revisions,
        would.kept,
    )
    assert did.complete
    assert did.revisions >= 1
    assert len(old) - len(_objects(world, alice)) > 0
    assert world.upkeep.to_collect() == []
    world.clock.tick(_DAY)
    assert world.upkeep.to_collect() == [alice]
    assert world.upkeep.check(alice, never).faults == ()


def test_one_repository_at_a_time(world: World, alice: RepositoryName) -> None:
    with world.upkeep._marks.turn():
        with pytest.raises(Busy):
            world.upkeep.collect_garbage(alice)
        with pytest.raises(Busy):
            world.upkeep.check(alice, never)
    assert world.upkeep.check(alice, never).faults == ()


@pytest.mark.parametrize("harm", [damage, Path.unlink], ids=["damaged", "missing"])
def test_what_is_wrong_is_found_told_and_repaired(
    world: World, alice: RepositoryName, harm: Callable[[Path], None]
) -> None:
    file = stored(world, alice, b"/f3")
    harm(file)
    done = world.upkeep.check(alice, never)
    (fault,) = done.faults
    assert fault.path == "/f3"
    assert file.name in fault.object
    assert done.keys == ("cvmfs/f3",)
    assert world.records.faults(alice) == [fault]
    repair(world, alice, done)
    again = world.upkeep.check_share(alice, never)
    assert (again.faults, again.repaired) == ((), (fault,))
    assert world.records.faults(alice) == []
    assert world.shown(alice)["/f3"] == b"content 3"


def test_content_that_the_bucket_has_no_more_stays_a_fault_until_nothing_needs_it(
    world: World, alice: RepositoryName
) -> None:
    damage(stored(world, alice, b"/f3"))
    world.buckets.put("alice", "cvmfs/f3", b"newer")
    first = world.upkeep.check(alice, never)
    world.clock.tick(60)
    assert world.upkeep.check_share(alice, never).faults == first.faults, "with the time when it was noticed"
    world.clock.tick(LOOK_AGAIN_SECONDS)
    assert world.upkeep.to_check() == [alice]
    repair(world, alice, first)
    assert world.shown(alice)["/f3"] == b"newer"
    (fault,) = world.upkeep.check_share(alice, never).faults
    assert fault.path == "", "only the tag trunk-previous needs it"
    world.buckets.put("alice", "cvmfs/f4", b"newer")
    world.sync(alice)
    assert world.upkeep.check_share(alice, never).faults == ()


def test_members_of_archives_are_repaired_from_the_archive(world: World) -> None:
    name = world.provision("alice")
    world.buckets.put("alice", "cvmfs/d/x.tar", archive(member(b"in/side", b"inside")))
    world.sync(name)
    damage(stored(world, name, b"/d/x/in/side"))
    done = world.upkeep.check(name, never)
    assert done.keys == ("cvmfs/d/x.tar",)
    repair(world, name, done)
    assert world.upkeep.check(name, never).faults == ()


def test_nothing_is_repaired_while_the_bucket_waits(world: World, alice: RepositoryName) -> None:
    damage(stored(world, alice, b"/f3"))
    world.lifecycle.lock(alice)
    done = world.upkeep.check(alice, never)
    assert len(done.faults) == 1
    assert done.keys == ()


def test_a_catalog_or_a_manifest_that_is_gone_is_told(world: World, alice: RepositoryName) -> None:
    root = world.reader(alice).manifest().root_hash
    directory = world.root / str(alice)
    (directory / root.object_path(ObjectKind.CATALOG)).unlink()
    faults = world.upkeep.check(alice, never).faults
    assert any(not fault.object and "revision in force" in fault.message for fault in faults)
    (directory / ".cvmfspublished").unlink()
    (fault,) = [each for each in world.upkeep.check(alice, never).faults if not each.object]
    assert fault.message.startswith("the manifest: ")


def test_every_object_is_read_once_in_a_cycle(world: World, alice: RepositoryName) -> None:
    whole = world.upkeep.check(alice, never).objects
    assert whole >= 12  # ten files, catalogs, certificate
    world.upkeep.check_share(alice, never)  # the cycle begins
    read = 0
    for _ in range(10):
        world.clock.tick(_DAY)
        assert world.upkeep.to_check() == [alice]
        done = world.upkeep.check_share(alice, never)
        assert done.objects < whole
        read += done.objects
    assert read == whole
    assert world.upkeep.to_check() == []


def test_a_turn_that_is_over_goes_on_where_it_ended(world: World, alice: RepositoryName) -> None:
    whole = world.upkeep.check(alice, never).objects
    read, after = 0, ""
    while True:
        done = world.upkeep.check(alice, always, after=after)
        read, after = read + done.objects, done.after
        if not after:
            break
        assert done.objects == 1
    assert read == whole
    world.upkeep.check_share(alice, never)
    world.clock.tick(10 * _DAY)
    assert sum(world.upkeep.check_share(alice, always).objects for _ in range(whole)) == whole


def test_what_nobody_stores_is_not_looked_after(world: World, alice: RepositoryName) -> None:
    with pytest.raises(NotFound):
        world.upkeep.check(RepositoryName("bobby", "example.org"), never)
    with pytest.raises(InvalidInput, match="hexadecimal"):
        world.upkeep.check(alice, never, after="../x")
    world.lifecycle.retire(alice, keep_content=False)
    assert world.upkeep.to_collect() == [alice]
    world.clock.tick(31 * _DAY)
    world.retirements.drop(alice, never)
    assert world.upkeep.to_collect() == []
    with pytest.raises(InvalidInput, match="nothing is stored"):
        world.upkeep.collect_garbage(alice)


def test_a_mark_that_cannot_be_read_begins_anew(world: World, alice: RepositoryName) -> None:
    world.upkeep.check_share(alice, never)
    (world.root / "upkeep" / f"{alice}.json").write_bytes(b"{")
    assert world.upkeep.to_check() == [alice]
    assert world.upkeep.check_share(alice, never).faults == ()


def _objects(world: World, name: RepositoryName) -> set[str]:
    return {file.name for file in (world.root / str(name) / "data").rglob("*") if file.is_file()}
