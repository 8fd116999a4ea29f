"""Keys that change while a long sync of the same repository is under way: published between its slices."""

import time
from typing import Final

from softman.adapters.ports import Lease, PendingKeys
from softman.model import Everything, Keys
from softman.names import RepositoryName

_EVERY: Final = 1.0
"""Seconds between two questions whether keys wait."""
_ALONE: Final = 5.0
"""Seconds that a slice of the long sync has, whoever waits."""


class Arrivals:
    """Hands them out, to the holder of the lease.

    Args:
        pending: changed keys.
        lease: the holder's.
        name: the repository.
        limit: keys at a time.

    Attributes:
        fresh: keys that were taken so far: what was listed before may not be so any more.
    """

    def __init__(self, pending: PendingKeys, lease: Lease, name: RepositoryName, limit: int) -> None:
        self.fresh: set[str] = set()
        self._pending = pending
        self._lease = lease
        self._name = name
        self._limit = limit
        self._ask_at = time.monotonic() + _ALONE

    def wait(self) -> bool:
        """Whether keys wait, and a slice has had time enough. Cheap: called for each object."""
        now = time.monotonic()
        if now < self._ask_at:
            return False
        self._ask_at = now + _EVERY
        return self._pending.backlog(self._name, 0).pending > 0

    def take(self) -> Keys | None:
        """Keys to publish now.

        Raises:
            Busy: the lease is lost.
        """
        keys = self._pending.take_keys(self._lease, self._name, self._limit)
        if keys is not None:
            self.fresh |= keys.keys
        return keys

    def reached(self, after: str, rules: str) -> bool:
        """The full sync is published up to ``after``, under ``rules``; whether it will go on there when it is cut.

        Raises:
            Busy: the lease is lost.
        """
        return self._pending.reached(self._lease, self._name, Everything(after, rules))

    def done(self, keys: frozenset[str], later: frozenset[str]) -> None:
        """``keys`` are published, but for those that are left for ``later``; a slice has time of its own again.

        Raises:
            Busy: the lease is lost.
        """
        self._pending.done(self._lease, self._name, Keys(keys - later))
        self._ask_at = time.monotonic() + _ALONE
