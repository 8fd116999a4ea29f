"""Signatures of S3 requests without a body: AWS Signature Version 4, with the key of the day kept.

botocore's own signer costs as much CPU as all the rest of a small GET. A test holds that this one gives the same
headers. Source: "Signature Calculations for the Authorization Header" in the Amazon S3 API reference.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from softman.adapters.s3_client import S3Access

_EMPTY = hashlib.sha256(b"").hexdigest()
_SIGNED = "host;x-amz-content-sha256;x-amz-date"
_TOKEN = "x-amz-security-token"  # noqa: S105 - the name of a header
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Signer:
    """Signs for one credential. Threads may share it.

    Args:
        access: the object store and who asks.
        clock: Unix time, for tests.
    """

    def __init__(self, access: S3Access, clock: Callable[[], float] = time.time) -> None:
        parts = urlsplit(access.endpoint)
        port = "" if parts.port in {None, _DEFAULT_PORTS.get(parts.scheme)} else f":{parts.port}"
        self._host = f"{parts.hostname}{port}" if ":" not in (parts.hostname or "") else f"[{parts.hostname}]{port}"
        self._access = access
        self._clock = clock
        self._known: tuple[str, str, hmac.HMAC] | None = None

    def headers(self, path: str, query: str = "") -> list[str]:
        """The headers that sign a GET; others may be added, which are not signed.

        Args:
            path: quoted, as it is sent: everything but ``A-Za-z0-9-_.~/`` as ``%XX``.
            query: the pairs in order, quoted in the same way.
        """
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._clock()))
        keys = self._access.keys()
        signed, more = (f"{_SIGNED};{_TOKEN}", f"{_TOKEN}:{keys.token}\n") if keys.token else (_SIGNED, "")
        scope = f"{now[:8]}/{self._access.region}/s3/aws4_request"
        request = (
            f"GET\n{path}\n{query}\nhost:{self._host}\nx-amz-content-sha256:{_EMPTY}\nx-amz-date:{now}\n{more}\n"
            f"{signed}\n{_EMPTY}"
        )
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        keyed = self._keyed(now[:8], keys.secret_key or "")
        keyed.update(text.encode())  # unlike hmac.digest it keeps Python's lock, which others would take meanwhile
        signature = keyed.hexdigest()
        credential = f"{keys.access_key}/{scope}"
        return [
            f"Host: {self._host}",
            f"X-Amz-Content-SHA256: {_EMPTY}",
            f"X-Amz-Date: {now}",
            *([f"X-Amz-Security-Token: {keys.token}"] if keys.token else []),
            f"Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}",
        ]

    def _keyed(self, day: str, secret: str) -> hmac.HMAC:
        known = self._known
        if known is None or known[:2] != (day, secret):
            key = f"AWS4{secret}".encode()
            for part in (day, self._access.region, "s3", "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            known = self._known = (day, secret, hmac.new(key, digestmod="sha256"))
        return known[2].copy()
