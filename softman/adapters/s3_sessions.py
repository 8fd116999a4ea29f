"""Reading buckets in sessions: for each bucket a role is assumed, narrowed to its ``cvmfs/`` area (STS AssumeRole).

A session's keys, were they to leak, read one bucket's published area for an hour. Whoever has the publishers' own
credential can assume the role for any bucket: the narrowing keeps tenants apart within a publisher, it does not bind
one that is taken over (see ``docs/security.md``). Seen on Ceph RGW 16.2.15: a session policy narrows objects by their
prefix and listings by ``s3:prefix``, and never widens what the role may do.
"""

import json
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.credentials import RefreshableCredentials

from softman.adapters.errormap import translated
from softman.adapters.s3 import PAGE, PART, S3Body, S3Buckets, reader_access
from softman.adapters.s3_client import S3_TABLE, S3Access, client_config
from softman.errors import Forbidden, NotFound
from softman.model import PUBLISHED_PREFIX, BucketObject
from softman.settings import S3Settings

_BUCKETS = 256
"""Buckets whose sessions, with their connections, a process keeps."""
_ADVISED, _DUE = 0.25, 0.1
"""Parts of a session's time that are left when it is renewed by one thread, and when all wait for that."""


class S3SessionBuckets:
    """``BucketReader`` on an object store with STS. Threads may share it.

    Args:
        access: the object store and a credential that may assume the role.
        role: its ARN.
        seconds: how long a session lasts.
        threads: as for ``S3Buckets``.
        page: likewise.
        part: likewise.
    """

    def __init__(
        self, access: S3Access, role: str, *, seconds: int = 3600, threads: int = 8, page: int = PAGE, part: int = PART
    ) -> None:
        self._access = access
        self._role = role
        self._seconds = seconds
        self._threads = threads
        self._page = page
        self._part = part
        self._sts: Any = boto3.session.Session().client(
            "sts",
            endpoint_url=access.endpoint,
            region_name=access.region,
            aws_access_key_id=access.access_key,
            aws_secret_access_key=access.secret_key,
            verify=access.verify,
            # The object store says which time is too short.
            config=client_config(connections=1).merge(Config(parameter_validation=False)),
        )
        self._of = lru_cache(_BUCKETS)(self._open)

    @classmethod
    def from_settings(cls, settings: S3Settings, *, threads: int) -> Self:
        """Read with the publishers' credential in sessions of the role in the settings."""
        return cls(reader_access(settings), settings.reader_role_arn, seconds=settings.session_seconds, threads=threads)

    def owner(self, bucket: str) -> str:
        """See ``BucketReader.owner``."""
        return self._of(bucket).owner(bucket)

    def list_objects(self, bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        """See ``S3Buckets.list_objects``."""
        return self._of(bucket).list_objects(bucket, prefix, after)

    def head(self, bucket: str, key: str) -> BucketObject | None:
        """See ``S3Buckets.head``."""
        return self._of(bucket).head(bucket, key)

    def read(self, bucket: str, key: str) -> AbstractContextManager[S3Body | None]:
        """See ``S3Buckets.read``."""
        return self._of(bucket).read(bucket, key)

    def read_small(self, bucket: str, keys: Iterable[str]) -> Iterator[S3Body]:
        """See ``S3Buckets.read_small``."""
        return self._of(bucket).read_small(bucket, keys)

    def _open(self, bucket: str) -> S3Buckets:
        with _no_role(self._role), translated(S3_TABLE, f"begin a session for bucket {bucket}"):
            session = RefreshableCredentials.create_from_metadata(
                self._assume(bucket),
                refresh_using=lambda: self._assume(bucket),
                method="sts-assume-role",
                advisory_timeout=int(self._seconds * _ADVISED),
                mandatory_timeout=int(self._seconds * _DUE),
            )
        access = replace(self._access, session=session)
        return S3Buckets(access, threads=self._threads, page=self._page, part=self._part)

    def _assume(self, bucket: str) -> dict[str, Any]:
        answer = self._sts.assume_role(
            RoleArn=self._role,
            RoleSessionName=f"softman-{bucket}"[:64],
            DurationSeconds=self._seconds,
            Policy=json.dumps(session_policy(bucket), separators=(",", ":")),  # RGW reads "+" as it is
        )
        given = answer["Credentials"]
        return {
            "access_key": given["AccessKeyId"],
            "secret_key": given["SecretAccessKey"],
            "token": given["SessionToken"],
            "expiry_time": given["Expiration"].isoformat(),
        }


@contextmanager
def _no_role(role: str) -> Iterator[None]:
    """A role that is not there must not look like a bucket that is gone."""
    try:
        yield
    except NotFound as exc:
        msg = f"the object store has no role {role}; look at the setting s3.reader_role_arn"
        raise Forbidden(msg) from exc


def session_policy(bucket: str) -> dict[str, Any]:
    """What a session may do: read the published area of one bucket, and see whose the bucket is."""
    arn = f"arn:aws:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{arn}/{PUBLISHED_PREFIX}*"]},
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [arn],
                "Condition": {"StringLike": {"s3:prefix": [f"{PUBLISHED_PREFIX}*"]}},
            },
            {"Effect": "Allow", "Action": ["s3:GetBucketAcl"], "Resource": [arn]},
        ],
    }
