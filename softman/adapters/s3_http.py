"""Signed requests to the object store that boto3 has no call for, or makes slowly or wrongly.

These are: the admin operations of RGW, making a bucket as a system user (RGW answers in JSON, which boto3 takes for an
error 500), taking off one notification by its id, and listings: boto3 needs three times the CPU for a page of 1000
keys, and gives up on a page when RGW's answer is no well-formed XML (see ``s3_listing``).
Signatures, connections and exceptions are botocore's own.
"""

import random
import re
import time
from collections.abc import Mapping
from urllib.parse import quote

from botocore import exceptions as boto
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.session import get_session

from softman.adapters.s3_client import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, S3Access, is_passing

_CODE = re.compile(rb'<Code>([A-Za-z0-9.]+)</Code>|"Code":"([A-Za-z0-9.]+)"')
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 2.0
_ERRORS = 300


class SignedHttp:
    """Signs, sends, and tries again what may pass. Only for requests that may be repeated. Threads may share it.

    Args:
        access: the object store and who asks.
        connections: how many threads may ask at once without waiting for a connection.
    """

    def __init__(self, access: S3Access, *, connections: int = 2) -> None:
        self._endpoint = access.endpoint.rstrip("/")
        self._region = access.region
        self._access = access
        verify = access.verify or get_session().get_config_variable("ca_bundle") or True
        self._http = URLLib3Session(
            verify=verify,
            timeout=(CONNECT_SECONDS, READ_SECONDS),  # type: ignore[arg-type]  # the stubs know one number only
            max_pool_connections=connections,
        )

    def request(self, method: str, path: str, query: Mapping[str, str]) -> bytes:
        """Send one request without a body.

        Args:
            method: as in HTTP.
            path: below the endpoint, not yet quoted: ``/bucket``, ``/admin/user``.
            query: not yet quoted; a value may be empty.

        Returns:
            The body of an answer below 300.

        Raises:
            ClientError: the store answers with an error, as boto3 would raise it.
            BotoCoreError: there is no answer.
        """
        operation = f"{method} {path}"
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._send(method, path, query, operation)
            except (boto.HTTPClientError, boto.ConnectionError, boto.ClientError) as exc:
                if attempt == ATTEMPTS or not is_passing(exc):
                    raise
            time.sleep(pause(attempt))
        raise AssertionError

    def _send(self, method: str, path: str, query: Mapping[str, str], operation: str) -> bytes:
        pairs = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items()))
        request = AWSRequest(method=method, url=f"{self._endpoint}{quote(path)}?{pairs}")
        S3SigV4Auth(self._access.keys(), "s3", self._region).add_auth(request)
        answer = self._http.send(request.prepare())
        body: bytes = answer.content
        if answer.status_code >= _ERRORS:
            raise answer_error(answer.status_code, body, operation)
        return body


def answer_error(status: int, body: bytes, operation: str) -> boto.ClientError:
    """An answer that is an error, as boto3 would raise it."""
    found = _CODE.search(body)
    code = (found.group(1) or found.group(2)).decode() if found else str(status)
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, operation)  # type: ignore[arg-type]  # boto3 knows its shape only


def pause(attempt: int) -> float:
    """Seconds to wait after a try that failed, the first being 1."""
    return random.uniform(0.5, 1.0) * min(_LONGEST_PAUSE, _FIRST_PAUSE * float(2**attempt))  # noqa: S311 - jitter
