"""Our gateway in the hands of honest and other publishers."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from softman.cvmfs.areas import DirectoryArea, new_transaction_id, staged_name
from softman.cvmfs.errors import GatewayError, GatewayRefused, GatewayUnavailable, LeaseBusy, LeaseLost, PathError
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.format.objects import compress
from softman.cvmfs.gateway.authorization import authorization
from softman.cvmfs.gateway.messages import CommitMessage, LeaseRequest, PayloadMessage
from softman.cvmfs.gateway.packs import PackedObject, header_digest, pack_header
from softman.cvmfs.gateway.sending import staged_objects
from softman.cvmfs.repository import Limits
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Transaction
from softman.errors import ServiceUnavailable
from softman.services.gateway.leases import LeaseBook
from softman.services.mapping import PUBLISHER_XATTR
from tests.support.exchanges import REPOSITORY, keys
from tests.support.gateway import KEPT, NOW, GatewayBench, access_as_recorded
from tests.support.world import Clock

_KEY = keys()["rootkey"]
_SUB = keys()["subkey"]
Change = Callable[[Transaction, Staging], None]


@pytest.fixture
def bench(tmp_path: Path) -> GatewayBench:
    found = GatewayBench.of_archive("before.tar.gz", tmp_path, access_as_recorded(keys()))
    with found.repository.transaction() as tx:
        tx.add_bytes("/own/file", b"of the bucket", xattrs={KEPT: b"1 etag"})
        tx.add_bytes("/sub/one", b"of nobody")
    return found


class Publisher:
    """Builds on the revision that it saw last, and sends everything through the gateway."""

    def __init__(self, bench: GatewayBench, key: GatewayKey = _KEY) -> None:
        self.bench = bench
        self.key = key
        self.look()

    def look(self) -> None:
        """Build on what is in force now."""
        self.base = self.bench.reader().manifest()

    def lease(self, path: str = "") -> str:
        body = LeaseRequest(REPOSITORY, path, "here").to_bytes()
        return str(self.bench.gateway.acquire(authorization(self.key, body), body, "")["session_token"])

    @contextmanager
    def made(self, change: Change) -> Iterator[tuple[DirectoryArea, ContentHash]]:
        """What a publisher makes on its own machine."""
        area = DirectoryArea(self.bench.root.parent / new_transaction_id())
        staging = Staging(area)
        with (
            self.bench.reader().snapshot(revision=self.base.revision) as snapshot,
            Transaction(snapshot, staging, now=self.bench.clock) as tx,
        ):
            change(tx, staging)
            candidate = tx.seal()
        assert candidate is not None
        try:
            yield area, candidate.root_hash
        finally:
            area.discard()

    def send(self, token: str, area: DirectoryArea) -> None:
        objects = list(staged_objects(area.directory))
        header = pack_header(objects)
        contents = [(area.directory / staged_name(item.hash, item.kind)).read_bytes() for item in objects]
        self.send_pack(token, header, b"".join(contents))

    def send_pack(self, token: str, header: bytes, contents: bytes, digest: str | None = None) -> None:
        message = PayloadMessage(token, digest or header_digest(header), len(header)).to_bytes()
        stream = io.BytesIO(header + contents)
        self.bench.gateway.submit(authorization(self.key, message), None, message, stream.read)

    def commit(self, token: str, new_root: ContentHash, tag: str = "") -> int:
        body = CommitMessage(self.base.root_hash, new_root, tag).to_bytes()
        fields = self.bench.gateway.commit(authorization(self.key, token.encode()), token, body)
        return int(str(fields["final_revision"]))

    def publish(self, change: Change, path: str = "", tag: str = "") -> int:
        token = self.lease(path)
        with self.made(change) as (area, root):
            self.send(token, area)
            return self.commit(token, root, tag)


def _file(path: str, content: bytes = b"new", **more: object) -> Change:
    def change(tx: Transaction, staging: Staging) -> None:
        stored = staging.write_object([content])
        tx.add_file(path, stored, 0o644, 1_795_000_000, **more)  # type: ignore[arg-type]  # mtime_ns, xattrs

    return change


def _read(bench: GatewayBench, path: str) -> bytes:
    with bench.reader().snapshot() as snapshot:
        return b"".join(snapshot.read_file(path))


def test_publishers_on_disjoint_paths_build_on_an_old_revision(bench: GatewayBench) -> None:
    one, two = Publisher(bench), Publisher(bench)
    first, second = one.lease("sub/one"), two.lease("sub/two")
    with one.made(_file("/sub/one", b"1")) as (area, root), two.made(_file("/sub/two/x", b"2")) as (other, its_root):
        one.send(first, area)
        two.send(second, other)
        assert one.commit(first, root) == 3
        assert two.commit(second, its_root, "v1") == 4
    assert (_read(bench, "/sub/one"), _read(bench, "/sub/two/x")) == (b"1", b"2")
    assert _read(bench, "/own/file") == b"of the bucket"
    tag = bench.reader().history().tag("v1")
    assert tag is not None
    assert tag.revision == 4
    assert bench.gateway.leases() == {}


def test_what_the_bucket_publishes_meanwhile_stays(bench: GatewayBench) -> None:
    publisher = Publisher(bench)
    with bench.repository.transaction() as tx:
        tx.add_bytes("/own/other", b"from the bucket", xattrs={KEPT: b"1 etag"})
    assert publisher.publish(_file("/sub/one")) == 4
    assert _read(bench, "/own/other") == b"from the bucket"


def test_a_commit_between_merge_and_commit_is_merged_too(bench: GatewayBench) -> None:
    publisher = Publisher(bench)
    once = [True]

    def somebody_else() -> None:
        if once:
            once.clear()
            with bench.repository.transaction() as tx:
                tx.add_bytes("/faster", b"1")

    bench.door.before = somebody_else
    assert publisher.publish(_file("/sub/one")) == 4
    assert len(bench.door.requests) == 2
    assert (_read(bench, "/faster"), _read(bench, "/sub/one")) == (b"1", b"new")


def test_both_changed_the_same_path(bench: GatewayBench) -> None:
    publisher = Publisher(bench)
    with bench.repository.transaction() as tx:
        tx.add_bytes("/sub/one", b"theirs")
    with pytest.raises(GatewayError, match="merge_error: /sub/one is a conflict"):
        publisher.publish(_file("/sub/one"))
    assert _read(bench, "/sub/one") == b"theirs"
    assert len(bench.gateway.leases()) == 1  # as with the official one: the publisher gives it back


@pytest.mark.parametrize(
    "change",
    [
        _file("/own/file", b"mine"),
        lambda tx, _staging: tx.remove("/own/file"),
        lambda tx, _staging: tx.remove("/own"),
        lambda tx, _staging: tx.rename("/own", "/elsewhere"),
        lambda tx, _staging: tx.set_xattrs("/own/file", {}),
    ],
    ids=["write", "remove", "remove above", "rename above", "attributes"],
)
def test_what_comes_from_the_bucket_is_not_the_publishers(bench: GatewayBench, change: Change) -> None:
    with pytest.raises(GatewayError, match="it comes from the bucket"):
        Publisher(bench).publish(change)
    assert _read(bench, "/own/file") == b"of the bucket"


def test_nothing_is_said_to_come_from_the_bucket(bench: GatewayBench) -> None:
    Publisher(bench).publish(_file("/sub/mine", xattrs={KEPT: b"1 forged", b"user.kept": b"x"}))
    with bench.reader().snapshot() as snapshot:
        xattrs = snapshot.lookup("/sub/mine").xattrs
    assert xattrs == {PUBLISHER_XATTR: _KEY.key_id.encode(), b"user.kept": b"x"}


def test_a_file_beside_those_of_the_bucket(bench: GatewayBench) -> None:
    with bench.repository.transaction() as tx:
        tx.add_directory("/own", xattrs={KEPT: b"1 folder"})
    publisher = Publisher(bench)

    def change(tx: Transaction, staging: Staging) -> None:
        _file("/own/mine")(tx, staging)
        tx.add_directory("/own", mtime=1_795_000_001)  # what a publisher's file system does, without attributes

    publisher.publish(change)
    with bench.reader().snapshot() as snapshot:
        folder = snapshot.lookup("/own")
    assert (folder.xattrs, folder.mtime) == ({KEPT: b"1 folder"}, 1_795_000_001)


def test_an_archive_of_the_bucket_is_not_the_publishers_with_all_that_is_in_it(bench: GatewayBench) -> None:
    with bench.repository.transaction() as tx:
        tx.add_directory("/own/unpacked", xattrs={KEPT: b"1 etag 1795000000 .tar"})
        tx.add_bytes("/own/unpacked/deep/member", b"m")
    for path in ("/own/unpacked/more", "/own/unpacked/deep/member"):
        with pytest.raises(GatewayError, match="part of an archive"):
            Publisher(bench).publish(_file(path), path="own/unpacked")
        bench.gateway.drop_below(f"{REPOSITORY}/")


def test_directories_that_were_there_stay_whose_they_are(bench: GatewayBench) -> None:
    def change(tx: Transaction, staging: Staging) -> None:
        _file("/sub/new/x")(tx, staging)
        tx.add_directory("/sub", mtime=5)

    Publisher(bench).publish(change)
    with bench.reader().snapshot() as snapshot:
        assert snapshot.lookup("/sub").xattrs == {}
        assert snapshot.lookup("/sub").mtime == 5
        assert snapshot.lookup("/sub/new").xattrs == {PUBLISHER_XATTR: _KEY.key_id.encode()}


def test_changes_outside_of_the_leased_path_are_not_made(bench: GatewayBench) -> None:
    def change(tx: Transaction, staging: Staging) -> None:
        _file("/sub/one/in")(tx, staging) if tx.lookup("/sub/one") is None else _file("/sub/two")(tx, staging)
        _file("/out")(tx, staging)

    Publisher(bench).publish(change, path="sub")
    assert _read(bench, "/sub/two") == b"new"
    with pytest.raises(PathError):
        _read(bench, "/out")


def test_set_id_bits_are_refused_by_the_same_checks(bench: GatewayBench) -> None:
    def change(tx: Transaction, staging: Staging) -> None:
        _file("/sub/tool")(tx, staging)
        entry = tx.lookup("/sub/tool")
        assert entry is not None
        tx.editor.put(replace(entry, mode=entry.mode | 0o4000))

    with pytest.raises(GatewayError, match=r"merge_error: .*set-id"):
        Publisher(bench).publish(change)


def test_quotas_are_those_of_the_repository(bench: GatewayBench) -> None:
    bench.door.limits = Limits(max_entries=3)
    with pytest.raises(GatewayError, match="quota"):
        Publisher(bench).publish(_file("/sub/more"))


def test_owners_become_root(bench: GatewayBench) -> None:
    def change(tx: Transaction, staging: Staging) -> None:
        _file("/sub/mine")(tx, staging)
        entry = tx.lookup("/sub/mine")
        assert entry is not None
        tx.editor.put(replace(entry, uid=1000, gid=1000))

    Publisher(bench).publish(change)
    with bench.reader().snapshot() as snapshot:
        entry = snapshot.lookup("/sub/mine")
    assert (entry.uid, entry.gid) == (0, 0)


def test_an_object_that_was_not_sent(bench: GatewayBench) -> None:
    publisher = Publisher(bench)
    token = publisher.lease()
    with publisher.made(_file("/sub/x")) as (area, root):
        for path in area.directory.iterdir():
            if not path.name.endswith("C"):
                path.unlink()
        publisher.send(token, area)
        with pytest.raises((GatewayError, GatewayUnavailable)):
            publisher.commit(token, root)
    assert bench.reader().manifest().revision == 2


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_catalog_that_is_none(bench: GatewayBench, content: bytes) -> None:
    publisher = Publisher(bench)
    token = publisher.lease()
    stored = compress(content)
    item = PackedObject(hash_bytes(stored), ObjectKind.CATALOG, len(stored))
    publisher.send_pack(token, pack_header([item]), stored)
    with pytest.raises(GatewayError, match="merge_error"):
        publisher.commit(token, item.hash)
    assert bench.reader().manifest().revision == 2


def test_nothing_to_change_makes_no_revision(bench: GatewayBench) -> None:
    publisher = Publisher(bench)
    assert publisher.commit(publisher.lease(), publisher.base.root_hash) == 2
    assert bench.door.requests == []


def test_a_gateway_that_starts_again_knows_no_lease_and_did_half_of_nothing(bench: GatewayBench) -> None:
    publisher = Publisher(bench)
    token = publisher.lease()
    with publisher.made(_file("/sub/x")) as (area, root):
        publisher.send(token, area)
        bench.gateway = bench.start()
        with pytest.raises(LeaseLost):
            publisher.commit(token, root)
        assert bench.reader().manifest().revision == 2
        token = publisher.lease()
        publisher.send(token, area)
        assert publisher.commit(token, root) == 3


def test_a_lost_answer_of_stratum_0_is_looked_up(bench: GatewayBench) -> None:
    commit = bench.door.commit

    def lost(request: object) -> None:
        commit(request)  # type: ignore[arg-type]
        raise ServiceUnavailable("no answer")

    bench.door.commit = lost  # type: ignore[method-assign, assignment]
    assert Publisher(bench).publish(_file("/sub/x")) == 3


def test_stratum_0_away(bench: GatewayBench) -> None:
    def away(_request: object) -> None:
        raise ServiceUnavailable("the broker is away")

    bench.door.commit = away  # type: ignore[method-assign, assignment]
    with pytest.raises(GatewayUnavailable, match="miscellaneous: the broker is away"):
        Publisher(bench).publish(_file("/sub/x"))
    assert len(bench.gateway.leases()) == 1


def test_no_more_than_allowed_is_taken(bench: GatewayBench) -> None:
    bench.lease_bytes = 10
    bench.gateway = bench.start()
    with pytest.raises(GatewayError, match="more than 10 bytes"):
        Publisher(bench).publish(_file("/sub/x"))


def test_a_key_for_a_part_of_the_repository(bench: GatewayBench) -> None:
    publisher = Publisher(bench, _SUB)
    assert publisher.publish(_file("/sub/mine"), path="sub") == 3
    for path in ("", "subway", "own"):
        with pytest.raises(GatewayRefused, match="invalid_path"):
            publisher.lease(path)
    token = Publisher(bench).lease("own")
    with pytest.raises(GatewayRefused, match="invalid_path"):  # a lease of somebody else, found somehow
        publisher.commit(token, publisher.base.root_hash)


@pytest.mark.parametrize("path", ["../x", "a//b", "a/../b", "./a", "a/", "a\0b", "x" * 300])
def test_paths_that_are_none(bench: GatewayBench, path: str) -> None:
    body = json.dumps({"path": f"{REPOSITORY}/{path}", "api_version": "2"}).encode()
    with pytest.raises(GatewayRefused, match="path_violation"):
        bench.gateway.acquire(authorization(_KEY, body), body, "")


def test_leases_end() -> None:
    clock = Clock(NOW)
    book = LeaseBook(timedelta(seconds=60), clock)
    first = book.take("a.example.org", "x", "key", "host")
    with pytest.raises(LeaseBusy) as caught:
        book.take("a.example.org", "x/y", "key", "host")
    assert caught.value.seconds == 60
    assert book.take("b.example.org", "x", "key", "host") is not first
    clock.tick(61)
    with pytest.raises(LeaseLost):
        book.find(first.token)
    assert book.any_of(first.token) is first
    book.take("a.example.org", "x", "key", "host")
    with pytest.raises(LeaseLost):
        book.any_of(first.token)


def test_a_lease_does_not_end_while_it_is_committed() -> None:
    clock = Clock(NOW)
    book = LeaseBook(timedelta(seconds=60), clock)
    lease = book.take("a.example.org", "x", "key", "host")
    lease.committing = True
    clock.tick(61)
    assert book.find(lease.token) is lease
    with pytest.raises(LeaseBusy):
        book.take("a.example.org", "", "key", "host")
    book.drop_below("a.example.org", "")
    assert book.valid() == [lease]
