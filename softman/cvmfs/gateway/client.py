"""A publisher's side of a repository gateway: a lease, object packs, a commit. Over HTTP, with nothing of CernVM-FS.

The protocol has no request that makes a lease last longer: it ends when the gateway says so, whatever is under way.
"""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError

from softman.cvmfs.errors import FormatError, GatewayError, GatewayUnavailable, LeaseBusy
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.authorization import authorization
from softman.cvmfs.gateway.messages import CommitMessage, LeaseRequest, PayloadMessage, check_answer
from softman.cvmfs.gateway.packs import PackedObject, header_digest, pack_header, split
from softman.cvmfs.store.base import Readable
from softman.cvmfs.store.http import check_url, connection_pool

CONNECT_TIMEOUT: Final = 10.0
ANSWER_TIMEOUT: Final = 60.0
"""Seconds without a byte for small requests."""
PAYLOAD_TIMEOUT: Final = 600.0
COMMIT_TIMEOUT: Final = 1800.0
"""A commit merges catalogs and signs; the official gateway answers only then."""

_ATTEMPTS = 3
_PAUSE, _LONGEST_PAUSE = 0.5, 15.0
_MAX_ANSWER = 16 * 1024 * 1024
_PIECE = 256 * 1024

OpenObject = Callable[[PackedObject], AbstractContextManager[Readable]]
"""Opens the stored bytes of an object for reading; it may be asked for the same object more than once."""


class GatewayClient:
    """A gateway, for the holder of one key. Safe to be shared by threads.

    Args:
        url: its API, such as ``http://host:4929/api/v1``.
        key: proves the right to publish; it is in no message and no error.
        hostname: what others see that wait for the path; None for this host's name.
        ca_file: the authorities for ``https``; None for those of the system. Certificates are always verified.
        payload_timeout: seconds without a byte while an object pack is taken.
        commit_timeout: seconds until a commit is answered.
        sleep: waits so many seconds.

    Raises:
        FormatError: ``url`` is no address.
    """

    def __init__(
        self,
        url: str,
        key: GatewayKey,
        *,
        hostname: str | None = None,
        ca_file: Path | None = None,
        payload_timeout: float = PAYLOAD_TIMEOUT,
        commit_timeout: float = COMMIT_TIMEOUT,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self.url = check_url(url)
        self.key = key
        self.payload_timeout = payload_timeout
        self.commit_timeout = commit_timeout
        self._hostname = socket.gethostname() if hostname is None else hostname
        self._sleep = threading.Event().wait if sleep is None else sleep
        self._pool = connection_pool(self.url, ca_file)

    def acquire(self, repository: str, path: str = "", *, wait: float = 0.0) -> "GatewayLease":
        """Take a lease on a directory and all that is below.

        Leases exclude each other when the text of one path begins with that of the other, so ``/sub`` keeps out
        ``/sub2``. The directory need not exist, the one above it must.

        Args:
            repository: fully qualified name.
            path: of the directory; empty for the whole repository.
            wait: so many seconds, at most, when another publisher has it.

        Raises:
            LeaseBusy: another publisher has it still.
            GatewayRefused: the key is not for this repository or path, or the gateway knows neither.
            GatewayUnavailable: no answer, or the repository is switched off.
        """
        body = LeaseRequest(repository, path.strip("/"), self._hostname).to_bytes()
        deadline = time.monotonic() + wait
        pause = _PAUSE
        while True:
            try:
                fields = self.request("POST", "leases", body=body, signed=body)
            except LeaseBusy as busy:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                self._sleep(min(pause * random.uniform(0.5, 1.5), max(busy.seconds, 0.05), left))  # noqa: S311 - spreads
                pause = min(2 * pause, _LONGEST_PAUSE)
                continue
            token = fields.get("session_token")
            if not isinstance(token, str) or not token:
                raise GatewayUnavailable("the gateway's answer has no session token")
            return GatewayLease(self, repository, path.strip("/"), token)

    def leases(self) -> Mapping[str, Any]:
        """Who has which path, as the gateway tells everybody.

        Raises:
            GatewayUnavailable: no answer.
        """
        found = self.request("GET", "leases").get("data")
        return found if isinstance(found, dict) else {}

    def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes | Iterable[bytes] = b"",
        signed: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = ANSWER_TIMEOUT,
    ) -> dict[str, Any]:
        """One request, sent once; the fields of its answer.

        Args:
            method: of HTTP.
            path: below the API.
            body: what to send; for pieces, ``headers`` has their ``Content-Length``.
            signed: what the proof is made over; None for no proof.
            headers: further ones.
            timeout: seconds without a byte.

        Raises:
            GatewayError: see ``check_answer``. Errors of ``body`` pass through.
        """
        sent = {"User-Agent": "softman", "Accept-Encoding": "identity", **(headers or {})}
        if signed is not None:
            sent["Authorization"] = authorization(self.key, signed)
        try:
            response = self._pool.request(
                method,
                f"{self.url}/{path}",
                body=body,
                headers=sent,
                preload_content=False,
                retries=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_TIMEOUT, read=timeout),
            )
            try:
                answer = response.read(_MAX_ANSWER + 1, decode_content=False)
            finally:
                response.close()
        except HTTPError as exc:
            raise GatewayUnavailable(f"the gateway at {self.url} gives no answer: {_reason(exc)}") from exc
        if len(answer) > _MAX_ANSWER:
            raise GatewayUnavailable(f"the gateway's answer has more than {_MAX_ANSWER} bytes")
        return check_answer(response.status, answer)


class GatewayLease:
    """The right to change what lies below a path. As a context manager it is given back in the end, if it is there.

    Args:
        client: whom to talk to.
        repository: fully qualified name.
        path: without slashes at its ends.
        token: proves that it is ours; not to be shown.
    """

    def __init__(self, client: GatewayClient, repository: str, path: str, token: str) -> None:
        self.repository = repository
        self.path = path
        self._client = client
        self._token = token
        self._is_over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._is_over:
            with suppress(GatewayError):  # it ends by itself
                self.drop()

    def is_held(self) -> bool:
        """Whether the gateway still knows the lease.

        Raises:
            GatewayUnavailable: no answer.
        """
        try:
            self._client.request("GET", f"leases/{self._quoted}")
        except GatewayUnavailable:
            raise
        except GatewayError:
            return False
        return True

    def send(self, objects: Iterable[PackedObject], open_object: OpenObject) -> None:
        """Send objects, in packs of up to 200 MiB. Only pieces of them are in memory.

        A pack that breaks off is sent again, which does no harm.

        Args:
            objects: what to send. The catalogs should come last, as with stock publishers.
            open_object: opens each.

        Raises:
            LeaseLost: the lease is over.
            GatewayUnavailable: it was not taken.
            FormatError: an object is shorter than said.
        """
        for pack in split(objects):
            self._send_pack(pack, open_object)

    def commit(self, old_root: ContentHash, new_root: ContentHash, *, tag: str = "", description: str = "") -> int:
        """Make what was sent a revision, merged with what others published meanwhile; the lease is over then.

        After ``GatewayUnavailable`` it may have happened: the manifest knows. The lease should be dropped after any
        error, as the official gateway commits none twice.

        Args:
            old_root: the root catalog that the change was made on.
            new_root: the root catalog with the change, which was sent.
            tag: to give to the new revision; empty for none.
            description: of that tag.

        Returns:
            The number of the revision that has the change. Its root catalog is one that the gateway made.

        Raises:
            LeaseLost: the lease is over.
            GatewayUnavailable: no answer, or one that does not say what was done.
            GatewayError: the change cannot be merged.
        """
        body = CommitMessage(old_root, new_root, tag, 0, description).to_bytes()
        fields = self._client.request(
            "POST",
            f"leases/{self._quoted}",
            body=body,
            signed=self._token.encode(),
            timeout=self._client.commit_timeout,
        )
        self._is_over = True
        revision = fields.get("final_revision")
        if not isinstance(revision, int):
            raise GatewayUnavailable("the gateway's answer has no revision")
        return revision

    def drop(self) -> None:
        """Give the lease back; what was sent is void.

        Raises:
            LeaseLost: it is over already.
            GatewayUnavailable: no answer.
        """
        self._client.request("DELETE", f"leases/{self._quoted}", signed=self._token.encode())
        self._is_over = True

    @property
    def _quoted(self) -> str:
        return quote(self._token, safe="=")

    def _send_pack(self, pack: list[PackedObject], open_object: OpenObject) -> None:
        header = pack_header(pack)
        message = PayloadMessage(self._token, header_digest(header), len(header)).to_bytes()
        size = len(message) + len(header) + sum(item.size for item in pack)
        headers = {
            "Message-Size": str(len(message)),
            "Content-Length": str(size),
            "Content-Type": "application/octet-stream",
        }
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._client.request(
                    "POST",
                    "payloads",
                    body=_body([message, header], pack, open_object),
                    signed=message,
                    headers=headers,
                    timeout=self._client.payload_timeout,
                )
            except GatewayUnavailable:
                if attempt == _ATTEMPTS:
                    raise
                continue
            return


def _body(front: Iterable[bytes], pack: Iterable[PackedObject], open_object: OpenObject) -> Iterator[bytes]:
    yield from front
    for item in pack:
        left = item.size
        with open_object(item) as source:
            while left and (piece := source.read(min(left, _PIECE))):
                left -= len(piece)
                yield piece
        if left:
            raise FormatError(f"object {item.hash} is {left} bytes shorter than its pack says")


def _reason(error: HTTPError) -> str:
    """What went wrong, without the URL, which may hold a token."""
    text = str(getattr(error, "reason", "") or error)
    return f"{type(error).__name__}: {text.rpartition(': ')[2]}"
