"""What lets the dashboard's user put objects below ``cvmfs/`` of a bucket, beside whatever the owner allows. Pure.

A statement in the bucket's policy and a CORS rule, each with an id of ours: what has another id is the owner's and
stays as it is. Why it is done so, and what RGW makes of it, is in the ADR on uploads in the browser.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from softman.errors import InvalidInput
from softman.model import PUBLISHED_PREFIX

OURS: Final = "softman-upload"
"""The ``Sid`` of the statement and the ``ID`` of the rule."""
OWNER_KEEPS_CONTROL: Final = "bucket-owner-full-control"
"""The ACL of every upload: an object that lacks it could not be read by the bucket's owner."""
_ACTIONS = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")
_HEADERS = ("content-type", "x-amz-acl", "x-amz-meta-*")
_PREFLIGHT_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class UploadGrant:
    """Who may upload for the buckets' owners, and from where.

    Attributes:
        uid: the dashboard's user at the object store.
        origin: the dashboard as browsers see it, ``https://softman.example.org``.
    """

    uid: str
    origin: str


def merged_policy(present: str | None, bucket: str, grant: UploadGrant | None) -> str | None:
    """The policy that a bucket should have.

    Args:
        present: the one it has.
        bucket: its name.
        grant: what we want; None takes ours away.

    Returns:
        ``present`` itself where nothing is to be changed; None for no policy.

    Raises:
        InvalidInput: the present one cannot be read.
    """
    policy = _parsed(present)
    statements = policy.get("Statement", [])
    if not isinstance(statements, list):
        statements = [statements]
    others = [each for each in statements if not (isinstance(each, dict) and each.get("Sid") == OURS)]
    wanted = others if grant is None else [*others, _statement(bucket, grant)]
    if sorted(map(_canonical, wanted)) == sorted(map(_canonical, statements)):
        return present
    if not wanted:
        return None
    return json.dumps({"Version": "2012-10-17", **policy, "Statement": wanted}, separators=(",", ":"))


def merged_rules(present: Sequence[Any], grant: UploadGrant | None) -> list[Any]:
    """The CORS rules that a bucket should have; equal to the present ones where nothing is to be changed."""
    wanted = [] if grant is None else [_rule(grant)]
    ours = [each for each in present if each.get("ID") == OURS]
    if [_meaning(each) for each in ours] == [_meaning(each) for each in wanted]:
        return list(present)
    # Ours first: of several rules for one origin the first counts.
    return [*wanted, *(each for each in present if each.get("ID") != OURS)]


def _parsed(present: str | None) -> dict[str, Any]:
    try:
        policy = json.loads(present or "{}")
    except ValueError as exc:
        msg = "the bucket has a policy that is no JSON"
        raise InvalidInput(msg) from exc
    if not isinstance(policy, dict):
        msg = "the bucket has a policy that is no JSON object"
        raise InvalidInput(msg)
    return policy


def _statement(bucket: str, grant: UploadGrant) -> dict[str, Any]:
    return {
        "Sid": OURS,
        "Effect": "Allow",
        "Principal": {"AWS": [f"arn:aws:iam:::user/{grant.uid}"]},
        "Action": list(_ACTIONS),
        "Resource": [f"arn:aws:s3:::{bucket}/{PUBLISHED_PREFIX}*"],
    }


def _rule(grant: UploadGrant) -> dict[str, Any]:
    return {
        "ID": OURS,
        "AllowedOrigins": [grant.origin],
        "AllowedMethods": ["PUT"],
        "AllowedHeaders": list(_HEADERS),
        "ExposeHeaders": ["ETag"],
        "MaxAgeSeconds": _PREFLIGHT_SECONDS,
    }


def _meaning(rule: Any) -> str:
    return _canonical({name: sorted(value) if isinstance(value, list) else value for name, value in rule.items()})


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
