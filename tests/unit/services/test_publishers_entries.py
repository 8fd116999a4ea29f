"""What publishers wrote through the gateway lives beside what the bucket says."""

from softman.names import RepositoryName
from softman.services.mapping import PUBLISHER_XATTR
from tests.support.world import World

_MARK = {PUBLISHER_XATTR: b"key"}


def _write(world: World, name: RepositoryName, *paths: str) -> None:
    repository = world.opened(world.keys.get(name))
    with repository.transaction() as tx:
        for path in paths:
            tx.add_bytes(path, b"of a publisher", xattrs=_MARK)


def _paths(world: World, name: RepositoryName) -> set[str]:
    with world.reader(name).snapshot() as snapshot:
        return {entry.path.decode() for entry in snapshot.walk() if not entry.is_dir}


def _content(world: World, name: RepositoryName, path: str) -> bytes:
    with world.reader(name).snapshot() as snapshot:
        return b"".join(snapshot.read_file(path))


def test_full_comparisons_and_events_leave_it(world: World) -> None:
    name = world.provision()
    world.buckets.put(name.bucket, "cvmfs/d/of-bucket", b"1")
    world.sync(name)
    _write(world, name, "/d/mine", "/e/mine")
    world.sync(name)
    world.sync(name, "cvmfs/d/mine", "cvmfs/e/")  # keys that are not there
    assert _paths(world, name) == {"/d/of-bucket", "/d/mine", "/e/mine"}
    world.buckets.delete(name.bucket, "cvmfs/d/of-bucket")
    world.sync(name, "cvmfs/d/of-bucket")
    assert _paths(world, name) == {"/d/mine", "/e/mine"}


def test_the_bucket_wins_where_both_want_a_path(world: World) -> None:
    name = world.provision()
    _write(world, name, "/f")
    world.buckets.put(name.bucket, "cvmfs/f", b"of the bucket")
    world.sync(name, "cvmfs/f")
    assert _content(world, name, "/f") == b"of the bucket"
    world.buckets.delete(name.bucket, "cvmfs/f")
    world.sync(name)
    assert _paths(world, name) == set()


def test_what_has_neither_mark_goes_with_the_next_full_comparison(world: World) -> None:
    name = world.provision()
    _write(world, name, "/mine")
    with world.opened(world.keys.get(name)).transaction() as tx:
        tx.add_bytes("/by-hand", b"1")
    world.sync(name)
    assert _paths(world, name) == {"/mine"}
