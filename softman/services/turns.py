"""Which turns publishers make: not those that would fail again, not too many of one owner, none for strangers.

A turn that fails for a reason that does not pass by itself (a quota, a bucket of somebody else, a refused revision) is
remembered with its reason, and the repository is held off for a while that grows with each failure. Nothing is dropped
by it: everything is compared when the next turn comes. A sync that somebody asked for is never held off.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from softman.adapters.ports import Lease, PendingKeys, Registry, TurnStates
from softman.errors import PermanentError, SoftmanError
from softman.log import get_logger
from softman.model import Failure, Part, Scope, State, Stranger, Turn
from softman.names import RepositoryName
from softman.services.keeper import LeaseKeeper
from softman.services.lifecycle import check_open, is_closed, known

FIRST_PAUSE, LONGEST_PAUSE = 30.0, 900.0
"""Seconds that a failing repository is held off: the first time, doubled with each further one, and at most."""
STRANGER_SECONDS = 60.0
"""How long events of a bucket are dropped unseen when it was found to be no repository."""

log = get_logger(__name__)


class MakesTurns(Protocol):
    """A publisher, as far as turns go."""

    def publish_changes(self, name: RepositoryName) -> Turn:
        """Publish what is pending."""

    def sync_everything(self, name: RepositoryName, *, anew: bool = True) -> Turn:
        """Publish the full difference."""

    def sync_part(self, name: RepositoryName, part: Part) -> Turn:
        """Publish the difference in a part of the bucket."""

    def repositories(self) -> list[RepositoryName]:
        """All repositories that take commits."""


class KeysOnly:
    """``PendingKeys`` for the interactive queue: pending keys are handed out, full syncs are left to the bulk queue."""

    def __init__(self, pending: PendingKeys) -> None:
        self._pending = pending

    def take(self, lease: Lease, repository: RepositoryName, limit: int) -> Scope | None:
        """The pending keys, never everything."""
        return self._pending.take_keys(lease, repository, limit)

    def __getattr__(self, name: str) -> object:
        return getattr(self._pending, name)


class Turns:
    """Makes turns, with a memory.

    Args:
        publisher: makes the turn itself. For ``interactive`` turns it must take pending keys from ``KeysOnly``.
        registry: whether there is a repository, and whose.
        pending: changed keys.
        states: the memory.
        most: turns of one owner at the same time; interactive and others are counted apart.
        lease_seconds: time to live of a place.
        clock: the present time, with a time zone.
        interactive: whether full syncs are left to others.
    """

    def __init__(
        self,
        publisher: MakesTurns,
        registry: Registry,
        pending: PendingKeys,
        states: TurnStates,
        *,
        most: int,
        lease_seconds: float,
        clock: Callable[[], datetime],
        interactive: bool,
    ) -> None:
        self._publisher = publisher
        self._registry = registry
        self._pending = pending
        self._states = states
        self._most = most
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._interactive = interactive

    def publish_changes(self, name: RepositoryName) -> Turn:
        """Publish what is pending, unless the repository is held off or its owner has enough turns.

        Raises:
            PermanentError: it cannot be published; the repository is held off.
        """
        failure = self._states.failure(name)
        if failure is not None and self._now() < failure.again_at:
            self._pending.started(name)  # the sweeper asks again when the time has come
            return Turn()
        record = self._registry.get(name)
        if record is None:
            return self._refuse(name)
        if record.state is State.RETIRED:
            self._pending.drop(name)
            return Turn(connected=True)
        if is_closed(record):
            self._pending.started(name)  # its keys wait; the sweeper asks again when it is open
            return Turn()
        turn = self._make(name, self._publisher.publish_changes)
        if self._interactive and turn.again and not self._pending.count(name):
            return replace(turn, bulk=True)  # what is left is everything
        return turn

    def sync_everything(self, name: RepositoryName, *, anew: bool = True) -> Turn:
        """Publish the full difference between bucket and repository, whatever happened before.

        Args:
            name: the repository.
            anew: from the front, though one that was cut could go on.

        Raises:
            CandidateRefused: the repository is locked, paused or retired.
            PermanentError: it cannot be published; the repository is held off.
        """
        turn = self._make(name, lambda each: self._publisher.sync_everything(each, anew=anew))
        if turn.crowded:
            self._pending.need_everything(name, anew=anew)
        return turn

    def sync_part(self, name: RepositoryName, part: Part) -> Turn:
        """Publish the difference in a part of the bucket, whatever happened before.

        Raises:
            Busy: another publisher is at work; try again later.
            PermanentError: it cannot be published; the repository is held off.
        """
        turn = self._make(name, lambda each: self._publisher.sync_part(each, part))
        return replace(turn, rest=part) if turn.crowded else turn

    def forget(self, name: RepositoryName) -> str:
        """Forget what a retired repository was to publish, and take the lease from who is at it.

        Returns:
            What was done, in words.

        Raises:
            NotFound: there is no such repository.
        """
        if known(self._registry, name).state is not State.RETIRED:
            return "it is restored; nothing is forgotten"
        self._pending.drop(name)
        self._states.set_failure(name, None)
        return "nothing is pending"

    def waiting(self) -> list[RepositoryName]:
        """Repositories with pending keys that nobody works on, and that are not held off."""
        now = self._now()
        failures = ((name, self._states.failure(name)) for name in self._publisher.repositories())
        free = [name for name, failure in failures if failure is None or now >= failure.again_at]
        return self._pending.waiting(free)

    def _make(self, name: RepositoryName, make: Callable[[RepositoryName], Turn]) -> Turn:
        record = known(self._registry, name)
        if is_closed(record):
            check_open(record)
        kind = "interactive" if self._interactive else "bulk"
        with self._place(f"{record.owner.user}:{kind}") as free:
            if not free:
                return Turn(again=True, bulk=not self._interactive, crowded=True)
            try:
                turn = make(name)
            except PermanentError as exc:
                self._note(name, exc)
                raise
        if not turn.held_elsewhere:
            self._states.set_failure(name, None)
        return turn

    def _refuse(self, name: RepositoryName) -> Turn:
        """Events of a bucket that is no repository: forgotten, reported, and for a while not even looked at."""
        reason = "there is no repository for this bucket"
        self._pending.forget(name, STRANGER_SECONDS)
        self._states.add_stranger(Stranger(name.bucket, reason, self._now()))
        log.warning("events are refused", bucket=name.bucket, reason=reason)
        return Turn()

    def _note(self, name: RepositoryName, error: PermanentError) -> None:
        """Hold the repository off, and forget which keys there were: the next turn compares everything."""
        now = self._now()
        before = self._states.failure(name)
        times = 1 if before is None else before.times + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times - 1, 30))
        since = now if before is None else before.since
        self._states.set_failure(name, Failure(str(error), error.code, since, now, times, now + pause))
        self._pending.need_everything(name)
        self._pending.started(name)  # nobody asks for the keys that came meanwhile, so nobody may rely on it

    @contextmanager
    def _place(self, owner: str) -> Iterator[bool]:
        place = self._states.enter(owner, self._most)
        if place is None:
            yield False
            return
        try:
            with LeaseKeeper(place, self._lease_seconds):
                yield True
        finally:
            with suppress(SoftmanError):  # it ends by itself
                self._states.leave(owner, place)

    def _now(self) -> float:
        return self._clock().timestamp()
