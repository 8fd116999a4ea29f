"""GETs of objects with libcurl, which costs a third of the CPU that boto3 takes and leaves Python's lock meanwhile.

Connections are kept. What may pass is tried again: a request that is not answered, an answer that breaks off, and
answers that say so themselves. Figures of all clients that were tried are in ``docs/sync.md``.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote

import pycurl
from botocore import exceptions as boto
from botocore.httpsession import get_cert_path
from botocore.session import get_session

from softman.adapters.curl import Answer, Handle, Handles
from softman.adapters.errormap import Meaning, Table
from softman.adapters.s3_client import ATTEMPTS, S3_TABLE, S3Access, is_passing
from softman.adapters.s3_http import answer_error, pause
from softman.adapters.s3_signing import Signer
from softman.errors import InvalidInput, ServiceUnavailable

_ERRORS = 300
_OUR_MISTAKES = frozenset({pycurl.E_UNSUPPORTED_PROTOCOL, pycurl.E_URL_MALFORMAT, pycurl.E_SSL_CACERT_BADFILE})


class ObjectHttp:
    """Gets objects. Threads may share it.

    Args:
        access: the object store and who asks.
        connections: of each ``get_many``.
    """

    def __init__(self, access: S3Access, *, connections: int = 4) -> None:
        self._endpoint = access.endpoint.rstrip("/")
        self._base = quote("/" + self._endpoint.partition("://")[2].partition("/")[2], safe="/%").rstrip("/")
        self._signer = Signer(access)
        self._authorities = get_cert_path(access.verify or get_session().get_config_variable("ca_bundle") or True)
        self._idle: list[Handle] = []
        self._groups: list[Handles] = []
        self._connections = connections

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
        path = _path(bucket, key)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._send(path, more, limit)
            except (pycurl.error, boto.ClientError) as exc:
                if attempt == ATTEMPTS or not _is_passing(exc):
                    raise
            time.sleep(pause(attempt))
        raise AssertionError

    def get_many(self, bucket: str, keys: Iterable[str], limit: int) -> Iterator[tuple[str, Answer]]:
        """Get small objects over a few connections from one thread, in the order in which they come.

        Left out is all that is not answered at the first try with an object of up to ``limit`` bytes: ``get`` says why.

        Args:
            bucket: its name.
            keys: the objects', not quoted.
            limit: the most bytes that are taken.
        """
        try:
            handles = self._groups.pop()
        except IndexError:
            handles = Handles(self._authorities, self._connections)
        requests = ((key, *self._request(_path(bucket, key), ())) for key in keys)
        yield from handles.perform(requests, limit)
        self._groups.append(handles)  # those that were left midway are not used again

    def _request(self, path: str, more: Iterable[str]) -> tuple[str, list[str]]:
        return f"{self._endpoint}{path}", [*self._signer.headers(self._base + path), *more]

    def _send(self, path: str, more: Iterable[str], limit: int | None) -> Answer:
        try:
            handle = self._idle.pop()
        except IndexError:
            handle = Handle(self._authorities)
        try:
            answer = handle.perform(*self._request(path, more), limit)
        except pycurl.error as exc:
            if exc.args[0] != pycurl.E_PEER_FAILED_VERIFICATION:
                raise
            reason = f"the certificate of {self._endpoint} is refused: {exc.args[1]}"  # libcurl does not name the host
            raise pycurl.error(exc.args[0], reason) from exc
        self._idle.append(handle)  # one that raised is not used again
        if answer.status >= _ERRORS:
            raise answer_error(answer.status, b"".join(answer.pieces), "GetObject")
        return answer


def _path(bucket: str, key: str) -> str:
    return quote(f"/{bucket}/{key}", safe="/~")


def _is_passing(exc: Exception) -> bool:
    return _curl_error(exc).error is ServiceUnavailable if isinstance(exc, pycurl.error) else is_passing(exc)


def _curl_error(exc: Exception) -> Meaning:
    code = exc.args[0] if exc.args else 0
    if code in _OUR_MISTAKES:
        return Meaning(InvalidInput, "the endpoint or its certificates cannot be used; look at the settings under s3")
    if code == pycurl.E_PEER_FAILED_VERIFICATION:
        return Meaning(ServiceUnavailable, str(exc.args[1]))
    if code == pycurl.E_PARTIAL_FILE:
        return Meaning(ServiceUnavailable, "the object store broke off its answer")
    return Meaning(ServiceUnavailable, "the object store does not answer")


GET_TABLE: Table = {**S3_TABLE, pycurl.error: _curl_error}
"""Errors of ``ObjectHttp.get``."""
