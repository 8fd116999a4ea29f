"""Archives in a bucket, through the whole engine in memory: what the owner drops, replaces, damages and removes."""

import pytest

from softman.model import Part
from softman.services.archives.kinds import ArchiveKind
from tests.support.tars import COMPRESS, archive, hard_link, member, symlink
from tests.support.world import World

pytestmark = pytest.mark.slow

FIRST = archive(member(b"bin/tool", b"first"), hard_link(b"bin/same", b"bin/tool"), symlink(b"link", b"bin/tool"))
SECOND = archive(member(b"lib/other", b"second"))
SHOWN = {"/x": None, "/x/.cvmfscatalog": b"", "/x/lib": None, "/x/lib/other": b"second"}


@pytest.mark.parametrize(("suffix", "kind"), [("tar.gz", ArchiveKind.GZIP), ("tar.zst", ArchiveKind.ZSTD)])
def test_a_tree_follows_its_archive(world: World, suffix: str, kind: ArchiveKind) -> None:
    name, compress = world.provision(), COMPRESS[kind]
    key = f"cvmfs/x.{suffix}"
    world.buckets.put("alice", key, compress(FIRST))
    world.sync(name, key)
    assert set(world.shown(name)) == {
        "/x", "/x/.cvmfscatalog", "/x/bin", "/x/bin/tool", "/x/bin/same", "/x/link"
    }  # fmt: skip
    before = world.reader(name).manifest().revision

    world.clock.tick()
    world.buckets.put("alice", key, compress(SECOND))
    world.sync(name, key)
    assert world.shown(name) == SHOWN
    assert world.reader(name).manifest().revision == before + 1
    world.sync(name)
    assert world.reader(name).manifest().revision == before + 1

    for damaged, reason in (
        (compress(FIRST)[:-30], "cut short"),
        (compress(archive(symlink(b"out", b"../.."))), "out is a symbolic link that leads out"),
        (b"no archive", "its name says that it is"),
    ):
        world.clock.tick()
        world.buckets.put("alice", key, damaged)
        world.sync(name, key)
        assert world.shown(name) == SHOWN
        (refusal,) = world.records.refusals(name)
        assert refusal.key == key
        assert reason in refusal.reason

    world.clock.tick()
    world.buckets.put("alice", key, compress(FIRST))
    world.sync(name, key)
    assert "/x/bin/tool" in world.shown(name)
    assert not world.records.refusals(name)

    world.buckets.delete("alice", key)
    world.sync(name, key)
    assert world.shown(name) == {}


def test_an_archive_that_is_shown_as_it_is_makes_no_revision_when_content_is_verified(world: World) -> None:
    name = world.provision()
    world.buckets.put("alice", "cvmfs/x.tar", FIRST)
    world.sync(name)
    before = world.reader(name).manifest().revision
    world.publisher.sync_part(name, Part(verify=True))
    assert world.reader(name).manifest().revision == before
