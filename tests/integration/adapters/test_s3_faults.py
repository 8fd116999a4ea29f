"""The S3 adapters against a server on loopback that misbehaves as stores and proxies do."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import ATTEMPTS, S3Access
from softman.adapters.s3_connector import S3Connector, Topic
from softman.errors import Conflict, NotFound, ServiceUnavailable
from tests.support.serving import serving

ONE_KEY = (
    b"<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated><Contents><Key>cvmfs%2Fa</Key>"
    b"<LastModified>2026-01-02T03:04:05.678Z</LastModified><ETag>e</ETag><Size>1</Size></Contents></ListBucketResult>"
)
Answer = tuple[int, bytes, dict[str, str]]
SLOW_DOWN: Answer = (503, b"<Error><Code>SlowDown</Code></Error>", {})
HEADERS = {"ETag": '"e"', "Last-Modified": "Fri, 02 Jan 2026 03:04:05 GMT"}


@dataclass
class Script:
    """What the server answers, one after the other, the last again and again; a length that is too long cuts off."""

    answers: list[Answer] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def access(self) -> S3Access:
        return S3Access(self.url, "key", "secret")


@pytest.fixture
def script() -> Iterator[Script]:
    script = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            script.asked.append(f"{self.command} {self.path}")
            status, body, headers = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.close_connection = True

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815 - names of the standard library

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with serving(Handler) as script.url:
        yield script


def test_what_passes_is_tried_again(script: Script) -> None:
    script.answers = [SLOW_DOWN, (500, b"", {}), (200, ONE_KEY, {})]
    assert [each.key for each in S3Buckets(script.access()).list_objects("alice", "cvmfs/")] == ["cvmfs/a"]
    assert len(script.asked) == 3


def test_tries_are_bounded(script: Script) -> None:
    script.answers = [SLOW_DOWN]
    reader = S3Buckets(script.access())
    with pytest.raises(ServiceUnavailable):
        list(reader.list_objects("alice", "cvmfs/"))
    assert len(script.asked) == ATTEMPTS
    with pytest.raises(ServiceUnavailable):
        reader.head("alice", "cvmfs/a")
    assert len(script.asked) == 2 * ATTEMPTS


def test_what_does_not_pass_is_not_tried_again(script: Script) -> None:
    script.answers = [(404, b"<Error><Code>NoSuchBucket</Code></Error>", {})]
    with pytest.raises(NotFound):
        list(S3Buckets(script.access()).list_objects("alice", "cvmfs/"))
    assert len(script.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>404 Not Found</html>"])
def test_a_proxys_404_deletes_no_file(script: Script, body: bytes) -> None:
    script.answers = [(404, body, {"Content-Type": "text/html"})]
    reader = S3Buckets(script.access())
    with pytest.raises(ServiceUnavailable):
        reader.head("alice", "cvmfs/a")
    with pytest.raises(ServiceUnavailable), reader.read("alice", "cvmfs/a"):
        pass


def test_a_proxys_200_is_no_empty_bucket(script: Script) -> None:
    script.answers = [(200, b"<html><body>maintenance</body></html>", {"Content-Type": "text/html"})]
    with pytest.raises(ServiceUnavailable):
        list(S3Buckets(script.access()).list_objects("alice", "cvmfs/"))


def test_a_listing_that_breaks_off_is_an_error(script: Script) -> None:
    script.answers = [(200, ONE_KEY[:100], {"Content-Length": str(len(ONE_KEY))})]
    with pytest.raises(ServiceUnavailable):
        list(S3Buckets(script.access()).list_objects("alice", "cvmfs/"))


def cut(body: bytes, length: int) -> Answer:
    return 200, body, {"Content-Length": str(length), **HEADERS}


def test_a_body_that_breaks_off_is_read_again(script: Script) -> None:
    script.answers = [cut(b"half", 8), cut(b"complete", 8)]
    with S3Buckets(script.access()).read("alice", "cvmfs/a") as body:
        assert body is not None
        assert body.info.size == 8
        assert b"".join(body.chunks()) == b"complete"


def test_a_body_that_always_breaks_off_is_an_error(script: Script) -> None:
    script.answers = [cut(b"half", 8)]
    with pytest.raises(ServiceUnavailable), S3Buckets(script.access()).read("alice", "cvmfs/a"):
        pass
    assert len(script.asked) == ATTEMPTS


def test_a_range_that_breaks_off_is_read_again(script: Script) -> None:
    script.answers = [cut(b"12345678", 8), cut(b"5", 4), SLOW_DOWN, cut(b"5678", 4)]
    with S3Buckets(script.access(), part=4).read("alice", "cvmfs/a") as body:
        assert body is not None
        assert b"".join(body.chunks()) == b"12345678"


def test_a_range_of_another_version_is_never_taken(script: Script) -> None:
    """A cache on the way may not know the condition that we set."""
    script.answers = [cut(b"12345678", 8), (206, b"abcd", {**HEADERS, "ETag": '"f"'})]
    with S3Buckets(script.access(), part=4).read("alice", "cvmfs/a") as body:
        assert body is not None
        with pytest.raises(Conflict):
            list(body.chunks())


def test_a_connector_that_cannot_ask_makes_nothing(script: Script) -> None:
    """A store that does not know the bucket, and then does not say whether it knows the owner."""
    script.answers = [(404, b"<Error><Code>NoSuchBucket</Code></Error>", {}), SLOW_DOWN]
    with pytest.raises(ServiceUnavailable):
        S3Connector(script.access(), Topic("softman", "amqp://127.0.0.1")).ensure_bucket("alice", "alice")
    assert not [each for each in script.asked if not each.startswith("GET ")]


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("body", [b"<AccessControlPolicy><Owner>", b"<html><br>not now</html>", b"maintenance"])
def test_a_connector_takes_no_nonsense_for_an_answer(script: Script, status: int, body: bytes) -> None:
    """Pages of a proxy, or of a gateway that is about to end: that passes, and is no defect of ours."""
    script.answers = [(status, body, {})]
    connector = S3Connector(script.access(), Topic("softman", "amqp://127.0.0.1"))
    with pytest.raises(ServiceUnavailable):
        connector.ensure_bucket("alice", "alice")
    with pytest.raises(ServiceUnavailable):
        connector.ensure_notification("alice")
    assert not [each for each in script.asked if each.startswith(("PUT ", "DELETE "))]
