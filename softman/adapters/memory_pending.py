"""Pending keys and leases in memory, for development and tests, with the promises of the Redis ones.

Thread safe; nothing outlives the process. Being flushed, which Redis may at any time, is a method.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from softman.adapters.ports import Lease
from softman.errors import Busy
from softman.model import Backlog, Everything, Keys, Scope
from softman.names import RepositoryName


@dataclass
class _Waiting:
    """What ``pending_scripts`` keeps of one repository."""

    pending: set[str] = field(default_factory=set)
    flight: set[str] = field(default_factory=set)
    lease: str = ""
    lease_ends: float = 0.0
    queued_ends: float = 0.0
    stranger_ends: float = 0.0
    epoch: bool = False
    mark: str = ""
    reached: Everything | None = None

    def holder(self, now: float) -> str:
        return self.lease if now < self.lease_ends else ""

    def claim(self, now: float, ttl: float) -> bool:
        if now < self.queued_ends:
            return False
        self.queued_ends = now + ttl
        return True

    def has_work(self) -> bool:
        return not self.epoch or bool(self.pending or self.flight)

    def return_flight(self) -> None:
        self.pending |= self.flight
        self.flight = set()
        self.mark = ""


class MemoryPendingKeys:
    """``PendingKeys`` in memory.

    Args:
        lease_seconds: how long a lease lives without renewal.
        queued_seconds: how long a queued task is believed in.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        *,
        lease_seconds: float = 60.0,
        queued_seconds: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lease_seconds = lease_seconds
        self._queued_seconds = queued_seconds
        self._clock = clock
        self._waiting: dict[RepositoryName, _Waiting] = {}
        self._lock = threading.RLock()

    def flush(self) -> None:
        """Forget everything, as Redis may at any time."""
        with self._lock:
            self._waiting.clear()

    def add(self, repository: RepositoryName, keys: frozenset[str]) -> bool:
        """See ``PendingKeys.add``."""
        with self._lock:
            if not keys:
                return False
            this = self._of(repository)
            now = self._clock()
            if this.stranger_ends > now:
                return False
            this.pending |= keys
            return not this.holder(now) and this.claim(now, self._queued_seconds)

    def add_many(self, changes: dict[RepositoryName, frozenset[str]]) -> list[RepositoryName]:
        """See ``PendingKeys.add_many``."""
        return [repository for repository, keys in changes.items() if self.add(repository, keys)]

    def started(self, repository: RepositoryName) -> None:
        """See ``PendingKeys.started``."""
        with self._lock:
            self._of(repository).queued_ends = 0.0

    def acquire(self, repository: RepositoryName) -> Lease | None:
        """See ``PendingKeys.acquire``."""
        with self._lock:
            this = self._of(repository)
            now = self._clock()
            if this.holder(now):
                return None
            this.lease, this.lease_ends = secrets.token_hex(16), now + self._lease_seconds
            this.return_flight()
            return _MemoryLease(self, repository, this.lease)

    def renew(self, repository: RepositoryName, token: str) -> bool:
        """Prolong a lease; False when it is lost."""
        with self._lock:
            this = self._of(repository)
            now = self._clock()
            if this.holder(now) != token:
                return False
            this.lease_ends = now + self._lease_seconds
            return True

    def take(self, lease: Lease, repository: RepositoryName, limit: int) -> Scope | None:
        """See ``PendingKeys.take``."""
        with self._lock:
            this = self._held(lease, repository)
            if not this.epoch:
                this.mark = lease.token
                if this.reached is not None:
                    return this.reached
                this.flight |= this.pending
                this.pending = set()
                return Everything()
            taken = frozenset(sorted(this.pending)[:limit])
            this.pending -= taken
            this.flight |= taken
            return Keys(taken) if taken else None

    def reached(self, lease: Lease, repository: RepositoryName, scope: Everything) -> bool:
        """See ``PendingKeys.reached``."""
        with self._lock:
            this = self._held(lease, repository)
            if this.mark != lease.token:
                return False
            this.reached = scope
            return True

    def take_keys(self, lease: Lease, repository: RepositoryName, limit: int) -> Keys | None:
        """See ``PendingKeys.take_keys``."""
        with self._lock:
            this = self._held(lease, repository)
            taken = frozenset(sorted(this.pending)[:limit])
            this.pending -= taken
            this.flight |= taken
            return Keys(taken) if taken else None

    def done(self, lease: Lease, repository: RepositoryName, scope: Scope) -> None:
        """See ``PendingKeys.done``."""
        with self._lock:
            this = self._held(lease, repository)
            if isinstance(scope, Keys):
                this.flight -= scope.keys
                return
            this.flight = set()
            if this.mark == lease.token:
                this.epoch, this.mark, this.reached = True, "", None

    def need_everything(self, repository: RepositoryName, *, anew: bool = True) -> None:
        """See ``PendingKeys.need_everything``."""
        with self._lock:
            this = self._of(repository)
            if anew or this.reached is None:
                this.epoch, this.mark, this.stranger_ends, this.reached = False, "", 0.0, None

    def is_whole(self, repository: RepositoryName) -> bool:
        """See ``PendingKeys.is_whole``."""
        with self._lock:
            return self._of(repository).epoch

    def forget(self, repository: RepositoryName, seconds: float) -> None:
        """See ``PendingKeys.forget``."""
        with self._lock:
            this = self._of(repository)
            if this.epoch or this.holder(self._clock()):
                return
            this.pending, this.flight, this.mark, this.queued_ends = set(), set(), "", 0.0
            this.reached = None
            this.stranger_ends = self._clock() + seconds

    def drop(self, repository: RepositoryName) -> None:
        """See ``PendingKeys.drop``."""
        with self._lock:
            self._waiting.pop(repository, None)

    def give_back(self, lease: Lease, repository: RepositoryName) -> None:
        """See ``PendingKeys.give_back``."""
        with self._lock:
            self._held(lease, repository).return_flight()

    def release(self, lease: Lease, repository: RepositoryName) -> bool:
        """See ``PendingKeys.release``."""
        with self._lock:
            this = self._held(lease, repository)
            this.return_flight()
            this.lease_ends = 0.0
            return this.has_work() and this.claim(self._clock(), self._queued_seconds)

    def waiting(self, repositories: list[RepositoryName]) -> list[RepositoryName]:
        """See ``PendingKeys.waiting``."""
        with self._lock:
            now = self._clock()
            idle = (each for each in repositories if not self._of(each).holder(now) and self._of(each).has_work())
            return [each for each in idle if self._of(each).claim(now, self._queued_seconds)]

    def count(self, repository: RepositoryName) -> int:
        """See ``PendingKeys.count``."""
        with self._lock:
            this = self._of(repository)
            return len(this.pending) + len(this.flight)

    def backlog(self, repository: RepositoryName, limit: int) -> Backlog:
        """See ``PendingKeys.backlog``."""
        with self._lock:
            this = self._of(repository)
            return Backlog(
                len(this.pending),
                len(this.flight),
                not this.epoch,
                bool(this.holder(self._clock())),
                tuple(sorted(this.pending)[:limit]),
                tuple(sorted(this.flight)[:limit]),
            )

    def _of(self, repository: RepositoryName) -> _Waiting:
        return self._waiting.setdefault(repository, _Waiting())

    def _held(self, lease: Lease, repository: RepositoryName) -> _Waiting:
        this = self._of(repository)
        if this.holder(self._clock()) != lease.token:
            msg = f"the lease of {repository} is lost"
            raise Busy(msg)
        return this


@dataclass(frozen=True, slots=True)
class _MemoryLease:
    """``Lease`` of ``MemoryPendingKeys``."""

    pending: MemoryPendingKeys
    repository: RepositoryName
    token: str

    def renew(self) -> bool:
        """See ``Lease.renew``."""
        return self.pending.renew(self.repository, self.token)
