"""What the S3 adapters share: how a client is built, and what the errors of botocore mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore import exceptions as boto
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.parsers import ResponseParserError
from botocore.session import get_session

from softman.adapters.errormap import Meaning, Table
from softman.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceUnavailable
from softman.transport import certificate_problem

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
"""How long a read may wait for the next byte; a page of a listing takes RGW well under a second."""
ATTEMPTS = 4
"""Tries of one request, with botocore's back-off in between; after that the task is retried as a whole."""


@dataclass(frozen=True, slots=True)
class S3Access:
    """Where the object store is and who we are there."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"
    session: Credentials | None = None
    """Credentials that change, instead of the two keys (``s3_sessions``)."""
    ca_file: Path | None = None
    """The authorities for TLS; None for those of the system, or of ``AWS_CA_BUNDLE``."""

    def keys(self) -> ReadOnlyCredentials:
        """What to sign the next request with."""
        if self.session is not None:
            return self.session.get_frozen_credentials()
        return ReadOnlyCredentials(self.access_key, self.secret_key, None, None)

    @property
    def verify(self) -> Any:
        """What botocore verifies with, whose stubs know no file: that, or None for its default, which verifies, too."""
        return None if self.ca_file is None else str(self.ca_file)

    def __repr__(self) -> str:
        return f"S3Access({self.endpoint!r}, {self.access_key!r}, ***)"


def client_config(connections: int) -> Config:
    """The behaviour of all our clients: path addressing, bounded time and tries, no checksums that RGW ignores.

    Args:
        connections: how many threads may use the client at once without waiting for a connection.
    """
    return Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        max_pool_connections=connections,
        tcp_keepalive=True,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"},
    )


def s3_client(access: S3Access, *, connections: int = 10) -> "S3Client":
    """An S3 client that threads may share."""
    session = get_session()
    session.register_component("credential_provider", _Keys(access))
    client: S3Client = boto3.session.Session(botocore_session=session).client(
        "s3",
        endpoint_url=access.endpoint,
        region_name=access.region,
        verify=access.verify,
        config=client_config(connections),
    )
    return client


class _Keys:
    """Gives the credentials to botocore, which asks its component ``credential_provider`` for them."""

    def __init__(self, access: S3Access) -> None:
        self._access = access

    def load_credentials(self) -> Credentials:
        access = self._access
        return access.session or Credentials(access.access_key, access.secret_key)


def sns_client(access: S3Access) -> "SNSClient":
    """A client for the topics of RGW, which speaks the protocol of SNS.

    RGW takes a push endpoint with a password over TLS only. On a plain endpoint, which is one on a trusted network,
    the header that a TLS proxy would set says so (RGW: ``rgw_trust_forwarded_https``). It is added after signing,
    since a proxy may replace it.
    """
    client: SNSClient = boto3.session.Session().client(
        "sns",
        endpoint_url=access.endpoint,
        region_name=access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        verify=access.verify,
        config=client_config(connections=1).merge(Config(signature_version="v4")),
    )
    if access.endpoint.startswith("http:"):
        client.meta.events.register("before-send.sns", _say_forwarded_https)
    return client


def _say_forwarded_https(request: Any, **_: Any) -> None:
    request.headers["X-Forwarded-Proto"] = "https"


_FORBIDDEN = Meaning(Forbidden, "the object store refuses the credential")
_NOT_NOW = Meaning(ServiceUnavailable, "the object store cannot serve now")
_BY_CODE = {
    "NoSuchBucket": Meaning(NotFound, "the bucket does not exist"),
    "NoSuchKey": Meaning(NotFound, "the object does not exist"),
    "NoSuchUser": Meaning(NotFound, "the user does not exist in the object store"),
    "BucketAlreadyExists": Meaning(Forbidden, "the bucket belongs to somebody else"),
    "TooManyBuckets": Meaning(Forbidden, "the owner has as many buckets as the object store allows"),
    "RequestTimeTooSkewed": Meaning(Forbidden, "the clocks of this host and of the object store differ too much"),
    "OperationAborted": Meaning(Conflict, "another change of the same thing is under way"),
    "ConcurrentModification": Meaning(Conflict, "another change of the same thing is under way"),
    "RequestTimeout": _NOT_NOW,
    "SlowDown": _NOT_NOW,
}
_FORBIDDEN_CODES = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"})
_PASSING_STATUS = frozenset({408, 429})


def status_of(exc: boto.ClientError) -> int:
    """The HTTP status of an answer that botocore takes for an error; 0 when it does not say."""
    status = exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status)


def code_of(exc: boto.ClientError) -> str:
    """The S3 error code; empty when the answer had none (any HEAD, all SNS answers of RGW)."""
    code = str((exc.response.get("Error") or {}).get("Code", ""))
    return "" if code.isdigit() else code


def _client_error(exc: boto.ClientError) -> Meaning:
    code, status = code_of(exc), status_of(exc)
    if code in _BY_CODE:
        return _BY_CODE[code]
    if code in _FORBIDDEN_CODES or status in {401, 403}:
        return _FORBIDDEN
    if status >= 500 or status in _PASSING_STATUS or status < 300:  # noqa: PLR2004 - of HTTP; below 300 and yet an error
        return _NOT_NOW
    if status == 404:  # noqa: PLR2004 - of HTTP
        return Meaning(NotFound, "the object store does not have it")
    return Meaning(InvalidInput, f"the object store refuses the request as {code or status}")


def is_passing(exc: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    return not isinstance(exc, boto.ClientError) or _client_error(exc).error is ServiceUnavailable


_NO_ANSWER = Meaning(ServiceUnavailable, "the object store does not answer")


def _no_answer(exc: Exception) -> Meaning:
    problem = certificate_problem(exc)
    return Meaning(ServiceUnavailable, problem) if problem else _NO_ANSWER


_CUT = Meaning(ServiceUnavailable, "the object store broke off its answer")

S3_TABLE: Table = {
    boto.ClientError: _client_error,
    boto.HTTPClientError: _no_answer,
    boto.ConnectionError: _no_answer,
    boto.IncompleteReadError: _CUT,
    boto.ResponseStreamingError: _CUT,
    boto.ChecksumError: _CUT,
    boto.FlexibleChecksumError: _CUT,
    ResponseParserError: Meaning(ServiceUnavailable, "what answers in place of the object store speaks no S3"),
    boto.BotoCoreError: Meaning(InvalidInput, "the S3 client refuses the request; look at the settings under s3"),
}
"""Errors of botocore, and of what it raises while a body is read."""
