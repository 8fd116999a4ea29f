"""Our signatures are those of botocore."""

from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from softman.adapters.s3_client import S3Access
from softman.adapters.s3_signing import Signer

KEYS = (
    "plain",
    "a b",
    "a+b%25",
    "\xfcn\xefc\xf6d\xe9-\u65e5\u672c",
    "../up",
    "a//b",
    "~tilde!*'();:@&=$,?#[]",
    "new\nline",
    "folder/",
)


def botocore_headers(access: S3Access, path: str) -> dict[str, str]:
    request = AWSRequest(method="GET", url=access.endpoint + path)
    S3SigV4Auth(access.keys(), "s3", access.region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:7480", "http://store.example.org:80", "https://store.example.org", "http://[::1]:99"]
)
def test_signatures_equal_those_of_botocore(endpoint: str) -> None:
    access = S3Access(endpoint, "access", "secret", "a-region")
    for key in KEYS:
        path = quote(f"/bucket/{key}", safe="/~")
        theirs = botocore_headers(access, path)
        then = datetime.strptime(theirs["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        ours = dict(line.split(": ", 1) for line in Signer(access, then.timestamp).headers(path))
        host = ours.pop("Host")
        assert endpoint.partition("://")[2].removesuffix(":80") == host
        assert {name.lower(): value for name, value in ours.items()} == theirs


def test_the_key_follows_the_day() -> None:
    now = 1_700_000_000.0
    signer = Signer(S3Access("http://h", "access", "secret"), lambda: now)
    first = signer.headers("/a")
    now += 86_400
    second = signer.headers("/a")
    now -= 86_400
    assert signer.headers("/a") == first != second


class Renewed(Credentials):
    """A session whose credentials change."""

    def renew(self, access_key: str, secret_key: str, token: str) -> None:
        self.access_key, self.secret_key, self.token = access_key, secret_key, token


def test_the_token_of_a_session_is_signed_and_renewed_keys_are_used() -> None:
    session = Renewed("first", "secret", "token=")
    access = S3Access("http://127.0.0.1:7480", "", "", "a-region", session)
    times: list[float] = []
    signer = Signer(access, lambda: times[-1])
    for new in (("first", "secret", "token="), ("second", "other", "another")):
        session.renew(*new)
        theirs = botocore_headers(access, "/a/b")
        times.append(datetime.strptime(theirs["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp())
        ours = dict(line.split(": ", 1) for line in signer.headers("/a/b"))
        del ours["Host"]
        assert {name.lower(): value for name, value in ours.items()} == theirs
        assert theirs["x-amz-security-token"] == new[2]
