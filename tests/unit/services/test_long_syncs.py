"""Comparisons that take long: who gets a turn meanwhile, what is told of them, and where they may be cut."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

import pytest

from softman.model import BucketObject, Part, SyncProgress
from softman.names import RepositoryName
from softman.services.scopes import Course
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


@pytest.mark.usefixtures("watchful")
def test_a_full_sync_is_not_cut_before_it_came_further(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would begin at the front again: one that takes longer than a turn would never come to its end."""
    world.buckets.put("alice", "cvmfs/18", b"changed")
    world.buckets.put("alice", "cvmfs/19", b"changed")
    world.limits = replace(world.limits, slice=SliceLimits(1, 10**9, 60.0))
    world.publisher = world.make_publisher()
    listed = world.buckets.list_objects
    over: list[bool] = []
    monkeypatch.setattr(Course, "over", lambda _self: bool(over))

    def listing(bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        for item in listed(bucket, prefix, after):
            if item.key == "cvmfs/05" and not over:
                over.append(True)
                world.buckets.put("alice", "cvmfs/new", b"new")
                world.pending.add(alice, frozenset({"cvmfs/new"}))
            yield item

    monkeypatch.setattr(world.buckets, "list_objects", listing)
    turn = world.publisher.sync_everything(alice)
    assert [report.scope for report in turn.reports] == ["1 changed keys", "everything"]
    assert (turn.again, turn.bulk) == (True, True)
    assert world.shown(alice)["/18"] == b"changed"
    over.clear()
    monkeypatch.setattr(world.buckets, "list_objects", listed)
    assert not world.publisher.publish_changes(alice).again
    assert world.shown(alice)["/19"] == b"changed"


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
