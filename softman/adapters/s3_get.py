"""GETs of objects with libcurl, which costs a third of the CPU that boto3 takes and leaves Python's lock meanwhile.

Connections are kept. What may pass is tried again: a request that is not answered, an answer that breaks off, and
answers that say so themselves. Figures of all clients that were tried are in ``docs/sync.md``.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pycurl
from botocore import exceptions as boto
from botocore.httpsession import get_cert_path
from botocore.session import get_session

from softman.adapters.errormap import Meaning, Table
from softman.adapters.s3_client import ATTEMPTS, CONNECT_SECONDS, READ_SECONDS, S3_TABLE, S3Access, is_passing
from softman.adapters.s3_http import answer_error, pause
from softman.adapters.s3_signing import Signer
from softman.errors import InvalidInput, ServiceUnavailable

PIECE = 256 * 1024
"""The most bytes of a body that come in one piece."""
_ERRORS = 300
_OUR_MISTAKES = frozenset({pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_URL_MALFORMAT, pycurl.E_SSL_CACERT_BADFILE})


@dataclass(slots=True)
class Answer:
    """The answer to a GET.

    Attributes:
        status: of HTTP.
        headers: names in lower case.
        pieces: the body, or its beginning.
        size: bytes of ``pieces``.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    size: int = 0


class ObjectHttp:
    """Gets objects. Threads may share it.

    Args:
        access: the object store and who asks.
    """

    def __init__(self, access: S3Access) -> None:
        self._endpoint = access.endpoint.rstrip("/")
        self._base = quote("/" + self._endpoint.partition("://")[2].partition("/")[2], safe="/%").rstrip("/")
        self._signer = Signer(access)
        # a private authority is configured as for boto3 (AWS_CA_BUNDLE)
        self._authorities = get_cert_path(get_session().get_config_variable("ca_bundle") or True)
        self._idle: list[_Handle] = []

    def get(self, bucket: str, key: str, *, more: Sequence[str] = (), limit: int | None = None) -> Answer:
        """Get an object, or the part of it that ``more`` asks for.

        Args:
            bucket: its name.
            key: the object's, not quoted.
            more: further headers, ``Range: bytes=0-99``.
            limit: stop after so many bytes; None for all of it.

        Raises:
            ClientError: the store answers with an error, as boto3 would raise it.
            pycurl.error: there is no answer, or it broke off.
        """
        path = quote(f"/{bucket}/{key}", safe="/~")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._send(path, more, limit)
            except (pycurl.error, boto.ClientError) as exc:
                if attempt == ATTEMPTS or not _is_passing(exc):
                    raise
            time.sleep(pause(attempt))
        raise AssertionError

    def _send(self, path: str, more: Iterable[str], limit: int | None) -> Answer:
        try:
            handle = self._idle.pop()
        except IndexError:
            handle = _Handle(self._authorities)
        answer = handle.perform(f"{self._endpoint}{path}", [*self._signer.headers(self._base + path), *more], limit)
        self._idle.append(handle)  # one that raised is not used again
        if answer.status >= _ERRORS:
            raise answer_error(answer.status, b"".join(answer.pieces), "GetObject")
        return answer


class _Handle:
    """One handle of libcurl with the connection that it keeps; for one thread at a time."""

    def __init__(self, authorities: str | None) -> None:
        curl: Any = pycurl.Curl()
        self._curl = curl
        self._lines: list[bytes] = []
        self._answer = Answer()
        self._limit: int | None = None
        curl.setopt(pycurl.NOSIGNAL, 1)
        curl.setopt(pycurl.TCP_NODELAY, 1)
        curl.setopt(pycurl.TCP_KEEPALIVE, 1)
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.CONNECTTIMEOUT_MS, int(CONNECT_SECONDS * 1000))
        curl.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        curl.setopt(pycurl.LOW_SPEED_TIME, int(READ_SECONDS))
        curl.setopt(pycurl.BUFFERSIZE, PIECE)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        if authorities is not None:
            curl.setopt(pycurl.CAINFO, authorities)
        curl.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._take)

    def perform(self, url: str, headers: list[str], limit: int | None) -> Answer:
        """Send a request and take its answer in."""
        answer = self._answer = Answer()
        self._limit = limit
        self._lines.clear()
        self._curl.setopt(pycurl.URL, url)
        self._curl.setopt(pycurl.HTTPHEADER, headers)
        try:
            self._curl.perform()
        except pycurl.error as exc:
            stopped = answer.size == limit
            if exc.args[0] != pycurl.E_WRITE_ERROR or not stopped:
                raise
        answer.status = self._curl.getinfo(pycurl.RESPONSE_CODE)
        answer.headers = _read_headers(self._lines)
        return answer

    def _take(self, piece: bytes) -> int | None:
        answer = self._answer
        if self._limit is not None and answer.size + len(piece) > self._limit:
            answer.pieces.append(piece[: self._limit - answer.size])
            answer.size = self._limit
            return 0  # which ends the transfer, and the connection
        answer.pieces.append(piece)
        answer.size += len(piece)
        return None


def _read_headers(lines: list[bytes]) -> dict[str, str]:
    """The headers of the last answer; there may be others before it, such as those of a proxy."""
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        elif line.startswith(b"HTTP/"):
            headers.clear()
    return headers


def _is_passing(exc: Exception) -> bool:
    return _curl_error(exc).error is ServiceUnavailable if isinstance(exc, pycurl.error) else is_passing(exc)


def _curl_error(exc: Exception) -> Meaning:
    code = exc.args[0] if exc.args else 0
    if code in _OUR_MISTAKES:
        return Meaning(InvalidInput, "the endpoint or its certificates cannot be used; look at the settings under s3")
    if code == pycurl.E_PARTIAL_FILE:
        return Meaning(ServiceUnavailable, "the object store broke off its answer")
    return Meaning(ServiceUnavailable, "the object store does not answer")


GET_TABLE: Table = {**S3_TABLE, pycurl.error: _curl_error}
"""Errors of ``ObjectHttp.get``."""
