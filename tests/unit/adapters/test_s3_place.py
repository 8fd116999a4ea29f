"""Where repositories lie in an object store, and the policy of the bucket."""

from fnmatch import fnmatchcase
from typing import Any

import pytest

from softman.adapters.s3_store import S3Place
from softman.adapters.s3_store_grants import storage_policy
from softman.cvmfs.errors import FormatError

OBJECT = "data/ab/" + "c" * 38
STAGED = "data/txn/" + "0" * 32 + "/ab" + "c" * 38


@pytest.mark.parametrize(
    ("url", "place", "root"),
    [
        ("s3://bucket", S3Place("bucket"), "a.org/"),
        ("s3://bucket/", S3Place("bucket"), "a.org/"),
        ("s3://my.bucket/cvmfs/site_1/", S3Place("my.bucket", "cvmfs/site_1"), "cvmfs/site_1/a.org/"),
    ],
)
def test_a_place_has_an_address(url: str, place: S3Place, root: str) -> None:
    assert S3Place.parse(url) == place
    assert place.root("a.org") == root


@pytest.mark.parametrize(
    "url",
    [
        "",
        "s3:",
        "s3://",
        "s3:///x",
        "s3://UPPER",
        "s3://b",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://bucket/%2e%2e",
        "s3://bucket/a b",
        "s3://bucket/x?y",
        "s3://bucket/x#y",
        "s3://user:password@bucket/x",
        "https://bucket/x",
    ],
)
def test_anything_else_is_none(url: str) -> None:
    with pytest.raises(FormatError):
        S3Place.parse(url)


def allowed(policy: dict[str, Any], who: str, action: str, key: str) -> bool:
    """As the object store decides: a star stands for anything, a question mark for one character."""
    return any(
        any(fnmatchcase(who, principal) for principal in statement["Principal"]["AWS"])
        and any(fnmatchcase(action, pattern) for pattern in statement["Action"])
        and any(fnmatchcase(f"arn:aws:s3:::bucket{key}", pattern) for pattern in statement["Resource"])
        for statement in policy["Statement"]
    )


@pytest.mark.parametrize("prefix", ["", "cvmfs/site"])
@pytest.mark.parametrize("public", [True, False])
def test_the_policy_lets_each_side_do_what_it_must_and_no_more(prefix: str, *, public: bool) -> None:
    place = S3Place("bucket", prefix)
    policy = storage_policy(place, "zero", "publisher", public=public)
    root = "/" + place.root("a.example.org")
    zero, publisher, anybody = "arn:aws:iam:::user/zero", "arn:aws:iam:::user/publisher", "anybody"
    for name in (".cvmfspublished", OBJECT):
        assert allowed(policy, zero, "s3:PutObject", root + name)
        assert allowed(policy, publisher, "s3:GetObject", root + name)
        assert not allowed(policy, publisher, "s3:PutObject", root + name)
        assert not allowed(policy, publisher, "s3:DeleteObject", root + name)
        assert allowed(policy, anybody, "s3:GetObject", root + name) is public
        assert not allowed(policy, anybody, "s3:PutObject", root + name)
    for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
        assert allowed(policy, zero, action, root + STAGED)
        assert allowed(policy, publisher, action, root + STAGED)
        assert not allowed(policy, anybody, action, root + STAGED)
    assert allowed(policy, publisher, "s3:ListBucket", "")
    assert not allowed(policy, anybody, "s3:ListBucket", "")
    assert not allowed(policy, publisher, "s3:PutBucketPolicy", "")
