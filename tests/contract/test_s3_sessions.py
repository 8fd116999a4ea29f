"""Sessions of a role on the real object gateway: what each may read, that none may write, and how one ends."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.credentials import Credentials
from pydantic import SecretStr

from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import S3Access, s3_client
from softman.adapters.s3_grants import allow_sessions
from softman.adapters.s3_sessions import S3SessionBuckets, session_policy
from softman.errors import Forbidden, InvalidInput, SoftmanError
from softman.settings import S3Credential, S3Settings, Settings
from softman.standalone.process import wait_until
from softman.standalone.stack import Stack
from softman.wiring import _buckets

pytestmark = pytest.mark.stack

Call = Callable[[S3Buckets, Any, str], object]


def access_of(stack: Stack, user: str) -> S3Access:
    keys = stack.s3_credentials(user)
    return S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)


@pytest.fixture(scope="module")
def role(request: pytest.FixtureRequest) -> tuple[str, S3Access]:
    """A role, and the only user who may assume it."""
    stack: Stack = request.getfixturevalue("stack")
    arn, keys = stack.rgw.make_session_role("sessions")
    return arn, S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)


@pytest.fixture
def buckets(stack: Stack, unique: str) -> str:
    """Alice's bucket; bob has one whose name is two characters longer, and wrote an object into hers."""
    alice, bob = s3_client(access_of(stack, "alice")), s3_client(access_of(stack, "bob"))
    for client, bucket in ((alice, unique), (bob, f"{unique}-b")):
        client.create_bucket(Bucket=bucket)
        for key in ("cvmfs/a", "cvmfsx", "other/a"):
            client.put_object(Bucket=bucket, Key=key, Body=b"content")
    alice.put_bucket_acl(Bucket=unique, GrantWrite="id=bob", GrantFullControl="id=alice")
    bob.put_object(Bucket=unique, Key="cvmfs/from-bob", Body=b"content")
    return unique


def session(role: tuple[str, S3Access], bucket: str, seconds: int = 900) -> S3Access:
    """The object store with a session's credentials as a thief would have them: they do not renew themselves."""
    arn, access = role
    given = S3SessionBuckets(access, arn, seconds=seconds)._assume(bucket)
    return replace(access, session=Credentials(given["access_key"], given["secret_key"], given["token"]))


def test_a_session_reads_the_published_area_whoever_wrote_it(role: tuple[str, S3Access], buckets: str) -> None:
    arn, access = role
    reader = S3SessionBuckets(access, arn)
    assert reader.owner(buckets) == "alice"
    assert [found.key for found in reader.list_objects(buckets, "cvmfs/")] == ["cvmfs/a", "cvmfs/from-bob"]
    for key in ("cvmfs/a", "cvmfs/from-bob"):
        with reader.read(buckets, key) as body:
            assert body is not None
            assert b"".join(body.chunks()) == b"content"


REFUSED: dict[str, Call] = {
    "an object outside of the prefix": lambda reader, _, bucket: reader.head(bucket, "other/a"),
    "one that begins almost so": lambda reader, _, bucket: reader.head(bucket, "cvmfsx"),
    "all small ones": lambda reader, _, bucket: list(reader.list_objects(bucket, "")),
    "a listing outside of the prefix": lambda reader, _, bucket: list(reader.list_objects(bucket, "other/")),
    "another bucket's object": lambda reader, _, bucket: reader.head(f"{bucket}-b", "cvmfs/a"),
    "another bucket's listing": lambda reader, _, bucket: list(reader.list_objects(f"{bucket}-b", "cvmfs/")),
    "another bucket's owner": lambda reader, _, bucket: reader.owner(f"{bucket}-b"),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED)
def test_it_reads_nothing_else(role: tuple[str, S3Access], buckets: str, call: Call) -> None:
    with pytest.raises(Forbidden):
        call(S3Buckets(session(role, buckets)), None, buckets)


WRITES: dict[str, Call] = {
    "put": lambda _, client, bucket: client.put_object(Bucket=bucket, Key="cvmfs/a", Body=b"bad"),
    "delete": lambda _, client, bucket: client.delete_object(Bucket=bucket, Key="cvmfs/a"),
    "copy": lambda _, client, bucket: client.copy_object(Bucket=bucket, Key="cvmfs/b", CopySource=f"{bucket}/cvmfs/a"),
    "make a bucket": lambda _, client, bucket: client.create_bucket(Bucket=f"{bucket}-c"),
    "remove it": lambda _, client, bucket: client.delete_bucket(Bucket=bucket),
    "let others in": lambda _, client, bucket: client.put_bucket_acl(Bucket=bucket, ACL="public-read-write"),
    "list buckets": lambda _, client, bucket: client.list_buckets(),  # noqa: ARG005 - as the others
}


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_it_writes_nothing(role: tuple[str, S3Access], buckets: str, call: Call) -> None:
    client = s3_client(session(role, buckets))
    with pytest.raises(client.exceptions.ClientError, match=r"AccessDenied|MethodNotAllowed"):
        call(S3Buckets(session(role, buckets)), client, buckets)


def test_without_a_session_the_credential_reads_nothing(role: tuple[str, S3Access], buckets: str) -> None:
    reader = S3Buckets(role[1])
    for call in (lambda: reader.owner(buckets), lambda: list(reader.list_objects(buckets, "cvmfs/"))):
        with pytest.raises(Forbidden):
            call()


def test_nobody_else_assumes_the_role(stack: Stack, role: tuple[str, S3Access], buckets: str) -> None:
    with pytest.raises(Forbidden, match="begin a session"):
        S3SessionBuckets(access_of(stack, "bob"), role[0]).owner(buckets)
    with pytest.raises(Forbidden, match=r"no role .*s3\.reader_role_arn"):
        S3SessionBuckets(role[1], f"{role[0]}-more").owner(buckets)


def test_a_session_policy_never_widens(
    role: tuple[str, S3Access], buckets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}
    wide = {**session_policy(buckets), "Statement": [everything]}
    monkeypatch.setattr("softman.adapters.s3_sessions.session_policy", lambda _: wide)
    client = s3_client(session(role, buckets))
    assert client.get_bucket_acl(Bucket=f"{buckets}-b")["Owner"]["ID"] == "bob"
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.put_object(Bucket=buckets, Key="cvmfs/a", Body=b"bad")


def test_a_session_ends_and_ours_are_renewed_before(role: tuple[str, S3Access], buckets: str) -> None:
    arn, access = role
    reader, stolen = S3SessionBuckets(access, arn, seconds=8), S3Buckets(session(role, buckets, seconds=8))
    assert stolen.owner(buckets) == reader.owner(buckets) == "alice"
    first = keys_of(reader, buckets)
    refused: list[str] = []

    def over() -> bool:
        assert reader.owner(buckets) == "alice"
        try:
            stolen.owner(buckets)
        except Forbidden as exc:
            refused.append(str(exc))
        return bool(refused)

    wait_until(over, "the stolen session is refused", seconds=120)
    assert keys_of(reader, buckets) != first


def keys_of(reader: S3SessionBuckets, bucket: str) -> object:
    return reader._of(bucket)._http._access.keys()


def test_the_settings_choose_sessions_of_an_hour(role: tuple[str, S3Access], buckets: str) -> None:
    arn, access = role
    reader = S3Credential(access_key=access.access_key, secret_key=SecretStr(access.secret_key))
    chosen = Settings(s3=S3Settings(endpoint=access.endpoint, reader=reader, reader_role_arn=arn))
    assert _buckets(chosen).owner(buckets) == "alice"
    given = S3SessionBuckets.from_settings(chosen.s3, threads=1)._assume(buckets)
    assert datetime.fromisoformat(given["expiry_time"]) > datetime.now(UTC) + timedelta(minutes=50)


def test_a_role_of_somebody_else_is_left_alone(stack: Stack, unique: str) -> None:
    admin = stack.rgw.create_user(f"{unique}-adm", "--system", "--caps=roles=*")
    access = S3Access(stack.s3_endpoint, admin.access_key, admin.secret_key)
    for _ in range(2):
        assert allow_sessions(access, "alice", unique) == f"arn:aws:iam:::role/{unique}"
    with pytest.raises(InvalidInput, match="trusts somebody else than bob"):
        allow_sessions(access, "bob", unique)
    with pytest.raises(Forbidden):
        allow_sessions(access_of(stack, "alice"), "alice", unique)
    with suppress(SoftmanError):
        stack.rgw.admin("role", "rm", f"--role-name={unique}")
