"""Pages of listings: what S3 stores really send, and what must never be taken for the end of a bucket."""

import pytest

from softman.adapters.s3_listing import Page, parse_page
from softman.errors import Corrupt, ServiceUnavailable
from softman.model import BucketObject

SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def row(key: str, *, modified: str = "2026-11-22T14:42:18.985Z", size: str = "1") -> str:
    return (
        f"<Contents><Key>{key}</Key><LastModified>{modified}</LastModified><ETag>&quot;e-1&quot;</ETag>"
        f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
    )


def page(*rows: str, more: str = "false", space: str = SPACE, encoding: str = "url", tail: str = "") -> bytes:
    kind = f"<EncodingType>{encoding}</EncodingType>" if encoding else ""
    text = f"<ListBucketResult{space}>{kind}<IsTruncated>{more}</IsTruncated>{''.join(rows)}{tail}</ListBucketResult>"
    return b'<?xml version="1.0" encoding="UTF-8"?>' + text.encode()


@pytest.mark.parametrize("space", [SPACE, ""])
def test_a_page_is_read(space: str) -> None:
    found = parse_page(page(row("cvmfs%2Fa"), row("cvmfs%2Fb"), more="true", space=space), "alice", "")
    a = BucketObject("cvmfs/a", 1, "e-1", 1795358538.0)
    assert found == Page([a, BucketObject("cvmfs/b", 1, "e-1", 1795358538.0)], "cvmfs/b", more=True)


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("a%20b", "a b"),
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("%0A", "\n"),
        ("%F0%9F%98%80", "\U0001f600"),
        ("%2541", "%41"),
    ],
)
def test_encoded_keys_are_decoded(written: str, key: str) -> None:
    assert parse_page(page(row(written)), "alice", "").last == key


def test_keys_of_a_store_that_does_not_encode_are_taken_as_they_are() -> None:
    assert parse_page(page(row("a+b%20&amp;"), encoding=""), "alice", "").last == "a+b%20&"


@pytest.mark.parametrize(
    "token", ["&#x01;", "&#x0B;", "&#x1F;", "\x01", "\ufffe", "\uffff", "&#xFFFF;", "&#x0;", "&#x00;"]
)
def test_the_raw_token_of_rgw_does_no_harm(token: str) -> None:
    tail = f"<NextContinuationToken>cvmfs/{token}</NextContinuationToken>"
    assert parse_page(page(row("cvmfs%2F%01"), more="true", tail=tail), "alice", "").last == "cvmfs/\x01"


@pytest.mark.parametrize("second", ["b", "a", "%EE%80%80"])
def test_keys_out_of_order_are_an_error(second: str) -> None:
    with pytest.raises(Corrupt, match="not in order"):
        parse_page(page(row("%F0%90%80%80" if second.startswith("%") else "b"), row(second)), "alice", "")


def test_a_page_that_does_not_go_on_after_the_last_is_an_error() -> None:
    with pytest.raises(Corrupt, match="not in order"):
        parse_page(page(row("a")), "alice", "a")


@pytest.mark.parametrize(
    "bad", [row("%FF"), row("a", size=""), row("a", size="x"), row("a", modified=""), row("a", modified="yesterday")]
)
def test_an_entry_that_cannot_be_read_is_an_error(bad: str) -> None:
    with pytest.raises(Corrupt, match="cannot be read"):
        parse_page(page(bad), "alice", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>hello</body></html>",
        b"<ListBucketResult",
        page(row("a"))[:-5],
        b"<Error><Code>InternalError</Code></Error>",
        page(more="true"),
    ],
)
def test_what_is_no_whole_page_is_not_the_end_of_the_bucket(body: bytes) -> None:
    with pytest.raises(ServiceUnavailable):
        parse_page(body, "alice", "")
