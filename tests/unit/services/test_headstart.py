"""What is read of the coming slice while one is committed: once, in time, and not what is old by then."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import pytest

from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.ports import ObjectBody
from softman.adapters.vault_layout import Role
from softman.errors import Conflict, ServiceUnavailable
from softman.model import BucketObject, CommitRequest, Quotas
from softman.names import RepositoryName
from softman.services.sync import SliceLimits
from tests.support.world import World

pytestmark = pytest.mark.slow
PATIENCE = 60.0
FILES = [f"{number:02}" for number in range(12)]


class Reads:
    """Which keys were read, and a wait for one."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.keys: list[str] = []
        self._changed = threading.Condition()
        read = world.buckets.read_small

        def noted(bucket: str, keys: Iterable[str]) -> Iterator[ObjectBody]:
            for body in read(bucket, keys):
                yield body
                with self._changed:
                    self.keys.append(body.info.key)
                    self._changed.notify_all()

        monkeypatch.setattr(world.buckets, "read_small", noted)

    def wait_for(self, key: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: key in self.keys, PATIENCE)


@pytest.fixture
def alice(world: World) -> RepositoryName:
    """Slices of four objects, which are read two by two."""
    world.limits = replace(world.limits, slice=SliceLimits(4, 10**9, 60.0))
    world.publisher = world.make_publisher()
    name = world.provision("alice")
    for file in FILES:
        world.buckets.put("alice", f"cvmfs/{file}", file.encode())
    return name


@pytest.fixture
def reads(world: World, monkeypatch: pytest.MonkeyPatch) -> Reads:
    monkeypatch.setattr("softman.services.looking.TOGETHER", 2)
    return Reads(world, monkeypatch)


def once(do: Callable[[], object], world: World) -> Callable[[CommitRequest], None]:
    """Something that happens while the first slice is committed."""

    def before(_request: CommitRequest) -> None:
        world.door.before = lambda _request: None
        do()

    return before


def staged(world: World, name: RepositoryName) -> list[str]:
    return [path.name for path in (world.root / str(name) / "data" / "txn").glob("*")]


def test_the_coming_slice_is_read_during_the_commit_and_only_once(
    world: World, alice: RepositoryName, reads: Reads
) -> None:
    world.door.before = once(lambda: reads.wait_for("cvmfs/07"), world)
    turn = world.publisher.sync_everything(alice)
    assert [report.added for report in turn.reports] == [4, 4, 4]
    assert world.shown(alice) == {f"/{file}": file.encode() for file in FILES}
    assert sorted(reads.keys) == [f"cvmfs/{file}" for file in FILES]
    assert staged(world, alice) == []


def test_what_changes_after_it_was_read_and_is_published_meanwhile_stays(
    world: World, alice: RepositoryName, reads: Reads
) -> None:
    def change() -> None:
        reads.wait_for("cvmfs/05")
        world.buckets.put("alice", "cvmfs/05", b"newer")
        world.pending.add(alice, frozenset({"cvmfs/05"}))

    world.door.before = once(change, world)
    turn = world.publisher.sync_everything(alice)
    assert turn.reports[1].scope == "1 changed keys"
    assert world.shown(alice)["/05"] == b"newer"
    assert len(world.shown(alice)) == len(FILES)
    assert staged(world, alice) == []


def test_quotas_hold_for_what_was_read_before_its_slice(world: World, alice: RepositoryName, reads: Reads) -> None:
    registry = MemoryRegistry(Role.STRATUM0, world.vault)
    record = registry.get(alice)
    assert record is not None
    registry.put(replace(record, quotas=Quotas(max_entries=6)))
    world.door.before = once(lambda: reads.wait_for("cvmfs/07"), world)
    world.publisher.sync_everything(alice)
    assert world.shown(alice).keys() == {f"/{file}" for file in FILES[:5]}
    assert len(world.records.refusals(alice)) == len(FILES) - 5


def test_a_listing_that_fails_ahead_is_not_its_end(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.sync(alice)
    for file in FILES[:6]:
        world.buckets.put("alice", f"cvmfs/{file}", b"changed")
    listed = world.buckets.list_objects

    def listing(bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        for item in listed(bucket, prefix, after):
            if item.key == "cvmfs/08":
                raise ServiceUnavailable("the listing broke off")
            yield item

    monkeypatch.setattr(world.buckets, "list_objects", listing)
    with pytest.raises(ServiceUnavailable, match="broke off"):
        world.publisher.sync_everything(alice)
    changed = {f"/{file}" for file, content in world.shown(alice).items() if content == b"changed"}
    assert len(world.shown(alice)) == len(FILES)
    assert len(changed) >= 4


def test_nothing_is_left_behind_when_somebody_else_committed(world: World, alice: RepositoryName, reads: Reads) -> None:
    def refuse() -> None:
        reads.wait_for("cvmfs/07")
        raise Conflict("somebody else was first")

    world.door.before = once(refuse, world)
    with pytest.raises(Conflict):
        world.publisher.sync_everything(alice)
    assert staged(world, alice) == []
    world.sync(alice)
    assert world.shown(alice) == {f"/{file}": file.encode() for file in FILES}
