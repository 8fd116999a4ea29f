"""A repository behind one or more web servers, read only.

Any static web server will do. Content must come as it is stored: a server that applies ``Content-Encoding`` changes
what is hashed, so such answers are refused. Proxies come from the environment, as for most tools.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import HTTPError

from softman.cvmfs.errors import FormatError, ObjectMissing, StoreError, StoreUnavailable
from softman.cvmfs.store.base import Readable, check_name, read_all

CONNECT_TIMEOUT: Final = 10.0
READ_TIMEOUT: Final = 60.0
"""Seconds without a byte after which a server counts as not answering."""
ATTEMPTS: Final = 3
"""Requests to one server before the next is asked."""

_BACKOFF = 0.2
_BACKOFF_MAX = 5.0
_REDIRECTS = 3
_CONNECTIONS = 8  # kept open for each server; more threads work, with connections of their own
_PASSING = frozenset({429, 500, 502, 503, 504})
_MISSING = frozenset({404, 410})
_OK = 200
_FORBIDDEN = 403
_FROM_OBJECT_STORE = "x-amz-request-id"
"""S3 tells those who may not list a bucket that a missing object is forbidden."""
_FORBIDDEN_IN_URL = frozenset("?#")


class HttpStore:
    """The repository at any of ``urls``; they hold the same content, the first that answers is used and kept.

    Safe to be shared by threads.

    Args:
        urls: addresses of the directory that holds ``.cvmfspublished``, in order of preference.
        connect_timeout: seconds for a connection to be made.
        read_timeout: seconds without a byte.
        attempts: requests to one server before the next is asked.
        ca_file: the authorities for ``https``; None for those of the system. Certificates are always verified.

    Raises:
        FormatError: no address, or one that is not ``http`` or ``https`` with a host and without query or fragment.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        attempts: int = ATTEMPTS,
        ca_file: Path | None = None,
    ) -> None:
        if not urls:
            raise FormatError("no address given for a repository")
        self.urls = tuple(check_url(url) for url in urls)
        self._timeout = urllib3.Timeout(connect=connect_timeout, read=read_timeout)
        self._retries = urllib3.Retry(
            total=None,
            connect=attempts - 1,
            read=attempts - 1,
            status=attempts - 1,
            other=0,
            redirect=_REDIRECTS,
            status_forcelist=_PASSING,
            allowed_methods=("GET", "HEAD"),
            backoff_factor=_BACKOFF,
            backoff_max=_BACKOFF_MAX,
            raise_on_status=False,
            respect_retry_after_header=False,  # a server must not be able to hold us for hours
        )
        self._pools = tuple(connection_pool(url, ca_file) for url in self.urls)
        self._first = 0
        self._guard = threading.Lock()

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """See ``ReadableStore.open``."""
        number, response = self._request("GET", name)
        try:
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding.lower() not in {"", "identity"}:
                raise StoreError(f"{name}: the server encodes content ({encoding}); it must be served as stored")
            yield _Body(response, name, partial(self._leave, number))
        finally:
            _discard(response)

    def get(self, name: str, *, max_size: int) -> bytes:
        """See ``ReadableStore.get``."""
        with self.open(name) as body:
            return read_all(body, name, max_size=max_size)

    def exists(self, name: str) -> bool:
        """See ``ReadableStore.exists``."""
        try:
            _, response = self._request("HEAD", name)
        except ObjectMissing:
            return False
        _discard(response)
        return True

    def _leave(self, number: int) -> None:
        """Ask another server first from now on: this one broke off in the middle."""
        with self._guard:
            if self._first == number:
                self._first = (number + 1) % len(self.urls)

    def _request(self, method: str, name: str) -> tuple[int, urllib3.BaseHTTPResponse]:
        """Ask the servers in turn; the answer has status 200 and its body is still to be read. Which one gave it."""
        check_name(name)
        with self._guard:
            first = self._first
        failures: list[StoreError] = []
        for offset in range(len(self.urls)):
            number = (first + offset) % len(self.urls)
            try:
                response = self._ask(number, method, name)
            except StoreError as error:
                failures.append(error)
                continue
            with self._guard:
                self._first = number
            return number, response
        # A server that does not answer may have what the others miss.
        for failure in failures:
            if isinstance(failure, StoreUnavailable):
                raise failure
        raise failures[0]

    def _ask(self, number: int, method: str, name: str) -> urllib3.BaseHTTPResponse:
        url = f"{self.urls[number]}/{name}"
        headers = {"Accept-Encoding": "identity", "User-Agent": "softman"}
        if name.startswith(".cvmfs"):
            headers["Cache-Control"] = "no-cache"  # a proxy shall ask whether manifest and whitelist are current
        try:
            response = self._pools[number].request(
                method, url, headers=headers, preload_content=False, retries=self._retries, timeout=self._timeout
            )
        except HTTPError as error:
            raise StoreUnavailable(f"{url}: {error}") from error
        if response.status == _OK:
            return response
        _discard(response)
        if response.status in _MISSING:
            raise ObjectMissing(f"{url} does not exist ({response.status})")
        if response.status == _FORBIDDEN and _FROM_OBJECT_STORE in response.headers:
            raise ObjectMissing(f"{url} does not exist, or must not be read ({response.status} of an object store)")
        if response.status in _PASSING:
            raise StoreUnavailable(f"{url}: the server answers {response.status}")
        raise StoreError(f"{url}: the server answers {response.status}")


class _Body:
    """The body of an answer while it is read."""

    def __init__(self, response: urllib3.BaseHTTPResponse, name: str, broken: Callable[[], None]) -> None:
        self._response = response
        self._name = name
        self._broken = broken

    def read(self, size: int, /) -> bytes:
        try:
            return self._response.read(size, decode_content=False)
        except (HTTPError, OSError) as error:
            self._broken()
            raise StoreUnavailable(f"{self._name}: the connection broke: {error}") from error


def _discard(response: urllib3.BaseHTTPResponse) -> None:
    """Give the connection back when the body was read, else close it: the rest may be long."""
    with suppress(HTTPError, OSError):
        if response.length_remaining == 0:
            response.drain_conn()
        else:
            response.close()


def check_url(url: str) -> str:
    """``url`` without slashes at its end.

    Raises:
        FormatError: it is not that of something on a web server.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or _FORBIDDEN_IN_URL & set(url):
        raise FormatError(f"not the address of something on a web server: {url!r}")
    return url.rstrip("/")


def connection_pool(url: str, ca_file: Path | None) -> urllib3.PoolManager:
    """Connections to the server of ``url``, by the proxy that the environment names for it, if any.

    Args:
        url: an address on it.
        ca_file: the authorities for ``https``; None for those of the system. Certificates are always verified.
    """
    parts = urlsplit(url)
    options: dict[str, Any] = {"maxsize": _CONNECTIONS, "ca_certs": None if ca_file is None else str(ca_file)}
    proxy = getproxies().get(parts.scheme)
    if proxy and not proxy_bypass(parts.hostname or ""):
        return urllib3.ProxyManager(proxy if "://" in proxy else f"http://{proxy}", **options)
    return urllib3.PoolManager(**options)
