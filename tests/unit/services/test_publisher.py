"""Turns on a real repository: what the bucket says is what it shows, and what happens when things break."""

import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from softman.adapters.memory import MemoryBody
from softman.cvmfs.format.keys import GatewayKey
from softman.errors import Busy, CandidateRefused, Conflict, Forbidden, NotFound, ServiceUnavailable
from softman.model import Base, CommitAnswer, CommitRequest
from softman.names import RepositoryName
from softman.services.keeper import LeaseKeeper
from softman.services.mapping import SOURCE_XATTR
from softman.services.proof import signed
from softman.services.sync import SliceLimits
from tests.support.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def alice(world: World) -> RepositoryName:
    return world.provision("alice")


def test_a_key_is_published(world: World, alice: RepositoryName) -> None:
    item = world.buckets.put("alice", "cvmfs/bin/tool", b"#!/bin/sh\n", {"mtime": "1600000000.5"})
    turn = world.sync(alice, "cvmfs/bin/tool")
    with world.reader(alice).snapshot() as snapshot:
        entry = snapshot.lookup("/bin/tool")
        assert (entry.permissions, entry.mtime, entry.mtime_ns, entry.size) == (0o755, 1600000000, 500000000, 10)
        assert entry.xattrs[SOURCE_XATTR] == f"2 {item.etag} {int(item.last_modified)}".encode()
        assert b"".join(snapshot.read_file("/bin/tool")) == b"#!/bin/sh\n"
    (report,) = turn.reports
    assert (report.added, report.changed, report.removed, report.bytes_read) == (1, 0, 0, 10)
    assert world.records.last_report(alice) == report
    assert world.pending.count(alice) == 0


def test_a_report_says_what_is_held_and_since_when_it_was_wanted(world: World, alice: RepositoryName) -> None:
    first = world.buckets.put("alice", "cvmfs/a", b"12345")
    world.buckets.put("alice", "cvmfs/d/b", b"12")
    (report,) = world.sync(alice, "cvmfs/a", "cvmfs/d/b").reports
    assert (report.entries, report.bytes) == (4, 7)  # the root and the folder are entries, too
    assert report.put_at == first.last_modified
    world.buckets.delete("alice", "cvmfs/a")
    (report,) = world.sync(alice, "cvmfs/a").reports
    assert (report.entries, report.bytes, report.put_at) == (3, 2, 0)


def test_the_same_event_twice_makes_one_revision(world: World, alice: RepositoryName) -> None:
    world.buckets.put("alice", "cvmfs/a", b"a")
    world.sync(alice)
    first = world.reader(alice).manifest().revision
    assert world.sync(alice, "cvmfs/a").revision is None
    assert world.sync(alice).revision is None
    assert world.reader(alice).manifest().revision == first


def test_changes_and_removals_follow(world: World, alice: RepositoryName) -> None:
    for key in ("a", "d/b", "d/c", "keep/"):
        world.buckets.put("alice", f"cvmfs/{key}", b"" if key.endswith("/") else key.encode())
    world.sync(alice)
    assert world.shown(alice) == {"/a": b"a", "/d": None, "/d/b": b"d/b", "/d/c": b"d/c", "/keep": None}
    world.buckets.put("alice", "cvmfs/a", b"new")
    world.buckets.delete("alice", "cvmfs/d/b")
    world.buckets.delete("alice", "cvmfs/d/c")
    world.sync(alice, "cvmfs/a", "cvmfs/d/b", "cvmfs/d/c")
    assert world.shown(alice) == {"/a": b"new", "/keep": None}


def test_only_metadata_changed(world: World, alice: RepositoryName) -> None:
    world.buckets.put("alice", "cvmfs/a", b"x")
    world.sync(alice)
    world.buckets.copy("alice", "cvmfs/a", "cvmfs/a", {"mode": "100755", "mtime": "5"})
    world.sync(alice, "cvmfs/a")  # the same second, the same ETag
    with world.reader(alice).snapshot() as snapshot:
        assert (snapshot.lookup("/a").permissions, snapshot.lookup("/a").mtime) == (0o755, 5)


def test_a_folder_wins_over_a_file_and_the_file_returns(world: World, alice: RepositoryName) -> None:
    world.buckets.put("alice", "cvmfs/x", b"file")
    world.sync(alice, "cvmfs/x")
    world.buckets.put("alice", "cvmfs/x/y", b"below")
    world.sync(alice, "cvmfs/x/y")
    assert world.shown(alice) == {"/x": None, "/x/y": b"below"}
    assert [(r.key, "folder wins" in r.reason) for r in world.records.refusals(alice)] == [("cvmfs/x", True)]
    world.sync(alice)
    assert world.shown(alice) == {"/x": None, "/x/y": b"below"}
    assert [r.key for r in world.records.refusals(alice)] == ["cvmfs/x"]
    world.buckets.delete("alice", "cvmfs/x/y")
    world.sync(alice, "cvmfs/x/y")
    assert world.shown(alice) == {"/x": b"file"}
    assert world.records.refusals(alice) == []


def test_refused_keys_are_reported_and_the_rest_is_published(world: World, alice: RepositoryName) -> None:
    for key in ("cvmfs/../etc/passwd", "cvmfs/a//b", "cvmfs/.cvmfspublished", "cvmfs/good", "elsewhere/x"):
        world.buckets.put("alice", key, b"content")
    world.buckets.put("alice", "cvmfs/folder/", b"with content")
    for _ in range(2):
        world.sync(alice)
        assert world.shown(alice) == {"/good": b"content"}
        assert {r.key for r in world.records.refusals(alice)} == {
            "cvmfs/../etc/passwd",
            "cvmfs/.cvmfspublished",
            "cvmfs/a//b",
            "cvmfs/folder/",
        }
    world.buckets.delete("alice", "cvmfs/a//b")
    world.sync(alice, "cvmfs/../etc/passwd", "cvmfs/a//b", "elsewhere/x")
    assert world.shown(alice) == {"/good": b"content"}


def test_a_big_sync_goes_in_slices(world: World, alice: RepositoryName) -> None:
    world.limits = replace(world.limits, slice=SliceLimits(10, 10**9, 60.0), slices=3)
    world.publisher = world.make_publisher()
    for number in range(75):
        world.buckets.put("alice", f"cvmfs/d{number % 7}/f{number}", bytes(str(number), "ascii"))
    before = world.reader(alice).manifest().revision
    turn = world.publisher.sync_everything(alice)
    assert (len(turn.reports), turn.again, turn.bulk) == (3, True, True)
    while turn.again:
        turn = world.publisher.publish_changes(alice)
    assert len([path for path, content in world.shown(alice).items() if content is not None]) == 75
    assert world.reader(alice).manifest().revision == before + 8
    assert not world.sync(alice).reports


def test_pending_keys_survive_a_failure(world: World, alice: RepositoryName) -> None:
    world.sync(alice)
    world.buckets.put("alice", "cvmfs/a", b"a")

    def broken(_request: CommitRequest) -> None:
        raise ServiceUnavailable("stratum 0 is away")

    world.door.before = broken
    with pytest.raises(ServiceUnavailable):
        world.sync(alice, "cvmfs/a")
    assert world.pending.count(alice) == 1
    assert list((world.root / str(alice) / "data" / "txn").iterdir()) == []
    world.door.before = lambda _request: None
    world.publisher.publish_changes(alice)
    assert world.shown(alice) == {"/a": b"a"}


def test_whoever_shall_stop_does_not_read_a_huge_object_to_its_end(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch
) -> None:
    flag, pieces = threading.Event(), 100
    read: list[int] = []

    def chunks(_: MemoryBody) -> Iterator[bytes]:
        for number in range(pieces):
            read.append(number)
            if number == 2:
                flag.set()
            yield bytes(64 * 1024)

    monkeypatch.setattr(LeaseKeeper, "stopping", flag)
    monkeypatch.setattr("softman.services.keeper.GRACE_SECONDS", 0.0)
    world.buckets.put("alice", "cvmfs/huge", bytes(64 * 1024 * pieces))
    with monkeypatch.context() as patched:
        patched.setattr(MemoryBody, "chunks", chunks)
        with pytest.raises(Busy, match="worker stops"):
            world.sync(alice, "cvmfs/huge")
    assert len(read) < pieces
    assert world.pending.count(alice) == 1
    flag.clear()
    world.sync(alice)
    assert "/huge" in world.shown(alice)


def test_a_lost_answer_is_not_a_lost_commit(world: World, alice: RepositoryName) -> None:
    world.sync(alice)
    world.buckets.put("alice", "cvmfs/a", b"a")

    def lost(_answer: CommitAnswer) -> CommitAnswer:
        raise ServiceUnavailable("no answer in time")

    world.door.after = lost
    turn = world.sync(alice, "cvmfs/a")
    assert turn.revision == world.reader(alice).manifest().revision
    assert world.shown(alice) == {"/a": b"a"}


def test_two_holders_cannot_spoil_the_repository(world: World, alice: RepositoryName) -> None:
    """The lease ran out under a paused publisher: the base is the fence."""
    world.sync(alice)
    other = world.make_publisher()
    world.buckets.put("alice", "cvmfs/a", b"a")

    def overtaken(_request: CommitRequest) -> None:
        world.door.before = lambda _request: None
        world.clock.tick(61)
        world.buckets.put("alice", "cvmfs/b", b"b")
        world.pending.add(alice, frozenset({"cvmfs/b"}))
        assert other.publish_changes(alice).revision is not None

    world.door.before = overtaken
    with pytest.raises((Conflict, Busy)):
        world.sync(alice, "cvmfs/a")
    world.sync(alice)
    assert world.shown(alice) == {"/a": b"a", "/b": b"b"}


def test_who_finds_the_lease_taken_returns_and_the_holder_does_it(world: World, alice: RepositoryName) -> None:
    world.sync(alice)
    world.buckets.put("alice", "cvmfs/a", b"a")
    other = world.make_publisher()

    def meanwhile(_request: CommitRequest) -> None:
        world.door.before = lambda _request: None
        world.buckets.put("alice", "cvmfs/b", b"b")
        world.pending.add(alice, frozenset({"cvmfs/b"}))
        assert other.publish_changes(alice).held_elsewhere
        assert other.sync_everything(alice).held_elsewhere

    world.door.before = meanwhile
    world.sync(alice, "cvmfs/a")
    assert world.shown(alice) == {"/a": b"a", "/b": b"b"}
    assert world.pending.count(alice) == 0


def test_after_a_flush_everything_is_compared(world: World, alice: RepositoryName) -> None:
    world.sync(alice)
    world.buckets.put("alice", "cvmfs/lost", b"its event was lost")
    world.buckets.put("alice", "cvmfs/a", b"a")
    world.pending.flush()
    world.sync(alice, "cvmfs/a")
    assert world.shown(alice) == {"/a": b"a", "/lost": b"its event was lost"}


def test_somebody_elses_bucket_is_not_published(world: World) -> None:
    world.buckets.add_user("mallory")
    world.buckets.ensure_bucket("alice", "mallory")
    world.buckets.put("alice", "cvmfs/a", b"a")
    name = world.stratum0.request("alice", "s", "personal", None).repository  # type: ignore[arg-type]
    world.stratum0.create_repository(name)
    world.stratum0.publish_keys(name)
    with pytest.raises(Forbidden, match="belongs to mallory"):
        world.sync(name)


def test_an_unknown_repository_is_refused(world: World) -> None:
    nobody = RepositoryName("nobody", "example.org")
    with pytest.raises(NotFound, match=r"no repository nobody\.example\.org"):
        world.sync(nobody, "cvmfs/a")
    assert world.pending.count(nobody) == 0  # nobody will ever publish these


def test_what_stratum0_refuses_is_not_tried_at_once_again(world: World, alice: RepositoryName) -> None:
    world.sync(alice)

    def refuses(_request: CommitRequest) -> None:
        raise CandidateRefused("over its quota")

    world.door.before = refuses
    world.buckets.put("alice", "cvmfs/a", b"a")
    with pytest.raises(CandidateRefused, match="quota"):
        world.sync(alice, "cvmfs/a")
    assert world.publisher.waiting() == []
    world.door.before = lambda _request: None
    world.sync(alice)  # reconciliation
    assert world.shown(alice) == {"/a": b"a"}


def test_an_object_that_went_before_the_commit_is_staged_anew(world: World, alice: RepositoryName) -> None:
    """Garbage collection came between: the content was stored and so not staged."""
    world.buckets.put("alice", "cvmfs/old", b"content")
    world.sync(alice)
    with world.reader(alice).snapshot() as snapshot:
        content, kind = snapshot.lookup("/old").objects()[0]
    stored = world.root / str(alice) / content.object_path(kind)
    world.buckets.delete("alice", "cvmfs/old")
    world.sync(alice)

    def collected(_request: CommitRequest) -> None:
        world.door.before = lambda _request: None
        stored.unlink(missing_ok=True)
        for staged in (world.root / str(alice) / "data" / "txn").glob(f"*/{content}*"):
            staged.unlink()

    world.door.before = collected
    world.buckets.put("alice", "cvmfs/new", b"content")
    with pytest.raises(Conflict, match="neither staged nor stored"):
        world.sync(alice, "cvmfs/new")
    assert world.pending.count(alice) == 1
    world.publisher.publish_changes(alice)
    assert world.shown(alice) == {"/new": b"content"}


def test_a_deleted_bucket_does_not_empty_the_repository(world: World, alice: RepositoryName) -> None:
    world.buckets.put("alice", "cvmfs/a", b"a")
    world.sync(alice)
    world.buckets = World(world.root, world.material).buckets
    world.publisher = world.make_publisher()
    with pytest.raises(NotFound):
        world.publisher.sync_everything(alice)
    assert world.shown(alice) == {"/a": b"a"}


def test_attaching_proves_the_gateway_key(world: World, alice: RepositoryName) -> None:
    assert "gateway key accepted" in world.publisher.attach(alice)
    revision = world.reader(alice).manifest().revision
    assert revision == 1


def test_stratum0_refuses_what_is_not_signed_for_it(world: World, alice: RepositoryName) -> None:
    manifest = world.reader(alice).manifest()
    here = Base(manifest.revision, str(manifest.root_hash))
    request = CommitRequest(str(alice), "0" * 32, here, "b" * 40, key_id="x", signature="y")
    with pytest.raises(Forbidden):
        world.stratum0.commit(request)
    with pytest.raises(CandidateRefused):
        world.stratum0.commit(signed(request, GatewayKey.parse(world.material["gatewayKey"])))
    assert world.reader(alice).manifest() == manifest


def test_a_replayed_commit_is_void(world: World, alice: RepositoryName) -> None:
    world.buckets.put("alice", "cvmfs/a", b"a")
    world.sync(alice)
    replay = world.door.requests[-1]
    assert world.stratum0.commit(replay).committed  # redelivered: it is the current one
    world.buckets.delete("alice", "cvmfs/a")
    world.sync(alice)
    answer = world.stratum0.commit(replay)
    assert not answer.committed
    assert answer.current == Base(3, str(world.reader(alice).manifest().root_hash))
    assert world.shown(alice) == {}
