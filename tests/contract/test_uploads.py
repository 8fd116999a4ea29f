"""What ``UploadStore`` promises, held by Ceph RGW and in memory; and what the dashboard's user cannot do."""

import itertools
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ClientError

from softman.adapters.memory import MemoryBuckets
from softman.adapters.memory_uploads import MemoryUploads
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import S3Access, s3_client
from softman.adapters.s3_connector import S3Connector, Topic
from softman.adapters.s3_http import pause
from softman.adapters.s3_upload_grants import OWNER_KEEPS_CONTROL, UploadGrant
from softman.adapters.s3_uploads import S3Uploads
from softman.adapters.upload_ports import SignedRequest, UploadStore
from softman.errors import InvalidInput, NotFound
from softman.standalone.rgw import UPLOADER
from softman.standalone.stack import Stack

ORIGIN = "https://softman.example.org"
ATTEMPTS = 30
PART = 5 * 1024**2
KEY = "cvmfs/a b/ü+%.bin"


def access_of(stack: Stack, user: str) -> S3Access:
    keys = stack.s3_credentials(user)
    return S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)


def put(request: SignedRequest, body: bytes, **headers: str) -> int:
    """What a browser does; the status. Tried again when the connection breaks: RGW crashes now and then."""
    asked = urllib.request.Request(request.url, body, {**request.headers, **headers}, method="PUT")  # noqa: S310 - http
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for attempt in itertools.count(1):
        try:
            with opener.open(asked, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as exc:
            return exc.code
        except OSError:
            if attempt == ATTEMPTS:
                raise
        time.sleep(pause(attempt))
    raise AssertionError


@pytest.fixture
def bucket(stack: Stack, unique: str) -> str:
    """Alice's bucket, into which the dashboard may put."""
    connector = S3Connector(
        access_of(stack, "connector"), Topic("softman", stack.push_endpoint), uploads=UploadGrant(UPLOADER, ORIGIN)
    )
    connector.ensure_bucket(unique, "alice")
    connector.ensure_uploads(unique)
    return unique


@pytest.fixture
def rgw(stack: Stack) -> S3Uploads:
    return S3Uploads(access_of(stack, "uploader"), stack.s3_endpoint)


@dataclass
class World:
    store: UploadStore
    bucket: str
    receive: Callable[[str, int, bytes], object]
    """What a browser does with a part: upload, number, content."""
    read: Callable[[], tuple[bytes, dict[str, str], str]]
    """Content, metadata and ETag of the object ``KEY``, as publishers see it."""


@pytest.fixture(params=["memory", pytest.param("rgw", marks=pytest.mark.stack)])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        buckets = MemoryBuckets(create_missing_users=True)
        buckets.ensure_bucket("alice", "alice")
        store = MemoryUploads(buckets)
        return World(store, "alice", store.receive, lambda: _read(buckets, "alice"))
    bucket: str = request.getfixturevalue("bucket")
    rgw: S3Uploads = request.getfixturevalue("rgw")
    reader = S3Buckets(access_of(request.getfixturevalue("stack"), "reader"))

    def receive(upload: str, number: int, content: bytes) -> None:
        assert put(rgw.sign_part(bucket, KEY, upload, number, len(content)), content) == 200

    return World(rgw, bucket, receive, lambda: _read(reader, bucket))


def _read(reader: Any, bucket: str) -> tuple[bytes, dict[str, str], str]:
    with reader.read(bucket, KEY) as body:
        assert body is not None
        return b"".join(body.chunks()), body.info.metadata, body.info.etag


def test_an_upload_in_parts_is_read_by_publishers(world: World) -> None:
    upload = world.store.begin(world.bucket, KEY, {"mtime": "1700000000.500"})
    assert world.store.parts(world.bucket, KEY, upload) == {}
    world.receive(upload, 2, b"end")
    world.receive(upload, 1, b"x" * PART)
    parts = world.store.parts(world.bucket, KEY, upload)
    assert {number: part.size for number, part in parts.items()} == {1: PART, 2: 3}
    etag = world.store.complete(world.bucket, KEY, upload, parts)
    assert world.read() == (b"x" * PART + b"end", {"mtime": "1700000000.500"}, etag)


def test_an_upload_that_is_gone_or_of_another_key_is_not_found(world: World) -> None:
    upload = world.store.begin(world.bucket, KEY, {})
    with pytest.raises(NotFound):
        world.store.parts(world.bucket, "cvmfs/other", upload)
    world.store.abort(world.bucket, KEY, upload)
    for ask in (world.store.parts, world.store.abort):
        with pytest.raises(NotFound):
            ask(world.bucket, KEY, upload)


def test_an_upload_without_parts_is_not_completed(world: World) -> None:
    upload = world.store.begin(world.bucket, KEY, {})
    with pytest.raises(InvalidInput):
        world.store.complete(world.bucket, KEY, upload, {})


@pytest.mark.stack
def test_a_signed_put_allows_just_that(stack: Stack, rgw: S3Uploads, bucket: str) -> None:
    request = rgw.sign_put(bucket, KEY, 5, {"mtime": "1700000000.500"})
    assert put(request, b"six by") == 403
    assert put(SignedRequest(request.url, {}), b"hello") == 403
    assert put(request, b"hello", **{"x-amz-meta-mtime": "1"}) == 403
    assert put(SignedRequest(request.url.replace(".bin", ".exe"), request.headers), b"hello") == 403
    assert put(SignedRequest(request.url.replace("Expires=900", "Expires=901"), request.headers), b"hello") == 403
    assert put(request, b"hello", Origin=ORIGIN) == 200
    alice = s3_client(access_of(stack, "alice"))
    assert alice.get_object(Bucket=bucket, Key=KEY)["Body"].read() == b"hello"
    alice.copy_object(Bucket=bucket, Key="cvmfs/copy", CopySource={"Bucket": bucket, "Key": KEY})
    alice.delete_object(Bucket=bucket, Key=KEY)


@pytest.mark.stack
@pytest.mark.parametrize(
    ("origin", "method", "status"), [(ORIGIN, "PUT", 200), ("https://x.org", "PUT", 403), (ORIGIN, "GET", 403)]
)
def test_browsers_may_put_from_the_dashboards_pages_only(
    rgw: S3Uploads, bucket: str, origin: str, method: str, status: int
) -> None:
    headers = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": "x-amz-acl"}
    asked = urllib.request.Request(rgw.sign_put(bucket, KEY, 1, {}).url, headers=headers, method="OPTIONS")  # noqa: S310 - http
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Refusals)
    with opener.open(asked, timeout=30) as answer:
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == (origin if status == 200 else None)


class _Refusals(urllib.request.HTTPErrorProcessor):
    """Gives answers that are errors like any other."""

    def http_response(self, _request: Any, response: Any) -> Any:
        return response


TRIED: dict[str, Callable[[Any, str], object]] = {
    "read what it wrote for somebody": lambda s3, b: s3.get_object(Bucket=b, Key="cvmfs/alices"),
    "list": lambda s3, b: s3.list_objects_v2(Bucket=b),
    "list uploads": lambda s3, b: s3.list_multipart_uploads(Bucket=b),
    "delete": lambda s3, b: s3.delete_object(Bucket=b, Key="cvmfs/alices"),
    "copy, and so read": lambda s3, b: s3.copy_object(
        Bucket=b, Key="cvmfs/c", CopySource=f"{b}/private/alices", ACL=OWNER_KEEPS_CONTROL
    ),
    "read the ACL": lambda s3, b: s3.get_object_acl(Bucket=b, Key="cvmfs/alices"),
    "write the ACL of the owner's": lambda s3, b: s3.put_object_acl(Bucket=b, Key="cvmfs/alices", ACL="public-read"),
    "read the policy": lambda s3, b: s3.get_bucket_policy(Bucket=b),
    "widen the policy": lambda s3, b: s3.put_bucket_policy(Bucket=b, Policy="{}"),
    "write CORS rules": lambda s3, b: s3.delete_bucket_cors(Bucket=b),
    "begin an upload beside the area": lambda s3, b: s3.create_multipart_upload(Bucket=b, Key="private/x"),
    "begin an upload in a bucket that is not connected": lambda s3, b: s3.create_multipart_upload(
        Bucket=f"{b}-own", Key="cvmfs/x"
    ),
    "make a bucket": lambda s3, b: s3.create_bucket(Bucket=f"{b}-new"),
}


@pytest.mark.stack
def test_the_credential_puts_below_the_area_of_connected_buckets_and_nothing_else(stack: Stack, bucket: str) -> None:
    alice, stolen = s3_client(access_of(stack, "alice")), s3_client(access_of(stack, "uploader"))
    alice.create_bucket(Bucket=f"{bucket}-own")
    for key in ("cvmfs/alices", "private/alices"):
        alice.put_object(Bucket=bucket, Key=key, Body=b"hers")
    for what, attempt in TRIED.items():
        with pytest.raises(ClientError) as refused:
            attempt(stolen, bucket)
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403, what
    stolen.put_object(Bucket=bucket, Key="cvmfs/by-it", Body=b"x", ACL=OWNER_KEEPS_CONTROL)
    assert [item["Key"] for item in alice.list_objects_v2(Bucket=bucket)["Contents"]] == [
        "cvmfs/alices",
        "cvmfs/by-it",
        "private/alices",
    ]


@pytest.mark.stack
def test_an_owner_who_denies_it_is_obeyed(stack: Stack, rgw: S3Uploads, bucket: str) -> None:
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject"],
        "Resource": [f"arn:aws:s3:::{bucket}/cvmfs/mine/*"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    s3_client(access_of(stack, "alice")).put_bucket_policy(Bucket=bucket, Policy=policy)
    connector = S3Connector(
        access_of(stack, "connector"), Topic("softman", stack.push_endpoint), uploads=UploadGrant(UPLOADER, ORIGIN)
    )
    assert connector.ensure_uploads(bucket) is True
    assert put(rgw.sign_put(bucket, "cvmfs/mine/x", 1, {}), b"x") == 403
    assert put(rgw.sign_put(bucket, "cvmfs/x", 1, {}), b"x") == 200
