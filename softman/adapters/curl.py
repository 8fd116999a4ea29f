"""libcurl: handles that keep their connections, and what comes over them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pycurl

from softman.adapters.s3_client import CONNECT_SECONDS, READ_SECONDS

PIECE = 256 * 1024
"""The most bytes of a body that come in one piece."""
_OK = 200
_WAIT_SECONDS = 1.0
_PAUSE_SECONDS = 0.002


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


class Handle:
    """One handle of libcurl with the connection that it keeps; for one thread at a time."""

    def __init__(self, authorities: str | None) -> None:
        curl: Any = pycurl.Curl()
        self.curl = curl
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
        """Send a request and take its answer in, as far as ``limit``."""
        self.begin(url, headers, limit)
        try:
            self.curl.perform()
        except pycurl.error as exc:
            if exc.args[0] != pycurl.E_WRITE_ERROR or self._answer.size != limit:
                raise
        return self.end()

    def begin(self, url: str, headers: list[str], limit: int | None) -> None:
        """Make a request ready."""
        self._answer = Answer()
        self._limit = limit
        self._lines.clear()
        self.curl.setopt(pycurl.URL, url)
        self.curl.setopt(pycurl.HTTPHEADER, headers)

    def end(self) -> Answer:
        """The answer, which has come."""
        answer = self._answer
        answer.status = self.curl.getinfo(pycurl.RESPONSE_CODE)
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


class Handles:
    """Some handles that one thread uses at the same time.

    One thread for many connections takes less than many threads, which pass Python's lock on for each line of headers.

    Args:
        authorities: a file of certificates; None for libcurl's own.
        count: how many.
    """

    def __init__(self, authorities: str | None, count: int) -> None:
        self._multi: Any = pycurl.CurlMulti()
        self._authorities = authorities
        self._free = [Handle(authorities) for _ in range(count)]
        self._busy: dict[Any, tuple[str, Handle]] = {}

    def perform(self, requests: Iterator[tuple[str, str, list[str]]], limit: int) -> Iterator[tuple[str, Answer]]:
        """Send requests, each a name, a URL and headers; the answers with status 200 and up to ``limit`` bytes."""
        self._start(requests, limit)
        while self._busy:
            self._multi.perform()
            left, done, failed = self._multi.info_read()
            answers = [self._finish(curl) for curl in done]
            for curl, *_ in failed:
                self._drop(curl)
            self._start(requests, limit)
            yield from (each for each in answers if each[1].status == _OK)
            if not (left or done or failed) and self._multi.select(_WAIT_SECONDS) < 0:
                time.sleep(_PAUSE_SECONDS)  # there is nothing to wait for, such as while a name is looked up

    def _start(self, requests: Iterator[tuple[str, str, list[str]]], limit: int) -> None:
        while self._free:
            name, url, headers = next(requests, ("", "", []))
            if not url:
                return
            handle = self._free.pop()
            handle.begin(url, headers, limit)
            self._busy[handle.curl] = name, handle
            self._multi.add_handle(handle.curl)

    def _finish(self, curl: Any) -> tuple[str, Answer]:
        name, handle = self._busy.pop(curl)
        self._multi.remove_handle(curl)
        self._free.append(handle)
        return name, handle.end()

    def _drop(self, curl: Any) -> None:
        del self._busy[curl]
        self._multi.remove_handle(curl)
        curl.close()
        self._free.append(Handle(self._authorities))


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
