"""No history of calls, lost leases and flushes makes ``PendingKeys`` forget a change, or let two hold the lease."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from softman.adapters.memory_pending import MemoryPendingKeys
from softman.adapters.ports import Lease
from softman.errors import Busy
from softman.model import Everything, Keys, Scope
from softman.names import RepositoryName

NAME = RepositoryName("alice", "example.org")
LEASE_SECONDS = 10.0
QUEUED_SECONDS = 20.0
BACK = st.sampled_from([0, 0, 0, 0, 1, 2])
"""Which lease or work, counted from the last: mostly that, sometimes one of a former holder."""


@dataclass(frozen=True)
class Work:
    """A scope taken, and when."""

    lease: Lease
    scope: Scope
    taken_at: int


class PendingMachine(RuleBasedStateMachine):
    """The model knows nothing of sets and marks: only what changed when, and what was published since."""

    @initialize(known=st.sampled_from([True, True, False]))
    def begin(self, known: bool) -> None:
        self.leases: list[Lease] = []
        self.works: list[Work] = []
        self.now = 0.0
        self.step = 0
        self.pending = MemoryPendingKeys(
            lease_seconds=LEASE_SECONDS, queued_seconds=QUEUED_SECONDS, clock=lambda: self.now
        )
        self.changed: dict[str, int] = {}
        """Keys owed to the repository, and when they changed last."""
        self.forgotten: int | None = 0
        """Since when a full sync is owed."""
        self.given_back = 0
        """When keys in flight were last given back: what was taken before is not published by ``done`` any more."""
        self.token = ""
        self.lease_ends = 0.0
        self.queued_ends = 0.0
        if known:
            self.acquire()
            self.take(0, 1)
            self.done(0)
            assert self.forgotten is None

    def tick(self) -> int:
        self.step += 1
        return self.step

    def holds(self, lease: Lease) -> bool:
        return lease.token == self.token and self.now < self.lease_ends

    def note_queued(self, queued: bool) -> None:
        if queued:
            assert self.now >= self.queued_ends, "a task was queued already"
            self.queued_ends = self.now + QUEUED_SECONDS

    @rule(keys=st.frozensets(st.sampled_from("abcdef"), min_size=1))
    def add(self, keys: frozenset[str]) -> None:
        self.changed |= dict.fromkeys(keys, self.tick())
        queued = self.pending.add(NAME, keys)
        assert queued or self.now < self.queued_ends or self.now < self.lease_ends, "nobody would look at the keys"
        self.note_queued(queued)

    @rule()
    def started(self) -> None:
        self.pending.started(NAME)
        self.queued_ends = 0.0

    @rule()
    def acquire(self) -> None:
        lease = self.pending.acquire(NAME)
        assert (lease is not None) == (self.now >= self.lease_ends), "two holders, or none although the lease is free"
        if lease is not None:
            self.token, self.lease_ends = lease.token, self.now + LEASE_SECONDS
            self.leases.append(lease)

    @precondition(lambda self: self.leases)
    @rule(back=BACK)
    def renew(self, back: int) -> None:
        lease = self.leases[-1 - back % len(self.leases)]
        assert lease.renew() == self.holds(lease)
        if self.holds(lease):
            self.lease_ends = self.now + LEASE_SECONDS

    @precondition(lambda self: self.leases)
    @rule(back=BACK, limit=st.integers(1, 4))
    def take(self, back: int, limit: int) -> None:
        lease = self.leases[-1 - back % len(self.leases)]
        with self.fenced(lease):
            scope = self.pending.take(lease, NAME, limit)
            assert (scope == Everything()) == (self.forgotten is not None)
            if isinstance(scope, Keys):
                assert 0 < len(scope.keys) <= limit
                assert scope.keys <= self.changed.keys(), "published for nothing"
            if scope is not None:
                self.works.append(Work(lease, scope, self.tick()))

    @precondition(lambda self: self.works)
    @rule(back=BACK)
    def done(self, back: int) -> None:
        work = self.works.pop(-1 - back % len(self.works))
        with self.fenced(work.lease):
            self.pending.done(work.lease, NAME, work.scope)
            if work.taken_at < self.given_back:
                return
            covered = self.changed.keys() if isinstance(work.scope, Everything) else work.scope.keys
            late = {key: at for key, at in self.changed.items() if at > work.taken_at}
            self.changed = {key: at for key, at in self.changed.items() if key not in covered} | late
            if isinstance(work.scope, Everything) and self.forgotten is not None and self.forgotten < work.taken_at:
                self.forgotten = None

    @precondition(lambda self: self.leases)
    @rule(back=BACK)
    def give_back(self, back: int) -> None:
        lease = self.leases[-1 - back % len(self.leases)]
        with self.fenced(lease):
            self.pending.give_back(lease, NAME)
            self.given_back = self.tick()

    @precondition(lambda self: self.leases)
    @rule(back=BACK)
    def release(self, back: int) -> None:
        lease = self.leases[-1 - back % len(self.leases)]
        with self.fenced(lease):
            queued = self.pending.release(lease, NAME)
            self.lease_ends = 0.0
            assert queued or not self.changed or self.now < self.queued_ends, "keys left with nobody to look at them"
            self.note_queued(queued)

    @contextmanager
    def fenced(self, lease: Lease) -> Iterator[None]:
        """The block runs whole when the lease is held, and is refused at its first call when not."""
        if self.holds(lease):
            yield
        else:
            with pytest.raises(Busy):
                yield

    @rule(event=st.sampled_from(["1", "1", "1", "1", "1", "lease", "queued", "flush", "need everything"]))
    def something_happens(self, event: str) -> None:
        self.now += {"1": 1.0, "lease": LEASE_SECONDS, "queued": QUEUED_SECONDS}.get(event, 0.0)
        if event == "need everything":
            self.pending.need_everything(NAME)
            self.forgotten = self.tick()
        elif event == "flush":
            self.pending.flush()
            self.changed = {}
            self.forgotten = self.tick()
            self.lease_ends = self.queued_ends = 0.0

    @rule()
    def drain(self) -> None:
        owed = bool(self.changed) or self.forgotten is not None
        free = self.now >= self.lease_ends and self.now >= self.queued_ends
        queued = self.pending.waiting([NAME]) == [NAME]
        assert queued == (owed and free)
        self.note_queued(queued)

    @invariant()
    def what_is_owed_is_counted(self) -> None:
        if hasattr(self, "pending"):
            assert self.forgotten is not None or self.pending.count(NAME) >= len(self.changed)

    def teardown(self) -> None:
        """Whoever died, the next holder publishes all that is owed."""
        if not hasattr(self, "pending"):
            return
        self.now += LEASE_SECONDS + QUEUED_SECONDS
        lease = self.pending.acquire(NAME)
        assert lease is not None
        published: set[str] = set()
        while (scope := self.pending.take(lease, NAME, 2)) is not None:
            published |= self.changed.keys() if isinstance(scope, Everything) else scope.keys
            self.pending.done(lease, NAME, scope)
        assert published >= self.changed.keys()
        assert self.pending.count(NAME) == 0


TestPendingKeys = PendingMachine.TestCase
TestPendingKeys.settings = settings(derandomize=True, deadline=None, max_examples=400, stateful_step_count=25)
