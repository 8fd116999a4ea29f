"""The engine on a real repository: links, archives, claims, configurations, quotas, parts, unreadable objects."""

import io
import tarfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.ports import ObjectBody
from softman.adapters.vault_layout import Role
from softman.cvmfs.format.hashes import ObjectKind
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.staging import Staging, staged_name
from softman.cvmfs.transaction import Transaction
from softman.errors import CandidateRefused, ServiceUnavailable
from softman.model import Base, CommitRequest, Part, Quotas, RegistryRecord
from softman.names import RepositoryName
from softman.services.configuration import CONFIGURATION_KEY
from softman.services.preview import Action
from softman.services.proof import signed
from softman.services.sync import SliceLimits
from tests.support.world import World

pytestmark = pytest.mark.slow


@pytest.fixture
def alice(world: World) -> RepositoryName:
    name = world.provision("alice")
    world.sync(name)
    return name


def tar(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def put(world: World, objects: dict[str, bytes]) -> list[str]:
    world.clock.tick()
    for key, content in objects.items():
        world.buckets.put("alice", f"cvmfs/{key}", content)
    return [f"cvmfs/{key}" for key in objects]


def delete(world: World, *keys: str) -> list[str]:
    for key in keys:
        world.buckets.delete("alice", f"cvmfs/{key}")
    return [f"cvmfs/{key}" for key in keys]


def refused(world: World, name: RepositoryName) -> dict[str, str]:
    return {each.key.removeprefix("cvmfs/"): each.reason for each in world.records.refusals(name)}


def test_a_damaged_archive_or_link_leaves_what_was_there(world: World, alice: RepositoryName) -> None:
    world.sync(alice, *put(world, {"x.tar": tar(m=b"member"), "l.rclonelink": b"x/m"}))
    before = {"/x": None, "/x/.cvmfscatalog": b"", "/x/m": b"member", "/l": b"-> x/m"}
    assert world.shown(alice) == before
    world.sync(alice, *put(world, {"x.tar": tar(m=b"x" * 3000)[:1500], "l.rclonelink": b"../../etc/passwd"}))
    for _ in range(2):
        assert world.shown(alice) == before
        assert refused(world, alice).keys() == {"x.tar", "l.rclonelink"}
        assert world.sync(alice).revision is None
    world.sync(alice, *put(world, {"x.tar": tar(n=b"other")}), *delete(world, "l.rclonelink"))
    assert world.shown(alice) == {"/x": None, "/x/.cvmfscatalog": b"", "/x/n": b"other"}
    assert refused(world, alice) == {}


def test_the_loser_takes_the_place_when_the_winner_goes(world: World, alice: RepositoryName) -> None:
    world.sync(alice, *put(world, {"x.tar": tar(m=b"tar"), "x.rclonelink": b"y", "x": b"file", "x/f": b"folder"}))
    assert world.shown(alice) == {"/x": None, "/x/f": b"folder"}
    assert refused(world, alice).keys() == {"x", "x.rclonelink", "x.tar"}
    world.sync(alice, *delete(world, "x/f"))
    assert world.shown(alice) == {"/x": b"file"}
    assert refused(world, alice).keys() == {"x.rclonelink", "x.tar"}
    world.pending.flush()
    delete(world, "x")
    world.sync(alice)
    assert world.shown(alice) == {"/x": b"-> y"}
    world.sync(alice, *delete(world, "x.rclonelink"))
    assert world.shown(alice) == {"/x": None, "/x/.cvmfscatalog": b"", "/x/m": b"tar"}
    assert refused(world, alice) == {}


def test_a_key_below_an_archive_that_has_a_member_there(world: World, alice: RepositoryName) -> None:
    world.sync(alice, *put(world, {"x.tar": tar(**{"d/m": b"member"}), "x/d": b"file"}))
    assert world.shown(alice) == {"/x": None, "/x/d": b"file"}
    assert refused(world, alice).keys() == {"x.tar"}
    world.sync(alice, *delete(world, "x/d"))
    assert world.shown(alice).keys() == {"/x", "/x/.cvmfscatalog", "/x/d", "/x/d/m"}
    world.sync(alice, *put(world, {"x/d": b"file"}))
    assert world.shown(alice) == {"/x": None, "/x/d": b"file"}


def test_the_last_good_configuration_stays_in_force(world: World, alice: RepositoryName) -> None:
    put(world, {"a.tmp": b"a", "b": b"b", ".softman.toml": b"ignore = ['*.tmp']"})
    world.sync(alice, CONFIGURATION_KEY)  # which leads to a full difference
    assert world.shown(alice) == {"/b": b"b"}
    world.sync(alice, *put(world, {".softman.toml": b"ignore = 7", "c.tmp": b"c"}))
    world.records.flush()
    world.pending.flush()
    world.sync(alice)
    assert world.shown(alice) == {"/b": b"b"}
    assert "the last good one stays in force: ignore" in refused(world, alice)[".softman.toml"]
    world.sync(alice, *delete(world, ".softman.toml"))
    assert world.shown(alice) == {"/a.tmp": b"a", "/b": b"b", "/c.tmp": b"c"}
    assert refused(world, alice) == {}
    assert world.sync(alice).revision is None


def test_stratum0_keeps_no_configuration_that_is_not_valid(world: World, alice: RepositoryName) -> None:
    manifest = world.reader(alice).manifest()
    here = Base(manifest.revision, str(manifest.root_hash))
    request = CommitRequest(str(alice), "0" * 32, here, here.root_hash, "", "", configuration="ignore = 7")
    with pytest.raises(CandidateRefused, match="not valid: ignore"):
        world.stratum0.commit(signed(request, GatewayKey.parse(world.material["gatewayKey"])))
    record = MemoryRegistry(Role.STRATUM0, world.vault).get(alice)
    assert record is not None
    assert record.configuration == ""


def test_what_exceeds_a_quota_is_refused_by_itself(world: World, alice: RepositoryName) -> None:
    registry = MemoryRegistry(Role.STRATUM0, world.vault)
    record = registry.get(alice)
    assert isinstance(record, RegistryRecord)
    registry.put(replace(record, quotas=Quotas(max_entries=5, max_bytes=100, max_object_bytes=80, max_archive_bytes=9)))
    world.sync(alice, *put(world, {"a": b"a" * 60, "b": b"b" * 50, "c": b"c" * 81, "d": b"d", "e.tar": tar(m=b"m")}))
    assert world.shown(alice).keys() == {"/a", "/d"}
    reasons = refused(world, alice)
    assert {key: reason.split(";")[0] for key, reason in reasons.items()} == {
        "b": "quota: the repository would have 110 bytes",
        "c": "it has 81 bytes",
        "e.tar": f"it has {len(tar(m=b'm'))} bytes",
    }
    delete(world, "a")
    world.sync(alice, *put(world, {"f/g/h/i": b"deep"}), "cvmfs/a")
    assert "quota: the repository would have 6 entries" in refused(world, alice)["f/g/h/i"]
    world.sync(alice)
    assert world.shown(alice).keys() == {"/b", "/d"}
    assert refused(world, alice).keys() == {"c", "e.tar", "f/g/h/i"}


def test_verifying_finds_what_marks_do_not_show(world: World, alice: RepositoryName) -> None:
    world.sync(alice, *put(world, {"a": b"good", "d/b": b"fine", "d/l.rclonelink": b"b", "x.tar": tar(m=b"m")}))
    objects = world.buckets._buckets["alice"].objects
    objects["cvmfs/a"] = objects["cvmfs/a"][0], b"evil"  # the same ETag, the same date
    assert world.sync(alice).revision is None
    assert world.publisher.sync_part(alice, Part("cvmfs/d/", verify=True)).revision is None
    (report,) = world.publisher.sync_part(alice, Part(verify=True)).reports
    assert (report.changed, report.unchanged, report.added, report.removed) == (1, 3, 0, 0)
    assert world.shown(alice)["/a"] == b"evil"


def test_a_part_of_a_bucket_in_several_turns(world: World, alice: RepositoryName) -> None:
    put(world, {f"d/{number}": b"x" for number in range(7)} | {"e": b"e", "a": b"a"})
    plan = list(world.publisher.plan(alice, Part("cvmfs/d/")))
    assert [(step.action, step.key) for step in plan] == [(Action.ADD, f"cvmfs/d/{number}") for number in range(7)]
    world.limits = replace(world.limits, slice=SliceLimits(3, 10**9, 60.0), slices=1)
    world.publisher = world.make_publisher()
    turn = world.publisher.sync_part(alice, Part("cvmfs/d/"))
    turns = [turn]
    while turn.rest is not None:
        turn = world.publisher.sync_part(alice, turn.rest)
        turns.append(turn)
    assert [len(turn.reports) for turn in turns] in ([1, 1, 1], [1, 1, 1, 0])
    assert world.shown(alice).keys() == {"/d"} | {f"/d/{number}" for number in range(7)}
    assert world.records.progress(alice) is None


def test_an_object_that_cannot_be_read_stops_no_other(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = world.buckets.read

    @contextmanager
    def broken(bucket: str, key: str) -> Iterator[ObjectBody | None]:
        if key == "cvmfs/bad":
            msg = "the object store answers with an error"
            raise ServiceUnavailable(msg)
        with reading(bucket, key) as body:
            yield body

    def reading(bucket: str, key: str) -> AbstractContextManager[ObjectBody | None]:
        return read(bucket, key)

    monkeypatch.setattr(world.buckets, "read", broken)
    keys = put(world, {"a": b"a", "bad": b"bad", "c": b"c"})
    for scope in (keys, []):
        with pytest.raises(ServiceUnavailable, match=r"1 objects could not be read now .* cvmfs/bad"):
            world.sync(alice, *scope)
        assert world.shown(alice) == {"/a": b"a", "/c": b"c"}
        assert world.pending.count(alice) == 1
    monkeypatch.setattr(world.buckets, "read", read)
    world.publisher.publish_changes(alice)
    assert world.shown(alice) == {"/a": b"a", "/bad": b"bad", "/c": b"c"}
    assert world.pending.count(alice) == 0


def test_keys_that_change_during_a_full_sync_do_not_wait_for_its_end(
    world: World, alice: RepositoryName, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those that the listing did not have yet, nor those that it had as they were before."""
    world.limits = replace(world.limits, slice=SliceLimits(3, 10**9, 60.0))
    world.publisher = world.make_publisher()
    world.sync(alice, *put(world, {"x": b"file", "z/back": b"back", "z/gone": b"gone"}))
    delete(world, "z/back")
    put(world, {f"d/{number}": b"x" for number in range(12)} | {"x.rclonelink": b"d", "bad//name": b""})
    listed = list(world.buckets.list_objects("alice", "cvmfs/"))
    monkeypatch.setattr(world.buckets, "list_objects", lambda *_: iter(listed))
    revisions: list[dict[str, bytes | None]] = []

    def meanwhile(_request: CommitRequest) -> None:
        if not revisions:
            world.door.before = lambda _request: revisions.append(world.shown(alice))
            revisions.append(world.shown(alice))
            keys = put(world, {"z/back": b"is back", "z/new": b"new", "x/folder": b""})
            world.pending.add(alice, frozenset([*keys, *delete(world, "z/gone")]))

    world.door.before = meanwhile
    turn = world.publisher.sync_everything(alice)
    assert [report.scope for report in turn.reports][:5] == [
        "everything", "3 changed keys", "everything", "1 changed keys", "everything",
    ]  # fmt: skip
    assert {path for path in revisions[4] if path.startswith(("/x", "/z"))} == {
        "/x", "/x/folder", "/z", "/z/back", "/z/new",
    }  # fmt: skip
    assert not turn.again
    assert world.pending.count(alice) == 0
    shown = world.shown(alice)
    assert len(shown) == 13 + 5
    assert shown["/z/back"] == b"is back"
    assert refused(world, alice).keys() == {"x", "x.rclonelink", "bad//name"}
    monkeypatch.undo()
    world.sync(alice, *delete(world, "x/folder"))
    assert world.shown(alice)["/x"] == b"file"
    assert world.sync(alice).revision is None


def test_a_configuration_that_comes_during_a_full_sync_is_carried_through_after_it(
    world: World, alice: RepositoryName
) -> None:
    world.limits = replace(world.limits, slice=SliceLimits(3, 10**9, 60.0))
    world.publisher = world.make_publisher()
    put(world, {f"d/{number}": b"x" for number in range(7)} | {".softman.toml": b"ignore = ['e']", "e": b"e"})

    def meanwhile(_request: CommitRequest) -> None:
        world.door.before = lambda _request: None
        world.pending.add(alice, frozenset(put(world, {"f": b"f", ".softman.toml": b"ignore = ['d']"})))

    world.door.before = meanwhile
    world.sync(alice)
    assert world.shown(alice) == {"/e": b"e", "/f": b"f"}


def objects_of(world: World, name: RepositoryName, path: str) -> list[Path]:
    """Where the objects of a file are stored."""
    with world.reader(name).snapshot() as snapshot:
        entry = snapshot.lookup(path)
        return [world.root / str(name) / content.object_path(kind) for content, kind in entry.objects()]


def test_verifying_repairs_what_is_stored(world: World, alice: RepositoryName) -> None:
    """What is damaged, cut short or gone, also in chunks and archives, and nothing else."""
    large = b"".join(n.to_bytes(4, "big") * 50 for n in range(100_000))
    content = {"a": b"good", "b": b"fine", "c": b"same", "d": b"same", "large": large, "x.tar": tar(m=b"m", n=b"n")}
    world.sync(alice, *put(world, content))
    before, revision = world.shown(alice), world.reader(alice).manifest().revision
    (a,), (b,), (c,), (m,) = (objects_of(world, alice, path) for path in ("/a", "/b", "/c", "/x/m"))
    chunks = objects_of(world, alice, "/large")
    assert len(chunks) > 2
    evil = bytes(a.stat().st_size)
    untouched = b.stat().st_ino
    a.write_bytes(evil)
    c.unlink()
    m.write_bytes(m.read_bytes()[:-1])
    chunks[1].write_bytes(chunks[1].read_bytes() + b"more")
    assert world.sync(alice).reports == ()
    (report,) = world.publisher.sync_part(alice, Part(verify=True)).reports
    assert (report.revision, report.repaired, report.changed, report.unchanged) == (revision, 5, 0, 6)
    assert world.shown(alice) == before
    assert b.stat().st_ino == untouched
    assert world.publisher.sync_part(alice, Part(verify=True)).reports == ()
    assert list((world.root / str(alice) / "data/txn").iterdir()) == []


def test_repairs_go_with_a_revision(world: World, alice: RepositoryName) -> None:
    world.sync(alice, *put(world, {"a": b"good", "b": b"b"}))
    (a,) = objects_of(world, alice, "/a")
    a.write_bytes(bytes(a.stat().st_size))
    put(world, {"b": b"changed", "c": b"good"})  # c has the content of a
    (report,) = world.publisher.sync_part(alice, Part(verify=True)).reports
    assert (report.repaired, report.changed, report.added) == (1, 1, 1)
    assert world.shown(alice) == {"/a": b"good", "/b": b"changed", "/c": b"good"}


def test_repairs_replace_only_what_is_wrong_by_what_is_right(world: World, alice: RepositoryName) -> None:
    """A publisher that is taken over cannot store with them what no revision has, nor anything else in place of it."""
    world.sync(alice, *put(world, {"a": b"good", "b": b"fine"}))
    (a,), (b,) = objects_of(world, alice, "/a"), objects_of(world, alice, "/b")
    right, fine = a.read_bytes(), b.stat().st_ino
    manifest = world.reader(alice).manifest()
    here = Base(manifest.revision, str(manifest.root_hash))

    def ask(staging: Staging, *paths: str) -> None:
        request = CommitRequest(str(alice), staging.transaction, here, here.root_hash, "", "", repairs=paths)
        world.stratum0.commit(signed(request, GatewayKey.parse(world.material["gatewayKey"])))

    a.write_bytes(b"damaged")
    staging = world.staging(alice)
    good = staging.write_object([b"good"])
    (staging.directory / staged_name(good.hash, ObjectKind.FILE)).write_bytes(b"wrong, too")
    with pytest.raises(CandidateRefused, match="has the hash"):
        ask(staging, "/a")
    assert a.read_bytes() == b"damaged"

    staging = world.staging(alice)
    for content in (b"good", b"fine", b"of no file"):
        stranger = staging.write_object([content])
    ask(staging, "/a", "/b", "/not/there", "/")
    assert a.read_bytes() == right
    assert b.stat().st_ino == fine
    assert not (world.root / str(alice) / stranger.hash.object_path(ObjectKind.FILE)).exists()


def test_verifying_repairs_what_somebody_changed_in_the_repository(world: World, alice: RepositoryName) -> None:
    world.sync(alice, *put(world, {"a": b"good", "x.tar": tar(m=b"m", n=b"n"), "y.tar": tar(m=b"m")}))
    before = world.shown(alice)
    staging = world.staging(alice)
    with world.reader(alice).snapshot() as base, Transaction(base, staging, now=world.clock) as transaction:
        entry = base.lookup(b"/a")
        evil = staging.write_file([b"evil"])
        transaction.add_file(b"/a", evil, entry.permissions, entry.mtime, xattrs=entry.xattrs)
        transaction.add_file(b"/x/m", evil, 0o644, 0)
        transaction.remove(b"/x/n")
        candidate = transaction.seal()
        assert candidate is not None
    here = Base(candidate.base_revision, str(candidate.base_root_hash))
    request = CommitRequest(str(alice), staging.transaction, here, str(candidate.root_hash), "", "")
    world.stratum0.commit(signed(request, GatewayKey.parse(world.material["gatewayKey"])))
    assert world.shown(alice) != before
    assert world.sync(alice).revision is None
    (report,) = world.publisher.sync_part(alice, Part(verify=True)).reports
    assert (report.changed, report.unchanged, report.added, report.removed) == (2, 1, 0, 0)
    assert world.shown(alice) == before
    assert world.publisher.sync_part(alice, Part(verify=True)).revision is None
