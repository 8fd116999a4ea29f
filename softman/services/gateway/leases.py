"""Leases: who may change what lies below a path, and until when.

In memory: a gateway that starts again knows none, and publishers begin again, as with the official one. What was sent
under a lease lies in a staging area, which is swept by its age when nobody removes it.
"""

import base64
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from softman.cvmfs.areas import StagingArea
from softman.cvmfs.errors import CvmfsError, LeaseBusy, LeaseLost
from softman.cvmfs.gateway.messages import INVALID_LEASE

_TOKEN_BYTES = 32


@dataclass(slots=True, eq=False)
class Lease:
    """One publisher's right. ``path`` is without slashes at its ends, empty for the whole repository."""

    token: str = field(repr=False)
    repository: str
    path: str
    key_id: str
    hostname: str
    expires: datetime
    area: StagingArea | None = None
    sent: int = 0
    """Bytes of the objects that were sent under it."""
    committing: bool = False
    guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def full_path(self) -> str:
        """The path with the repository, as the protocol has it."""
        return f"{self.repository}/{self.path}"


class LeaseBook:
    """All leases. Safe to be shared by threads.

    Args:
        duration: how long a lease lasts.
        clock: the present time, with a time zone.
    """

    def __init__(self, duration: timedelta, clock: Callable[[], datetime]) -> None:
        self._duration = duration
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self._guard = threading.Lock()

    def take(self, repository: str, path: str, key_id: str, hostname: str) -> Lease:
        """A new lease.

        Paths keep each other out when the text of one begins with that of the other, as the official gateway does it.

        Raises:
            LeaseBusy: somebody else has the path, one above it or one below.
        """
        with self._guard:
            now = self._clock()
            for other in self._leases.values():
                if other.repository == repository and _overlap(other.path, path) and self._is_valid(other, now):
                    left = max(0.0, (other.expires - now).total_seconds())
                    raise LeaseBusy(f"{other.full_path} is leased", left)
            expired = [lease for lease in self._leases.values() if not self._is_valid(lease, now)]
            for lease in expired:
                del self._leases[lease.token]
            token = base64.b32encode(secrets.token_bytes(_TOKEN_BYTES)).decode()
            taken = Lease(token, repository, path, key_id, hostname, now + self._duration)
            self._leases[token] = taken
        _discard(expired)
        return taken

    def find(self, token: str) -> Lease:
        """The lease of a token.

        Raises:
            LeaseLost: there is none, or it expired.
        """
        lease = self._leases.get(token)
        if lease is None or not self._is_valid(lease, self._clock()):
            raise LeaseLost(INVALID_LEASE)
        return lease

    def any_of(self, token: str) -> Lease:
        """The same, also when it expired and nobody noticed yet.

        Raises:
            LeaseLost: there is none.
        """
        lease = self._leases.get(token)
        if lease is None:
            raise LeaseLost(INVALID_LEASE)
        return lease

    def valid(self) -> list[Lease]:
        """Those that have not expired, sorted by path."""
        now = self._clock()
        found = [lease for lease in list(self._leases.values()) if self._is_valid(lease, now)]
        return sorted(found, key=lambda lease: lease.full_path)

    def drop(self, *leases: Lease) -> None:
        """End leases; what was sent under them is removed. One that is being committed ends afterwards."""
        with self._guard:
            ended = [lease for lease in leases if not lease.committing and lease.token in self._leases]
            for lease in ended:
                del self._leases[lease.token]
        _discard(ended)

    def drop_below(self, repository: str, path: str) -> None:
        """End all leases whose path begins with this one."""
        self.drop(*(lease for lease in self.valid() if lease.repository == repository and lease.path.startswith(path)))

    def _is_valid(self, lease: Lease, now: datetime) -> bool:
        return lease.committing or lease.expires > now


def _overlap(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _discard(leases: list[Lease]) -> None:
    for lease in leases:
        if lease.area is not None:
            with suppress(CvmfsError):  # the sweep by age removes it
                lease.area.discard()
