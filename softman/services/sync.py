"""Carrying out a plan inside one transaction: observations in, catalog changes out. One slice is one revision."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from softman.cvmfs.format.entry import Entry
from softman.errors import Busy, Forbidden, NotFound, PermanentError, SoftmanError, TransientError
from softman.log import get_logger
from softman.model import MAX_REPAIRS, BucketObject, Refusal
from softman.services.allowance import Allowance
from softman.services.archives.tree import StagedTree
from softman.services.headstart import Outcome
from softman.services.looking import WEIGHT, Looking
from softman.services.mapping import Rules, Target, TargetKind, claimants
from softman.services.observe import Gone, Observation, Same, Seen
from softman.services.plan import Look, Passed, Step, Unmark, Vanished
from softman.services.publication import Publication, Tally
from softman.services.rivals import Rivals

_FAILURES = 20
"""Objects in a row that cannot be read before the object store is believed to be away."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SliceLimits:
    """When a slice is full: whichever comes first. Seconds and bytes read."""

    objects: int
    bytes: int
    seconds: float


class Gate:
    """Says of each object, before its content is read, whether it can be published. Threads may share it.

    Args:
        allowance: the quotas.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._expected: dict[str, tuple[Target, Entry | None, Refusal | None]] = {}

    def expect(self, target: Target, shown: Entry | None, refusal: Refusal | None) -> None:
        """``target`` will be looked at; ``shown`` is what is shown of its key, ``refusal`` holds if it stays there."""
        self._expected[target.key] = target, shown, refusal

    def admit(self, target: Target, info: BucketObject) -> Refusal | None:
        """Why the object cannot be published at the settled ``target``; None reserves what it takes."""
        expected, shown, refusal = self._expected.get(target.key, (target, None, None))
        if refusal is not None and expected.path == target.path:
            return refusal
        return self._allowance.reserve(target, info, shown)

    def is_contested(self, key: str, refusal: Refusal) -> bool:
        """Whether ``refusal`` is the one that ``expect`` was told for ``key``."""
        expected = self._expected.get(key)
        return expected is not None and expected[2] is refusal

    def forget(self, key: str) -> None:
        """``key`` is done with; what was reserved and not taken is free."""
        self._expected.pop(key, None)
        self._allowance.release(key)


@dataclass(frozen=True, slots=True)
class _Contested:
    """Another key has the place of this one, or had when its turn came to be looked at."""

    target: Target


@dataclass(frozen=True, slots=True)
class _Freed:
    """Keys that may get a place that became free."""

    keys: list[str]


_Result = Observation | Vanished | Unmark | _Contested | _Freed


class _Promise(Protocol):
    """What will come of something."""

    @property
    def weight(self) -> int:
        """How much it is."""

    def result(self) -> _Result:
        """What came of it, once it is done."""

    def discard(self) -> None:
        """Nobody wants it any more."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known at once."""

    value: _Result
    weight: int = 1

    def result(self) -> _Result:
        return self.value

    def discard(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Admitted:
    """What was begun before the slice: only now it can be said whether it may be published."""

    begun: Outcome
    gate: Gate

    @property
    def weight(self) -> int:
        return self.begun.weight

    def result(self) -> Observation:
        seen = self.begun.result()
        return (self.gate.admit(seen.target, seen.info) if isinstance(seen, Seen) else None) or seen

    def discard(self) -> None:
        self.begun.discard()


@dataclass(frozen=True, slots=True)
class _Work:
    """Something under way, in the order of the steps; ``keys`` are those to try again when it fails."""

    outcome: _Promise
    keys: tuple[str, ...] = ()
    target: Target | None = None
    verify: bool = False


class Slice:
    """Applies steps to one transaction until it is full.

    Args:
        publication: changes the transaction.
        looking: looks at objects; the ``admit`` of its observer is that of ``gate``.
        rules: the mapping.
        gate: what may be published.
        rivals: who gets a path that became free.
        tally: counts what happens.
        ahead: how many objects may be read ahead of the catalog, many small ones counting as one.
        limits: when the slice is full.
        between: called between objects; raises when the lease is lost.
        hurry: whether the slice shall end early.
        begun: gives what was begun for a key before the slice.
    """

    def __init__(
        self,
        publication: Publication,
        looking: Looking,
        *,
        rules: Rules,
        gate: Gate,
        rivals: Rivals,
        tally: Tally,
        ahead: int,
        limits: SliceLimits,
        between: Callable[[], None],
        hurry: Callable[[], bool],
        begun: Callable[[str], Outcome | None],
    ) -> None:
        self._publication = publication
        self._looking = looking
        self._rules = rules
        self._gate = gate
        self._rivals = rivals
        self._tally = tally
        self._ahead = ahead * WEIGHT
        self._limits = limits
        self._between = between
        self._hurry = hurry
        self._begun = begun
        self._running: deque[_Work] = deque()
        self._weight = 0
        self._failures = 0
        self._until = time.monotonic() + limits.seconds

    def run(self, steps: Iterator[Step]) -> bool:
        """Take steps until the slice is full; True when ``steps`` ended.

        Raises:
            Busy: the lease is lost.
            ServiceUnavailable: the object store does not answer at all; single objects are noted in the tally.
            Forbidden: it refuses the credentials.
            NotFound: the bucket is gone.
        """
        ended = False
        try:
            while not ended and not self._full():
                ended = not self._start_next(steps)
                if self._weight >= self._ahead:
                    self._finish_oldest()
            while self._running:
                self._finish_oldest()
        finally:
            for work in self._running:
                work.outcome.discard()
        return ended

    def _full(self) -> bool:
        in_flight = self._tally.changes + len(self._running)
        limits = self._limits
        if len(self._tally.repairs) >= MAX_REPAIRS:
            return True
        if in_flight >= limits.objects or self._tally.bytes_read >= limits.bytes or time.monotonic() >= self._until:
            return True
        return self._hurry()

    def _start_next(self, steps: Iterator[Step]) -> bool:
        step = next(steps, None)
        if step is None:
            return False
        if isinstance(step, Refusal):
            self._tally.refuse(step)
        elif isinstance(step, Passed):
            self._between()
        elif isinstance(step, Look):
            self._look(step.target, verify=step.verify, size=step.size)
        else:
            self._begin(_Work(_Known(step)))
        return True

    def _begin(self, work: _Work) -> None:
        self._running.append(work)
        self._weight += work.outcome.weight

    def _look(self, target: Target, *, verify: bool = False, size: int | None = None) -> None:
        refusal = self._publication.blocked(target)
        if refusal is not None and target.kind is not TargetKind.ARCHIVE:
            # Not refused at once: what has the place may be about to go. An archive may yet be a file elsewhere.
            self._begin(_Work(_Known(_Contested(target))))
            return
        shown = self._publication.shown(target.key)
        self._gate.expect(target, shown, refusal)
        begun = None if verify else self._begun(target.key)
        if begun is not None:
            self._begin(_Work(_Admitted(begun, self._gate), (target.key,), target))
            return
        outcome = self._looking.start(target, None if verify else shown, size)
        self._begin(_Work(outcome, (target.key,), target, verify))

    def _finish_oldest(self) -> None:
        self._between()
        work = self._running.popleft()
        self._weight -= work.outcome.weight
        try:
            result = work.outcome.result()
        except (Busy, Forbidden, NotFound):
            raise  # not one object's fault
        except TransientError as exc:
            self._fail(work, exc)
        except PermanentError as exc:
            self._tally.refuse(Refusal(work.keys[0], str(exc)))
        else:
            self._failures = 0 if work.keys else self._failures
            self._apply(work, result)
        for key in work.keys:
            self._gate.forget(key)
        self._follow_up()

    def _fail(self, work: _Work, error: SoftmanError) -> None:
        self._failures += 1
        if self._failures >= _FAILURES:
            raise error
        _log.info("object is left for later", key=work.keys[0], error=str(error))
        self._tally.failed.update(dict.fromkeys(work.keys, str(error)))

    def _apply(self, work: _Work, result: _Result) -> None:
        publication, tally = self._publication, self._tally
        if isinstance(result, Refusal):
            self._refuse(work.target, result)
        elif isinstance(result, _Contested):
            self._settle_contest(result.target)
        elif isinstance(result, Seen):
            tally.looked_at.add(result.target.key)
            try:
                publication.show(result, verify=work.verify)
            finally:
                _close(result)
        elif isinstance(result, Gone):
            tally.looked_at.add(result.target.key)
            publication.withdraw(result.target.key)
        elif isinstance(result, Same):
            tally.looked_at.add(result.target.key)
            tally.unchanged += 1
        elif isinstance(result, Vanished):
            tally.looked_at.add(result.target.key)
            publication.withdraw_at(result.target)
        elif isinstance(result, Unmark):
            publication.unmark(result.path)
        else:
            self._look_at(result.keys)

    def _refuse(self, target: Target | None, refusal: Refusal) -> None:
        if target is not None and target.kind is TargetKind.ARCHIVE and self._gate.is_contested(target.key, refusal):
            self._settle_contest(target)
            return
        self._tally.refuse(refusal)
        if target is not None and target.is_directory:
            self._publication.withdraw(target.key)  # a folder does not stay because of a marker that is none

    def _settle_contest(self, target: Target) -> None:
        refusal = self._publication.blocked(target)
        if refusal is None:
            self._look(target)
        else:
            self._publication.refuse_blocked(target, refusal)

    def _look_at(self, keys: list[str]) -> None:
        for key in keys:
            target = self._rules.target_of(key)
            if isinstance(target, Target):
                self._look(target)

    def _follow_up(self) -> None:
        """A key that lost is remembered, and a path that became free offered to others."""
        publication, rivals = self._publication, self._rivals
        lost, freed = publication.lost, publication.freed
        publication.lost, publication.freed = [], []
        for path, key in lost:
            rivals.add(path, key)
        for path, left in freed:
            if rivals.asks:
                keys = tuple(key for key in claimants(path) if key != left)
                self._begin(_Work(self._looking.run(partial(self._find, path, left)), keys))
            elif keys_there := rivals.find(path, left):
                self._look_at(keys_there)

    def _find(self, path: bytes, left: str) -> _Result:
        return _Freed(self._rivals.find(path, left))


def _close(seen: Seen) -> None:
    """What was unpacked lies in scratch files."""
    if isinstance(seen.content, StagedTree):
        seen.content.close()
