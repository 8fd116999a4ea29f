"""Archives of repositories: a fresh site shows the same content under the same keys, and publishes on."""

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from softman.errors import CandidateRefused, Corrupt, InvalidInput, NameTaken, NotFound
from softman.names import Kind, RepositoryName
from softman.services.portable import KEYS, RECORD
from tests.support.world import World


def ignored(_more: int) -> None:
    """Nobody watches."""


@pytest.fixture
def alice(world: World) -> RepositoryName:
    name = world.provision("alice")
    for number in range(5):
        world.buckets.put("alice", f"cvmfs/d/f{number}", b"content %d" % number)
    world.sync(name)
    world.buckets.put("alice", "cvmfs/d/f0", b"changed")
    world.sync(name)
    return name


def exported(world: World, name: RepositoryName, *, keys: bool = True) -> bytes:
    target = io.BytesIO()
    world.porter.export(name, target, keys=keys, progress=ignored)
    return target.getvalue()


def rewritten(archive: bytes, change: Callable[[str, bytes], tuple[str, bytes] | None]) -> bytes:
    """The archive with each file as ``change`` makes it, or without it."""
    target = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(archive)) as old, tarfile.open(fileobj=target, mode="w") as new:
        for member in old:
            source = old.extractfile(member)
            assert source is not None
            made = change(member.name, source.read())
            if made is not None:
                info = tarfile.TarInfo(made[0])
                info.size = len(made[1])
                new.addfile(info, io.BytesIO(made[1]))
    return target.getvalue()


def test_a_fresh_site_goes_on_where_the_lost_one_was(
    world: World, alice: RepositoryName, make_world: Callable[[], World]
) -> None:
    archive = exported(world, alice)
    fresh = make_world()
    fresh.clock.tick(40 * 86400)  # the whitelist of the archive has expired
    told: list[int] = []
    record = fresh.porter.bring_in(io.BytesIO(archive), progress=told.append)
    assert sum(told) > 0
    assert (record.owner, record.quotas, record.state) == (
        world.record(alice).owner, world.record(alice).quotas, world.record(alice).state,
    )  # fmt: skip
    assert fresh.shown(alice) == world.shown(alice)
    assert fresh.reader(alice).manifest() == world.reader(alice).manifest()
    assert fresh.keys.get(alice).values == world.keys.get(alice).values
    assert fresh.upkeep.check(alice, lambda: False).faults == ()
    fresh.buckets.add_user("alice")
    fresh.buckets.ensure_bucket("alice", "alice")
    fresh.buckets.put("alice", "cvmfs/new", b"new")
    with pytest.raises(CandidateRefused, match="it was imported"):
        fresh.sync(alice)
    assert fresh.lifecycle.resume(alice)
    fresh.sync(alice)
    assert fresh.shown(alice) == {"/new": b"new"}
    assert fresh.reader(alice).manifest().revision == world.reader(alice).manifest().revision + 1
    with fresh.reader(alice).snapshot(revision=2) as snapshot:
        assert b"".join(snapshot.read_file("/d/f0")) == b"content 0", "history came along"


def test_without_keys_it_needs_those_of_the_vault(
    world: World, alice: RepositoryName, make_world: Callable[[], World]
) -> None:
    archive = exported(world, alice, keys=False)
    assert b"PRIVATE KEY" not in archive
    assert b"PRIVATE KEY" in exported(world, alice)
    with pytest.raises(NotFound, match="no keys in the vault"):
        make_world().porter.bring_in(io.BytesIO(archive), progress=ignored)


def test_it_takes_no_name_away(world: World, alice: RepositoryName, make_world: Callable[[], World]) -> None:
    archive = exported(world, alice)
    with pytest.raises(NameTaken, match="already"):
        world.porter.bring_in(io.BytesIO(archive), progress=ignored)
    other = make_world()
    other.keys.create(alice)
    with pytest.raises(NameTaken, match="other keys"):
        other.porter.bring_in(io.BytesIO(archive), progress=ignored)


def test_one_that_was_interrupted_may_be_repeated(
    world: World, alice: RepositoryName, make_world: Callable[[], World]
) -> None:
    archive = exported(world, alice)
    fresh = make_world()
    for length in range(0, len(archive) - tarfile.RECORDSIZE, len(archive) // 20):
        with pytest.raises(Corrupt):
            fresh.porter.bring_in(io.BytesIO(archive[:length]), progress=ignored)
        assert fresh.porter.stored() == []
    fresh.porter.bring_in(io.BytesIO(archive), progress=ignored)
    assert fresh.shown(alice) == world.shown(alice)


def _damaged(name: str, data: bytes) -> tuple[str, bytes]:
    return name, b"!" + data[1:] if name.startswith("storage/data/") else data


def _escaping(name: str, data: bytes) -> tuple[str, bytes]:
    return name.replace("storage/data/", "storage/../"), data


def _of_the_future(name: str, data: bytes) -> tuple[str, bytes]:
    if name != RECORD:
        return name, data
    document: dict[str, Any] = json.loads(data)
    return name, json.dumps({**document, "schema": 2}).encode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_damaged, "is not what its name says"),
        (_escaping, "no place"),
        (_of_the_future, "schema 2"),
        (lambda name, data: None if name == RECORD else (name, data), "softman.json is expected"),
        (lambda name, data: (name, b"{") if name == KEYS else (name, data), "cannot be read"),
        (lambda name, data: None if ".cvmfs" in name else (name, data), "was cut"),
    ],
)
def test_what_is_no_archive_of_ours(
    world: World, alice: RepositoryName, make_world: Callable[[], World], change: Any, why: str
) -> None:
    fresh = make_world()
    with pytest.raises(Corrupt, match=why):
        fresh.porter.bring_in(io.BytesIO(rewritten(exported(world, alice), change)), progress=ignored)
    assert fresh.porter.stored() == []


def test_what_is_not_made_cannot_be_exported(world: World, alice: RepositoryName) -> None:
    del alice
    with pytest.raises(NotFound):
        exported(world, RepositoryName("bobby", "example.org"))
    asked = world.stratum0.request("carol", "sub-carol", Kind.PERSONAL, None).repository
    with pytest.raises(InvalidInput, match="nothing is stored"):
        exported(world, asked)
