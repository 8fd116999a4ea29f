"""Comparisons that take long: who gets a turn meanwhile, what is told of them, and where they may be cut."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from softman.adapters.memory import MemoryBody
from softman.errors import ServiceUnavailable
from softman.model import PUBLISHED_PREFIX, BucketObject, CommitRequest, Part, SyncProgress
from softman.names import RepositoryName
from softman.services.configuration import CONFIGURATION_KEY
from softman.services.sync import SliceLimits
from tests.support.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def alice(world: World) -> RepositoryName:
    """A repository of twenty files that its bucket has, too."""
    name = world.provision("alice")
    for number in range(20):
        world.buckets.put("alice", f"cvmfs/{number:02}", b"x")
    world.sync(name)
    return name


@pytest.fixture
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """What happens every few seconds otherwise, or every some thousand objects, happens always."""
    monkeypatch.setattr("softman.services.plan._STRETCH", 1)
    monkeypatch.setattr("softman.services.arrivals._ALONE", 0.0)
    monkeypatch.setattr("softman.services.arrivals._EVERY", 0.0)
    monkeypatch.setattr("softman.services.progress._EVERY", 0.0)
    monkeypatch.setattr("softman.services.counting._LONG", 0.0)


@pytest.mark.usefixtures("watchful")
def test_keys_that_come_while_all_agrees_do_not_wait_for_the_end(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, shown_at = world.buckets.list_objects, {}

    def listing(bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        if threading.current_thread() is not threading.main_thread():  # the one that counts ahead
            yield from listed(bucket, prefix, after)
            return
        for item in listed(bucket, prefix, after):
            if item.key == "cvmfs/05":
                world.buckets.put("alice", "cvmfs/new", b"new")
                world.pending.add(alice, frozenset({"cvmfs/new"}))
            shown_at[item.key] = "/new" in world.shown(alice)
            yield item

    monkeypatch.setattr(world.buckets, "list_objects", listing)
    turn = world.publisher.sync_everything(alice)
    assert [(report.scope, report.added) for report in turn.reports] == [("1 changed keys", 1)]
    assert (shown_at["cvmfs/05"], shown_at["cvmfs/15"]) == (False, True)


class Listings:
    """Where each listing began, and what happens when it comes to a key."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began: list[str] = []
        self.at: dict[str, Callable[[], object]] = {}
        self._listed = world.buckets.list_objects
        monkeypatch.setattr(world.buckets, "list_objects", self._list)

    def _list(self, bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        if prefix == PUBLISHED_PREFIX and threading.current_thread() is threading.main_thread():
            self.began.append(after)
        for item in self._listed(bucket, prefix, after):
            self.at.pop(item.key, lambda: None)()
            yield item


@pytest.fixture
def cut(world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch) -> Listings:
    """Every file of alice's has changed; slices of four, one in each turn."""
    for number in range(20):
        world.buckets.put(alice.bucket, f"cvmfs/{number:02}", b"changed")
    world.limits = replace(world.limits, slice=SliceLimits(4, 10**9, 60.0), slices=1)
    world.publisher = world.make_publisher()
    return Listings(world, monkeypatch)


def finish(world: World, name: RepositoryName) -> None:
    """Turn after turn, until everything is compared."""
    for _ in range(20):
        if world.pending.is_whole(name):
            return
        world.publisher.publish_changes(name)
    pytest.fail("it comes to no end")


def changed(world: World, name: RepositoryName) -> list[str]:
    return sorted(path for path, content in world.shown(name).items() if content == b"changed")


def test_a_full_sync_that_is_cut_goes_on_behind_its_last_key(
    world: World, alice: RepositoryName, cut: Listings
) -> None:
    turn = world.publisher.sync_everything(alice)
    assert (turn.again, turn.bulk) == (True, True)
    assert changed(world, alice) == ["/00", "/01", "/02", "/03"]
    world.publisher.sync_everything(alice, anew=False)  # a reconciliation that falls into it
    finish(world, alice)
    assert cut.began == ["", "cvmfs/03", "cvmfs/07", "cvmfs/11", "cvmfs/15", "cvmfs/19"]
    assert len(changed(world, alice)) == 20
    assert world.pending.is_whole(alice)


def test_a_full_sync_whose_worker_dies_goes_on_there(world: World, alice: RepositoryName, cut: Listings) -> None:
    world.limits = replace(world.limits, slices=100)
    world.publisher = world.make_publisher()
    world.pending.add(alice, frozenset({"cvmfs/01"}))  # which lies before

    def dies(_request: CommitRequest) -> None:
        if len(world.door.requests) > before + 3:  # the key, then slices of the difference
            world.buckets.put(alice.bucket, "cvmfs/01", b"again")
            world.buckets.delete(alice.bucket, "cvmfs/19")
            world.pending.add(alice, frozenset({"cvmfs/01"}))
            raise SystemExit

    before = len(world.door.requests)
    world.door.before = dies
    monkeypatched_release = world.pending.release
    world.pending.release = lambda *_: False  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        world.publisher.sync_everything(alice)
    world.pending.release = monkeypatched_release  # type: ignore[method-assign]
    world.door.before = lambda _request: None
    world.clock.tick(3600)  # its lease is over
    turn = world.publisher.publish_changes(alice)
    assert not turn.again
    assert len(cut.began) == 2
    assert cut.began[1] >= "cvmfs/07"
    shown = world.shown(alice)
    assert shown.pop("/01") == b"again"
    assert "/19" not in shown
    assert set(shown.values()) == {b"changed"}


@pytest.mark.parametrize("what", ["asked for anew", "flushed", "other rules"])
def test_it_begins_at_the_front_again_when(world: World, alice: RepositoryName, cut: Listings, what: str) -> None:
    world.publisher.sync_everything(alice)
    world.buckets.put(alice.bucket, "cvmfs/00", b"in front")
    if what == "flushed":
        world.pending.flush()
    elif what == "other rules":
        world.buckets.put(alice.bucket, CONFIGURATION_KEY, b'ignore = ["04"]')
    world.publisher.sync_everything(alice, anew=what == "asked for anew")
    finish(world, alice)
    assert cut.began[:2] == ["", ""]
    assert world.shown(alice)["/00"] == b"in front"


def test_whoever_asks_anew_while_it_runs_gets_the_part_before_as_well(
    world: World, alice: RepositoryName, cut: Listings
) -> None:
    def ask() -> None:
        world.buckets.put(alice.bucket, "cvmfs/00", b"in front")
        world.pending.need_everything(alice)

    cut.at["cvmfs/06"] = ask
    world.publisher.sync_everything(alice)
    finish(world, alice)
    assert world.shown(alice)["/00"] == b"in front"
    assert world.pending.is_whole(alice)


def test_it_does_not_go_on_behind_what_could_not_be_read(
    world: World, alice: RepositoryName, cut: Listings, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = world.buckets.read

    def broken(bucket: str, key: str) -> AbstractContextManager[MemoryBody | None]:
        if key == "cvmfs/02":
            raise ServiceUnavailable("not now")
        return read(bucket, key)

    monkeypatch.setattr(world.buckets, "read", broken)
    world.publisher.sync_everything(alice)
    monkeypatch.setattr(world.buckets, "read", read)
    finish(world, alice)
    assert cut.began[1] == ""
    assert len(changed(world, alice)) == 20


class _AtOnce(threading.Thread):
    """Does its work before the caller goes on."""

    def start(self) -> None:
        self.run()

    def join(self, timeout: float | None = None) -> None:
        pass


@pytest.mark.usefixtures("watchful")
@pytest.mark.parametrize("prefix", ["", "cvmfs/1"])
def test_how_much_is_left_is_told(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    told: list[SyncProgress] = []
    monkeypatch.setattr(
        world.records, "set_progress", lambda _name, progress: told.append(progress) if progress else None
    )
    monkeypatch.setattr("softman.services.counting.threading", SimpleNamespace(Thread=_AtOnce, Event=threading.Event))
    turn = world.publisher.sync_part(alice, Part(prefix)) if prefix else world.publisher.sync_everything(alice)
    assert turn.reports == ()
    left = [(each.remaining, each.remaining_bytes) for each in told if each.remaining is not None]
    number = 10 if prefix else 20
    assert left[0] == (number - 1, number - 1)
    assert left[-1] == (0, 0)
    assert sorted(left, reverse=True) == left
