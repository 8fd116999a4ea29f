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
    S3SigV4Auth(Credentials(access.access_key, access.secret_key), "s3", access.region).add_auth(request)
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
