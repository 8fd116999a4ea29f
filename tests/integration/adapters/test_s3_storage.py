"""Repositories in a bucket of the real object store, published by the services as ``wiring`` builds them."""

import io
import os
import tarfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import urllib3
from botocore.exceptions import ClientError

from softman import wiring
from softman.adapters.s3_client import S3Access, s3_client
from softman.adapters.s3_objects import S3Objects
from softman.adapters.s3_store import S3Store
from softman.adapters.vault_layout import Role
from softman.cvmfs.areas import staged_name
from softman.cvmfs.errors import HashMismatch, ObjectMissing, StoreError, StoreUnavailable
from softman.cvmfs.format.entry import Compression
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.keys import RepositoryKeys, generate_gateway_key, generate_keys
from softman.cvmfs.gc import Retention, Turns
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.base import StagedStore
from softman.cvmfs.transaction import Transaction
from softman.errors import ServiceUnavailable
from softman.model import Part
from softman.names import RepositoryName
from softman.settings import Settings, load_settings
from softman.standalone.stack import Stack
from softman.storage import open_store, storage_objects
from tests.support.bucket_storage import BucketStorage
from tests.support.patience import patient_clients
from tests.support.world import Clock, World

NAME = "test.example.org"
MIB = 1024 * 1024


@dataclass
class BucketWorld(World):
    """A world whose repositories lie in a bucket."""

    settings: Settings | None = None

    def repository(self, name: RepositoryName, keys: RepositoryKeys) -> Repository:
        return wiring._repository(self.chosen, name, keys)

    def staging(self, name: RepositoryName) -> Staging:
        return wiring._staging(self.chosen, name)

    def reader(self, name: RepositoryName, public_keys: tuple[bytes, ...] = ()) -> RepositoryReader:
        return wiring.reader_with(self.chosen, name, public_keys or (self.material["publicKey"].encode(),))

    def store(self, name: RepositoryName) -> StagedStore:
        return open_store(self.chosen, self.chosen.cvmfs.storage, str(name), Role.STRATUM0)

    @property
    def chosen(self) -> Settings:
        assert self.settings is not None
        return self.settings


def settings_for(storage: BucketStorage, state: Path) -> Settings:
    def credential(access: S3Access) -> dict[str, str]:
        return {"access_key": access.access_key, "secret_key": access.secret_key}

    return load_settings(
        state_dir=state,
        cvmfs={
            "storage": f"s3://{storage.place.bucket}/{storage.place.prefix}",
            "url": storage.url,
            "s3": {
                "endpoint": storage.stratum0.endpoint,
                "stratum0": credential(storage.stratum0),
                "publisher": credential(storage.publisher),
                "public": "acl" if storage.public_by_acl else "policy",
            },
        },
    )


@pytest.fixture(scope="module")
def material() -> dict[str, str]:
    keys = generate_keys("alice.example.org", datetime.now(UTC))
    return {
        "masterKey": keys.master_key.decode(),
        "publicKey": keys.public_key.decode(),
        "privateKey": keys.private_key.decode(),
        "certificate": keys.certificate.decode(),
        "gatewayKey": generate_gateway_key().to_text(),
    }


@pytest.fixture(params=["acl", "policy"])
def storage(request: pytest.FixtureRequest, stack: Stack, unique: str) -> BucketStorage:
    return BucketStorage.prepare(stack, unique, by_acl=request.param == "acl")


@pytest.fixture
def world(storage: BucketStorage, tmp_path: Path, material: dict[str, str]) -> Iterator[BucketWorld]:
    yield BucketWorld(tmp_path, material, Clock(datetime.now(UTC)), settings=settings_for(storage, tmp_path))
    storage_objects.cache_clear()


def test_a_bucket_is_published_to_a_bucket_and_read_by_everybody(world: BucketWorld, storage: BucketStorage) -> None:
    name = world.provision()
    big = os.urandom(30 * MIB)
    world.buckets.put(name.bucket, "cvmfs/small", b"small")
    world.buckets.put(name.bucket, "cvmfs/folder/empty", b"")
    world.buckets.put(name.bucket, "cvmfs/big", big)
    world.sync(name)
    shown = world.shown(name)
    assert {path: content for path, content in shown.items() if content is not None} == {
        "/small": b"small",
        "/folder/empty": b"",
        "/big": big,
    }
    world.buckets.delete(name.bucket, "cvmfs/big")
    world.buckets.put(name.bucket, "cvmfs/small", b"changed")
    world.sync(name, "cvmfs/big", "cvmfs/small")
    assert world.shown(name)["/small"] == b"changed"
    assert "/big" not in world.shown(name)
    assert world.reader(name).manifest().revision == 3
    staged = storage.objects(storage.stratum0).listing(storage.place.root(str(name)) + "data/txn/")
    assert list(staged) == []
    _check_web_view(storage, str(name))


def _check_web_view(storage: BucketStorage, repository: str) -> None:
    """Headers as the stock tools set them; no listing, nothing staged."""
    store = storage.store(repository, Path("unused"))
    staging = Staging(store.new_area())
    staged = staging.write_object([b"secret"])
    http = urllib3.PoolManager()
    seen = {}
    for path in (".cvmfspublished", ".cvmfswhitelist", ".cvmfsreflog", *list(store.names("data/"))[:3]):
        answer = http.request("GET", f"{storage.url}/{repository}/{path}")
        assert answer.status == 200
        headers = (answer.headers["Content-Type"], answer.headers["Cache-Control"])
        seen[path[:5]] = headers
        assert "Content-Encoding" not in answer.headers
    assert seen == {
        ".cvmf": ("application/x-cvmfs", "max-age=61"),
        "data/": ("application/octet-stream", "max-age=259200"),
    }
    hidden = f"{storage.url}/{repository}/data/txn/{staging.transaction}/{staged_name(staged.hash, ObjectKind.FILE)}"
    bucket = f"{storage.stratum0.endpoint}/{storage.place.bucket}"
    assert [http.request("GET", url).status for url in (hidden, bucket)] == [403, 403]
    staging.discard()


def test_publishers_write_nowhere_else(storage: BucketStorage, tmp_path: Path) -> None:
    store, theirs = storage.store(NAME, tmp_path / "lock"), storage.publisher_store(NAME)
    name = hash_bytes(b"x").object_path(ObjectKind.FILE)
    store.put(".cvmfspublished", b"manifest")
    store.put(name, b"x")
    staging = _stage(theirs, b"y")
    for forgery in (".cvmfspublished", name):
        with pytest.raises(StoreError, match="refuses the credential"):
            theirs.put(forgery, b"forged")
    with pytest.raises(StoreError, match="refuses the credential"):
        theirs.delete(name)
    with pytest.raises(StoreError, match="refuses the credential"):
        theirs.promote_staged(staging.transaction, [(hash_bytes(b"y"), ObjectKind.FILE)])
    with pytest.raises(StoreError, match="no lock file"):
        theirs.lock(NAME)
    assert {name: store.get(name, max_size=100) for name in store.names()} == {
        ".cvmfspublished": b"manifest",
        name: b"x",
    }
    assert theirs.get(name, max_size=10) == b"x"
    assert not theirs.exists(hash_bytes(b"other").object_path(ObjectKind.FILE))


def _stage(store: S3Store, content: bytes) -> Staging:
    staging = Staging(store.new_area())
    staging.write_object([content], compression=Compression.NONE)
    return staging


class _Deaf(S3Objects):
    """An object store that does not know RGW's way to say a condition, nor heeds the usual one."""

    def copy(self, source: str, etag: str, key: str) -> None:
        self._client.meta.events.register_last("before-call.s3.CopyObject", _without_condition)
        super().copy(source, etag, key)


def _without_condition(params: dict[str, dict[str, str]], **_: object) -> None:
    for header in [name for name in params["headers"] if name.lower().endswith("if-match")]:
        del params["headers"][header]


class _Treacherous(S3Objects):
    """Stratum 0's objects, where the publisher exchanges a staged one between its hashing and its copying."""

    publisher: S3Objects

    def copy(self, source: str, etag: str, key: str) -> None:
        self.publisher.put(source, b"exchanged", "data/")
        super().copy(source, etag, key)


class _TreacherousAndDeaf(_Treacherous, _Deaf):
    """Both."""


@pytest.mark.parametrize(("kind", "size"), [(_Treacherous, 4), (_Treacherous, 17 * MIB), (_TreacherousAndDeaf, 4)])
def test_only_what_was_hashed_is_copied(storage: BucketStorage, kind: type[_Treacherous], size: int) -> None:
    content = bytes(size)
    staging = _stage(storage.publisher_store(NAME), content)
    objects = kind(storage.stratum0, storage.place.bucket, public=False)
    objects.publisher = storage.objects(storage.publisher)
    store = S3Store(objects, storage.place.root(NAME))
    with pytest.raises(HashMismatch, match="exchanged") as caught:
        store.promote_staged(staging.transaction, [(hash_bytes(content), ObjectKind.FILE)])
    assert list(store.names()) == []
    assert caught.value.__cause__ is not None
    assert isinstance(caught.value.__cause__.__cause__, ClientError) is (kind is _Treacherous)  # the store noticed


def test_a_promoted_object_takes_no_header_from_its_publisher(storage: BucketStorage) -> None:
    content = hash_bytes(b"good")
    store = storage.store(NAME, Path("unused"))
    staging = _stage(storage.publisher_store(NAME), b"good")
    key = storage.place.root(NAME) + f"data/txn/{staging.transaction}/{content}"
    s3_client(storage.publisher).put_object(
        Bucket=storage.place.bucket, Key=key, Body=b"good", ContentEncoding="gzip", Metadata={"x": "y"}
    )
    store.promote_staged(staging.transaction, [(content, ObjectKind.FILE)])
    answer = urllib3.request(
        "GET", f"{storage.url}/{NAME}/{content.object_path(ObjectKind.FILE)}", decode_content=False
    )
    assert answer.data == b"good"
    assert not {"content-encoding", "x-amz-meta-x"} & {name.lower() for name in answer.headers}


def test_uploads_that_never_ended_are_forgotten(storage: BucketStorage) -> None:
    client, bucket = s3_client(storage.publisher), storage.place.bucket
    store = storage.store(NAME, Path("unused"))
    area = storage.publisher_store(NAME).new_area()
    key = storage.place.root(NAME) + f"data/txn/{area.transaction}/{hash_bytes(b'x')}"
    upload = client.create_multipart_upload(Bucket=bucket, Key=key)
    client.upload_part(Bucket=bucket, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=bytes(5 * MIB))
    store.sweep_staged(time.time() - 3600)
    assert s3_client(storage.stratum0).list_multipart_uploads(Bucket=bucket).get("Uploads")
    assert store.sweep_staged(time.time() + 60) == 1
    assert not s3_client(storage.stratum0).list_multipart_uploads(Bucket=bucket).get("Uploads")


def test_listings_go_over_many_pages(storage: BucketStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    store = storage.store(NAME, Path("unused"))
    names = sorted(hash_bytes(b"%d" % i).object_path(ObjectKind.FILE) for i in range(7))
    for name in names:
        store.put(name, b"x")
    objects = storage.objects(storage.stratum0)
    whole = objects._client.get_paginator

    class Paginator:
        def __init__(self, operation: str) -> None:
            self._of = whole(operation)  # type: ignore[call-overload]

        def paginate(self, **arguments: object) -> object:
            return self._of.paginate(**arguments, PaginationConfig={"PageSize": 3})

    monkeypatch.setattr(objects._client, "get_paginator", Paginator)
    assert list(S3Store(objects, storage.place.root(NAME)).names()) == names


def test_what_is_wrong_is_said(storage: BucketStorage) -> None:
    name = hash_bytes(b"x").object_path(ObjectKind.FILE)
    access = storage.stratum0
    wrong_key = S3Access(access.endpoint, access.access_key, "wrong")
    nobody = S3Access("http://127.0.0.1:9", "a", "b")
    lost = S3Store(S3Objects(access, "there-is-no-such-bucket", public=False), "x/")
    with pytest.raises(StoreError, match="bucket does not exist") as missing:
        lost.get(name, max_size=10)
    assert not isinstance(missing.value, ObjectMissing)
    with pytest.raises(StoreError, match="refuses the credential") as refused:
        S3Store(storage.objects(wrong_key), "x/").get(name, max_size=10)
    assert not isinstance(refused.value, StoreUnavailable | ObjectMissing)
    with patient_clients(attempts=1), pytest.raises(StoreUnavailable, match="does not answer"):
        S3Store(storage.objects(nobody), "x/").put(name, b"x")


def test_a_crash_before_the_manifest_leaves_the_old_revision(
    world: BucketWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = world.provision()
    world.buckets.put(name.bucket, "cvmfs/a", b"a")
    world.sync(name)
    world.buckets.put(name.bucket, "cvmfs/b", b"b")
    put = S3Store.put

    def crash(store: S3Store, file: str, data: bytes, *, durable: bool = False) -> None:
        if file == ".cvmfspublished":
            raise StoreUnavailable("the power goes")
        put(store, file, data, durable=durable)

    with monkeypatch.context() as patched:
        patched.setattr(S3Store, "put", crash)
        with pytest.raises(ServiceUnavailable, match="the power goes"):
            world.sync(name, "cvmfs/b")
    assert [path for path, content in world.shown(name).items() if content is not None] == ["/a"]
    world.sync(name)
    assert [path for path, content in world.shown(name).items() if content is not None] == ["/a", "/b"]


def test_stratum0_sweeps_what_was_forgotten(world: BucketWorld, storage: BucketStorage) -> None:
    name = world.provision()
    wiring._staging(world.chosen, name).write_object([b"forgotten"])
    assert world.stratum0.sweep_staging() == 0
    assert world.repository(name, _keys(world)).sweep_staging(timedelta(hours=-1)) == 1
    assert list(storage.objects(storage.stratum0).listing(storage.place.root(str(name)) + "data/txn/")) == []


def test_garbage_is_collected_but_not_what_a_running_transaction_may_count_on(
    world: BucketWorld, storage: BucketStorage
) -> None:
    name = world.provision()
    for content in (b"first", b"second"):
        world.buckets.put(name.bucket, "cvmfs/file", content)
        world.sync(name, "cvmfs/file")
    store = storage.store(str(name), Path("unused"))
    before = set(store.names())
    running = wiring._staging(world.chosen, name)
    repository = world.repository(name, _keys(world))
    orphan = running.write_object([b"orphan"])
    store.promote_staged(running.transaction, [(orphan.hash, ObjectKind.FILE)])
    repository.collect_garbage(Retention(age=None), unreferenced=True)
    assert store.is_stored(orphan.hash, ObjectKind.FILE)
    running.discard()
    repository.collect_garbage(Retention(age=None), unreferenced=True)
    assert not store.is_stored(orphan.hash, ObjectKind.FILE)
    assert set(store.names()) < before
    assert world.shown(name)["/file"] == b"second"


def test_upkeep_of_a_bucket(world: BucketWorld) -> None:
    """Damaged and missing objects are found and repaired, garbage goes in turns, an archive holds everything."""
    name = world.provision()
    for path in ("damaged", "missing", "sound"):
        world.buckets.put(name.bucket, f"cvmfs/{path}", path.encode())
    world.sync(name)
    store = world.store(name)
    with world.reader(name).snapshot() as snapshot:
        objects = {path: snapshot.lookup(path) for path in (b"/damaged", b"/missing")}
    paths = [entry.hash.object_path(ObjectKind.FILE) for entry in objects.values() if entry and entry.hash]
    store.put(paths[0], b"decayed")
    store.delete(paths[1])
    found = world.upkeep.check(name, lambda: False)
    assert {fault.path for fault in found.faults} == {"/damaged", "/missing"}
    for key in found.keys:
        world.publisher.sync_part(name, Part(key, verify=True))
    assert len(world.upkeep.check_share(name, lambda: False).repaired) == 2
    for number in range(2):
        world.buckets.put(name.bucket, "cvmfs/sound", b"%d" % number)
        world.sync(name)
    retention, turns = Retention(age=None), Turns(0.0, lambda: True)
    done = world.repository(name, _keys(world)).collect_garbage(retention, turns=turns)
    assert done.complete
    assert done.objects >= 1
    assert world.upkeep.check(name, lambda: False).faults == ()
    archive = io.BytesIO()
    world.porter.export(name, archive, keys=True, progress=lambda _more: None)
    world.lifecycle.retire(name, keep_content=False)
    world.clock.tick(31 * 86400)
    assert world.retirements.drop(name, lambda: False)
    assert list(store.names()) == []
    with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as members:
        assert {member.name.removeprefix("storage/") for member in members} > set(paths)


class _Dying(S3Store):
    """A store whose stratum 0 dies at the n-th write."""

    left = 0

    def _step(self) -> None:
        if self.left == 0:
            raise _Death
        self.left -= 1

    def put(self, name: str, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
        self._step()
        super().put(name, data, durable=durable)

    def _promote(self, area: str, content: ContentHash, kind: ObjectKind, etag: str) -> None:
        self._step()
        super()._promote(area, content, kind, etag)


class _Death(Exception):
    """The process is gone."""


def test_dying_at_any_write_leaves_a_whole_revision(world: BucketWorld, storage: BucketStorage, tmp_path: Path) -> None:
    name = world.provision()
    world.buckets.put(name.bucket, "cvmfs/a", b"a")
    world.sync(name)
    objects, root = storage.objects(storage.stratum0), storage.place.root(str(name))
    for steps in range(20):
        dying = _Dying(objects, root, lock_path=tmp_path / "lock")
        dying.left = steps
        broken = Repository(dying, str(name), _keys(world), now=lambda: datetime.now(UTC))
        added, base = f"/{steps}", world.shown(name)
        staging = wiring._staging(world.chosen, name)
        with (
            world.reader(name).snapshot() as snapshot,
            Transaction(snapshot, staging, now=lambda: datetime.now(UTC)) as tx,
        ):
            tx.add_file(added, staging.write_object([added.encode()]), 0o644, 1)
            candidate = tx.seal()
        assert candidate is not None
        commit = partial(
            Repository.commit,
            candidate=candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=staging.transaction,
        )
        try:
            commit(broken)
        except _Death:
            assert world.shown(name) == base
            commit(world.repository(name, _keys(world)))
            assert world.shown(name) == base | {added: added.encode()}
            continue
        assert world.shown(name) == base | {added: added.encode()}
        assert steps >= 4
        return
    pytest.fail("never came to an end")


def _keys(world: World) -> RepositoryKeys:
    names = ("masterKey", "publicKey", "privateKey", "certificate")
    return RepositoryKeys(*(world.material[name].encode() for name in names))
