"""What ``BucketReader`` promises, held by Ceph RGW and by the memory version alike."""

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import md5
from typing import TYPE_CHECKING, Protocol

import pytest
from botocore.exceptions import ClientError

from softman.adapters.memory import MemoryBuckets
from softman.adapters.ports import SMALL, BucketReader
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import S3Access, s3_client
from softman.adapters.s3_grants import allow_reading
from softman.adapters.s3_http import SignedHttp
from softman.adapters.s3_sessions import S3SessionBuckets
from softman.errors import Conflict, Forbidden, NotFound, ServiceUnavailable
from softman.model import BucketObject
from softman.standalone.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

ODD_KEYS = (
    "cvmfs/",
    "cvmfs/ leading and trailing ",
    "cvmfs/../dotdot",
    "cvmfs/./x",
    "cvmfs//double",
    "cvmfs/100%",
    "cvmfs/100%25.txt",
    "cvmfs/<xml>&amp;",
    "cvmfs/a b.txt",
    "cvmfs/a-b",
    "cvmfs/a/",
    "cvmfs/a/b",
    "cvmfs/a:b*c|d",
    "cvmfs/c\x01d",
    "cvmfs/cr\r\nx",
    "cvmfs/d\x7fd",
    "cvmfs/e\u0301\xa0x",
    "cvmfs/new\nline",
    "cvmfs/plus+plus",
    "cvmfs/q\"'\\back",
    "cvmfs/tab\tx",
    "cvmfs/\x80\u2028\ufffe\uffff",
    "cvmfs/\ud7ff\ue000 around the surrogates",
    "cvmfs/\xfcn\xefc\xf6d\xe9-\u65e5\u672c-\U0001f600.txt",
    "cvmfs/" + "k" * 1018,
)
PAGE = 3
PART = 300_000
"""Bytes of a part: small, so that objects of some MB have many."""


class World(Protocol):
    """A bucket, its owner's hands, and the reader under test."""

    bucket: str
    owner: str
    reader: BucketReader

    def put(self, key: str, body: bytes = b"x", metadata: dict[str, str] | None = None) -> None: ...

    def delete(self, key: str) -> None: ...


class MemoryWorld:
    bucket = "alice"
    owner = "alice"

    def __init__(self) -> None:
        self._buckets = MemoryBuckets(users=("alice",), part=PART)
        self._buckets.ensure_bucket(self.bucket, self.owner)
        self.reader: BucketReader = self._buckets

    def put(self, key: str, body: bytes = b"x", metadata: dict[str, str] | None = None) -> None:
        self._buckets.put(self.bucket, key, body, metadata)

    def delete(self, key: str) -> None:
        self._buckets.delete(self.bucket, key)


def access_of(stack: Stack, user: str) -> S3Access:
    keys = stack.s3_credentials(user)
    return S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)


@pytest.fixture(scope="module")
def reader_access(request: pytest.FixtureRequest) -> S3Access:
    """A credential that may read every bucket and nothing else."""
    stack: Stack = request.getfixturevalue("stack")
    keys = stack.rgw.create_user("contract-reader", "--op-mask=read")
    allow_reading(access_of(stack, "connector"), "contract-reader")
    return S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)


@cache
def owner_client(access: S3Access) -> "S3Client":
    return s3_client(access)


class RgwWorld:
    owner = "alice"

    def __init__(self, stack: Stack, reader: S3Access, bucket: str) -> None:
        self.bucket = bucket
        self._client = owner_client(access_of(stack, self.owner))
        self._client.create_bucket(Bucket=bucket)
        self.reader: BucketReader = S3Buckets(reader, page=PAGE, part=PART)

    def put(self, key: str, body: bytes = b"x", metadata: dict[str, str] | None = None) -> None:
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body, Metadata=metadata or {})

    def delete(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=key)


@pytest.fixture
def rgw_world(stack: Stack, reader_access: S3Access, unique: str) -> RgwWorld:
    return RgwWorld(stack, reader_access, unique)


@pytest.fixture(scope="module")
def session_reader(request: pytest.FixtureRequest) -> S3SessionBuckets:
    """What reads each bucket in sessions of its own."""
    stack: Stack = request.getfixturevalue("stack")
    role, keys = stack.rgw.make_session_role("contract-sessions")
    access = S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)
    return S3SessionBuckets(access, role, page=PAGE, part=PART)


@pytest.fixture
def session_world(rgw_world: RgwWorld, session_reader: S3SessionBuckets) -> RgwWorld:
    rgw_world.reader = session_reader
    return rgw_world


_REAL = [pytest.param(name, marks=pytest.mark.stack) for name in ("rgw_world", "session_world")]


@pytest.fixture(params=["memory", *_REAL])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        return MemoryWorld()
    real: RgwWorld = request.getfixturevalue(request.param)
    return real


def content(world: World, key: str) -> bytes | None:
    with world.reader.read(world.bucket, key) as body:
        return None if body is None else b"".join(body.chunks())


def test_owner_is_named(world: World) -> None:
    assert world.reader.owner(world.bucket) == world.owner


def test_listing_has_every_odd_key_over_many_pages_in_utf8_order(world: World) -> None:
    for key in ODD_KEYS:
        world.put(key)
    world.put("cvmf")
    world.put("other/x")
    listed = [each.key for each in world.reader.list_objects(world.bucket, "cvmfs/")]
    assert listed == sorted(ODD_KEYS, key=lambda key: key.encode())


def test_listing_head_and_read_agree(world: World) -> None:
    for key in ODD_KEYS:
        world.put(key, key.encode(), {"mode": "33188"})
    for each in world.reader.list_objects(world.bucket, "cvmfs/"):
        looked_up = world.reader.head(world.bucket, each.key)
        assert looked_up == BucketObject(each.key, each.size, each.etag, each.last_modified, {"mode": "33188"})
        assert each.metadata == {}
        assert each.last_modified == int(each.last_modified)
        assert each.etag == md5(each.key.encode(), usedforsecurity=False).hexdigest()
        with world.reader.read(world.bucket, each.key) as body:
            assert body is not None
            assert body.info == looked_up
            assert b"".join(body.chunks()) == each.key.encode()


def test_listing_of_nothing_is_empty(world: World) -> None:
    assert list(world.reader.list_objects(world.bucket, "cvmfs/")) == []


@pytest.mark.parametrize("count", [PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_listing_ends_at_any_place_of_a_page(world: World, count: int) -> None:
    keys = [f"cvmfs/{number}" for number in range(count)]
    for key in keys:
        world.put(key)
    assert [each.key for each in world.reader.list_objects(world.bucket, "cvmfs/")] == keys


def test_listing_may_be_left_early(world: World) -> None:
    for number in range(3 * PAGE):
        world.put(f"cvmfs/{number}")
    listing = world.reader.list_objects(world.bucket, "cvmfs/")
    assert next(listing).key == "cvmfs/0"
    del listing
    assert not [each for each in threading.enumerate() if each.name.startswith("listing")]


def test_what_vanishes_between_listing_and_look_up_is_none(world: World) -> None:
    world.put("cvmfs/a")
    (listed,) = world.reader.list_objects(world.bucket, "cvmfs/")
    world.delete("cvmfs/a")
    assert world.reader.head(world.bucket, listed.key) is None
    assert content(world, listed.key) is None


def test_metadata_names_are_lower_case(world: World) -> None:
    world.put("cvmfs/a", b"1", {"Mtime": "1700000000.5", "X-Y": "z"})
    found = world.reader.head(world.bucket, "cvmfs/a")
    assert found is not None
    assert found.metadata == {"mtime": "1700000000.5", "x-y": "z"}


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 5 * 1024 * 1024 + 1])
def test_content_comes_in_bounded_pieces(world: World, size: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    world.put("cvmfs/big", data[:size])
    with world.reader.read(world.bucket, "cvmfs/big") as body:
        assert body is not None
        pieces = list(body.chunks())
    assert all(0 < len(piece) <= 1024 * 1024 for piece in pieces)
    assert b"".join(pieces) == data[:size]


def test_reading_may_stop_in_the_middle(world: World) -> None:
    world.put("cvmfs/big", b"x" * (8 * 1024 * 1024))
    for _ in range(20):  # more often than there are connections
        with world.reader.read(world.bucket, "cvmfs/big") as body:
            assert body is not None
            next(iter(body.chunks()))
    assert content(world, "cvmfs/big") == b"x" * (8 * 1024 * 1024)
    assert not [each for each in threading.enumerate() if each.name.startswith("parts")]


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1, 1_500_001])
def test_a_large_object_comes_whole_and_in_order(world: World, size: int) -> None:
    data = b"".join(b"%08d" % number for number in range(size // 8 + 1))[:size]
    world.put("cvmfs/big", data)
    assert content(world, "cvmfs/big") == data


def test_a_small_object_is_read_at_once(world: World) -> None:
    world.put("cvmfs/a", b"old" * 10_000)
    with world.reader.read(world.bucket, "cvmfs/a") as body:
        assert body is not None
        pieces = body.chunks()
        start = next(pieces)
        world.put("cvmfs/a", b"new")
        assert start + b"".join(pieces) == b"old" * 10_000


def test_small_objects_come_together_and_the_others_are_left_out(world: World) -> None:
    content = {key: key.encode() * 3 for key in ODD_KEYS} | {"cvmfs/empty": b"", "cvmfs/full": bytes(SMALL)}
    for key, body in content.items():
        world.put(key, body, {"mode": "33188"})
    world.put("cvmfs/large", bytes(SMALL + 1))
    asked = ["cvmfs/large", *content, "cvmfs/missing"]
    for _ in range(2):  # the second time with connections that are there
        seen = {
            body.info.key: (body.info, b"".join(body.chunks())) for body in world.reader.read_small(world.bucket, asked)
        }
        assert {key: body for key, (_, body) in seen.items()} == content
        assert all(info == world.reader.head(world.bucket, key) for key, (info, _) in seen.items())
    assert not list(world.reader.read_small("nobodys", asked))
    for _ in world.reader.read_small(world.bucket, asked):
        break  # and may be left early


def test_a_large_object_that_changes_while_it_is_read_says_so(world: World) -> None:
    changes: list[Callable[[], None]] = [
        lambda: world.put("cvmfs/a", b"new" * 1_000_000),
        lambda: world.put("cvmfs/a", b"short"),
        lambda: world.delete("cvmfs/a"),
    ]
    for change in changes:
        world.put("cvmfs/a", b"old" * 1_000_000)
        with world.reader.read(world.bucket, "cvmfs/a") as body:
            assert body is not None
            pieces = body.chunks()
            change()
            with pytest.raises(Conflict):
                list(pieces)


def test_a_large_object_stored_again_as_it_was_may_be_read_on(world: World) -> None:
    world.put("cvmfs/a", b"old" * 1_000_000)
    with world.reader.read(world.bucket, "cvmfs/a") as body:
        assert body is not None
        pieces = body.chunks()
        world.put("cvmfs/a", b"old" * 1_000_000)
        assert b"".join(pieces) == b"old" * 1_000_000


def test_a_missing_bucket_is_not_an_empty_one(world: World) -> None:
    """Else a publisher with a wrong endpoint would empty every repository."""
    with pytest.raises(NotFound):
        world.reader.owner("no-such-bucket")
    with pytest.raises(NotFound):
        list(world.reader.list_objects("no-such-bucket", "cvmfs/"))
    with pytest.raises(NotFound):
        world.reader.head("no-such-bucket", "cvmfs/a")
    with pytest.raises(NotFound), world.reader.read("no-such-bucket", "cvmfs/a"):
        pass


def test_threads_may_share_the_reader(world: World) -> None:
    for number in range(40):
        world.put(f"cvmfs/{number}", str(number).encode())
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: content(world, f"cvmfs/{number % 40}"), range(200)))
    assert found == [str(number % 40).encode() for number in range(200)]


@pytest.mark.stack
@pytest.mark.parametrize(
    ("method", "what", "query"),
    [
        ("PUT", "/cvmfs/a", {}),
        ("PUT", "/cvmfs/a", {"rgwx-uid": "alice"}),
        ("DELETE", "/cvmfs/a", {}),
        ("DELETE", "", {}),
        ("PUT", "-more", {}),
        ("PUT", "-more", {"rgwx-uid": "alice"}),
        ("PUT", "", {"acl": ""}),
        ("DELETE", "", {"notification": ""}),
        ("DELETE", "", {"policy": ""}),
    ],
)
def test_the_reader_cannot_write(
    rgw_world: RgwWorld, reader_access: S3Access, method: str, what: str, query: dict[str, str]
) -> None:
    rgw_world.put("cvmfs/a", b"kept")
    with pytest.raises(ClientError, match=r"AccessDenied|MethodNotAllowed"):
        SignedHttp(reader_access).request(method, f"/{rgw_world.bucket}{what}", query)
    assert content(rgw_world, "cvmfs/a") == b"kept"


@pytest.mark.stack
@pytest.mark.parametrize("path", ["/admin/user", "/admin/bucket", "/admin/metadata/user"])
def test_the_reader_learns_nobodys_secrets(reader_access: S3Access, path: str) -> None:
    with pytest.raises(ClientError, match=r"AccessDenied"):
        SignedHttp(reader_access).request("GET", path, {"uid": "alice", "key": "alice"})


@pytest.mark.stack
def test_a_refused_credential_is_forbidden(stack: Stack, unique: str) -> None:
    RgwWorld(stack, access_of(stack, "alice"), unique)
    for access in (access_of(stack, "bob"), S3Access(stack.s3_endpoint, "nobody", "wrong")):
        reader = S3Buckets(access)
        with pytest.raises(Forbidden):
            reader.owner(unique)
        with pytest.raises(Forbidden):
            list(reader.list_objects(unique, "cvmfs/"))
        with pytest.raises(Forbidden):
            reader.head(unique, "cvmfs/a")
        with pytest.raises(Forbidden), reader.read(unique, "cvmfs/a"):
            pass


@pytest.mark.usefixtures("impatient_users")
def test_an_endpoint_that_does_not_answer_is_unavailable() -> None:
    reader = S3Buckets(S3Access("http://127.0.0.1:9", "key", "secret"))
    with pytest.raises(ServiceUnavailable):
        reader.head("alice", "cvmfs/a")
    with pytest.raises(ServiceUnavailable):
        list(reader.list_objects("alice", "cvmfs/"))
