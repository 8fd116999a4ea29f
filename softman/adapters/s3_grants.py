"""What an administrator does once on Ceph RGW, so that the publishers' credential reads every bucket and does no more.

The credential belongs to an ordinary user with an identity policy, never to a system user: RGW (seen on 16.2.15) lets
a system user act as anybody (``rgwx-uid``), and read and make users with their secrets (``/admin/user``). An op-mask of
``read`` stops neither.
"""

import json
from html import unescape
from http import HTTPStatus

from botocore.exceptions import ClientError

from softman.adapters.errormap import translated
from softman.adapters.s3_client import S3_TABLE, S3Access, code_of, status_of
from softman.adapters.s3_http import SignedHttp
from softman.errors import InvalidInput

POLICY_NAME = "softman-read"
ROLE_NAME = "softman-reader"
READING = ("s3:GetObject", "s3:ListBucket", "s3:GetBucketAcl")
"""All that ``S3Buckets`` needs; the ACL names the owner."""


def _policy(statement: dict[str, object]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


_READING_POLICY = _policy({"Effect": "Allow", "Action": list(READING), "Resource": ["*"]})


def allow_reading(admin: S3Access, uid: str) -> None:
    """Let the user ``uid`` read all buckets of the tenant, whatever their own policies leave out; may be repeated.

    Args:
        admin: a system user, such as the connector's.
        uid: an ordinary user, best made with ``--op-mask=read`` so that it cannot own buckets either.

    Raises:
        NotFound: there is no such user.
        Forbidden: ``admin`` may not do this.
    """
    request = {"Action": "PutUserPolicy", "UserName": uid, "PolicyName": POLICY_NAME, "PolicyDocument": _READING_POLICY}
    with translated(S3_TABLE, f"let the user {uid} of the object store read"):
        SignedHttp(admin).request("POST", "/", request)


def allow_sessions(admin: S3Access, uid: str, role: str = ROLE_NAME) -> str:
    """Let the user ``uid`` read in sessions of a role only, made when it is not there; may be repeated.

    A policy that ``allow_reading`` gave the user is taken away.

    Args:
        admin: a system user, such as the connector's.
        uid: an ordinary user, best made with ``--op-mask=read``.
        role: its name.

    Returns:
        The role's ARN, for the setting ``s3.reader_role_arn``.

    Raises:
        Forbidden: ``admin`` may not do this.
        InvalidInput: the role is there, and another user may assume it.
    """
    http = SignedHttp(admin)
    with translated(S3_TABLE, f"let the user {uid} of the object store read in sessions of the role {role}"):
        _ensure_role(http, uid, role)
        request = {"Action": "PutRolePolicy", "RoleName": role, "PolicyName": POLICY_NAME}
        http.request("POST", "/", {**request, "PolicyDocument": _READING_POLICY})
        try:
            http.request("POST", "/", {"Action": "DeleteUserPolicy", "UserName": uid, "PolicyName": POLICY_NAME})
        except ClientError as exc:
            if status_of(exc) != HTTPStatus.NOT_FOUND:
                raise
    return f"arn:aws:iam:::role/{role}"


def _ensure_role(http: SignedHttp, uid: str, role: str) -> None:
    user = f"arn:aws:iam:::user/{uid}"
    trust = _policy({"Effect": "Allow", "Principal": {"AWS": [user]}, "Action": ["sts:AssumeRole"]})
    request = {"Action": "CreateRole", "RoleName": role, "Path": "/", "AssumeRolePolicyDocument": trust}
    try:
        http.request("POST", "/", request)
    except ClientError as exc:
        if code_of(exc) != "EntityAlreadyExists":
            raise
        # Its trust is not changed: UpdateAssumeRolePolicy makes RGW 16.2.15 crash.
        found = http.request("POST", "/", {"Action": "GetRole", "RoleName": role}).decode()
        if json.dumps(user) not in unescape(found):
            msg = f"the role {role} is there and trusts somebody else than {uid}; choose another name, or delete it"
            raise InvalidInput(msg) from exc
