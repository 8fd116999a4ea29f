"""What an administrator does once on Ceph RGW, so that the publishers' credential reads every bucket and does no more.

The credential belongs to an ordinary user with an identity policy, never to a system user: RGW (seen on 16.2.15) lets
a system user act as anybody (``rgwx-uid``), and read and make users with their secrets (``/admin/user``). An op-mask of
``read`` stops neither.
"""

import json

from softman.adapters.errormap import translated
from softman.adapters.s3_client import S3_TABLE, S3Access
from softman.adapters.s3_http import SignedHttp

POLICY_NAME = "softman-read"
READING = ("s3:GetObject", "s3:ListBucket", "s3:GetBucketAcl")
"""All that ``S3Buckets`` needs; the ACL names the owner."""


def allow_reading(admin: S3Access, uid: str) -> None:
    """Let the user ``uid`` read all buckets of the tenant, whatever their own policies leave out; may be repeated.

    Args:
        admin: a system user, such as the connector's.
        uid: an ordinary user, best made with ``--op-mask=read`` so that it cannot own buckets either.

    Raises:
        NotFound: there is no such user.
        Forbidden: ``admin`` may not do this.
    """
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": list(READING), "Resource": ["*"]}],
    }
    request = {
        "Action": "PutUserPolicy",
        "UserName": uid,
        "PolicyName": POLICY_NAME,
        "PolicyDocument": json.dumps(policy, separators=(",", ":")),
    }
    with translated(S3_TABLE, f"let the user {uid} of the object store read"):
        SignedHttp(admin).request("POST", "/", request)
