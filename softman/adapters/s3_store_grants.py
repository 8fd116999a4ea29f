"""What an administrator does once for a bucket that holds repositories: a policy for publishers and for readers.

Publishers must not be able to write where clients read (decision 2): their credential may write below
``<repository>/data/txn/`` only. They may list the bucket, since without that right the object store answers 403 where
404 is meant. Readers need no credential and cannot list.
"""

import json
from collections.abc import Sequence
from typing import Any

from softman.adapters.errormap import translated
from softman.adapters.s3_client import S3_TABLE, S3Access, s3_client
from softman.adapters.s3_store import S3Place
from softman.cvmfs.areas import STAGING_DIRECTORY

_WRITING = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts")


def storage_policy(place: S3Place, stratum0: str, publisher: str, *, public: bool) -> dict[str, Any]:
    """The policy of a bucket that holds repositories.

    Args:
        place: the bucket, and the prefix below which the repositories lie.
        stratum0: the uid of stratum 0's user, who owns the bucket, but not what publishers write there.
        publisher: the uid of the publishers' user.
        public: let everybody read; else objects have an ACL each (``cvmfs.s3.public``).
    """
    bucket = f"arn:aws:s3:::{place.bucket}"
    files = f"{bucket}/{place.root('*')}"
    statements = [
        _allow(stratum0, ["s3:*"], bucket, f"{files}*"),
        _allow(publisher, ["s3:ListBucket"], bucket),
        _allow(publisher, ["s3:GetObject"], f"{files}*"),
        _allow(publisher, _WRITING, f"{files}{STAGING_DIRECTORY}/*"),
    ]
    if public:
        statements.append(_allow(None, ["s3:GetObject"], f"{files}.cvmfs*", f"{files}data/??/*"))
    return {"Version": "2012-10-17", "Statement": statements}


def share_storage(owner: S3Access, place: S3Place, stratum0: str, publisher: str, *, public: bool) -> None:
    """Make the bucket if it does not exist, and give it ``storage_policy``; may be repeated.

    Args:
        owner: stratum 0's credential.
        place: see ``storage_policy``.
        stratum0: its uid.
        publisher: the publishers' uid.
        public: see ``storage_policy``.

    Raises:
        Forbidden: the bucket is somebody else's.
    """
    client = s3_client(owner)
    with translated(S3_TABLE, f"prepare the bucket {place.bucket} for repositories"):
        client.create_bucket(Bucket=place.bucket)
        policy = json.dumps(storage_policy(place, stratum0, publisher, public=public), separators=(",", ":"))
        client.put_bucket_policy(Bucket=place.bucket, Policy=policy)


def _allow(uid: str | None, actions: Sequence[str], *resources: str) -> dict[str, Any]:
    principal = "*" if uid is None else f"arn:aws:iam:::user/{uid}"
    return {"Effect": "Allow", "Principal": {"AWS": [principal]}, "Action": list(actions), "Resource": list(resources)}
