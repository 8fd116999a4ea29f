"""One sync: some keys, a part of the bucket, or everything, slice by slice until it ends or the turn is over."""

import time
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from softman.adapters.ports import BucketReader, Records
from softman.cvmfs.snapshot import Snapshot
from softman.errors import Forbidden
from softman.log import get_logger
from softman.model import (
    PUBLISHED_PREFIX,
    BucketObject,
    Everything,
    Keys,
    Part,
    Refusal,
    RegistryRecord,
    Scope,
    SyncReport,
)
from softman.names import RepositoryName
from softman.services.arrivals import Arrivals
from softman.services.bucket_rules import read_rules
from softman.services.configuration import CONFIGURATION_KEY
from softman.services.counting import Amount, Countdown
from softman.services.headstart import HeadStart
from softman.services.keeper import LeaseKeeper
from softman.services.mapping import Rules, SiteRules, Target
from softman.services.plan import Difference, Look, Passed, Step, Vanished, looks, walk
from softman.services.preview import Action, PlannedStep, preview
from softman.services.progress import ProgressRecorder
from softman.services.publication import Tally
from softman.services.rivals import Rivals
from softman.services.slices import Job, SliceMaker, SliceResult, Workplace, never
from softman.services.standing import follows, rules_note
from softman.services.translate import cvmfs_errors

log = get_logger(__name__)


class Course:
    """What a turn did so far, and whether it has done enough.

    Args:
        slices: how many revisions a turn commits at most.
        seconds: how long it lasts at most, not counting the slice at hand.
    """

    def __init__(self, slices: int, seconds: float) -> None:
        self.reports: list[SyncReport] = []
        self._slices = slices
        self._until = time.monotonic() + seconds

    def over(self) -> bool:
        """Whether it has done enough."""
        return len(self.reports) >= self._slices or time.monotonic() >= self._until


@dataclass(slots=True)
class Outcome:
    """How a sync came out.

    Attributes:
        ended: it is finished.
        outdated: nothing was done: the repository does not follow the rules yet, which takes a full difference.
        failed: keys that could not be read now, and why.
        later: keys that came meanwhile and could not be published beside this.
        after: the last key it came to.
    """

    ended: bool = False
    outdated: bool = False
    failed: dict[str, str] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)
    after: str = ""

    @property
    def left(self) -> frozenset[str]:
        """Keys to look at again."""
        return frozenset(self.later | self.failed.keys())


@dataclass(frozen=True, slots=True)
class _Hand:
    """What all slices of a sync have."""

    work: Workplace
    keeper: LeaseKeeper
    course: Course
    broken: Refusal | None
    """The configuration is not valid."""
    outcome: Outcome


@dataclass(slots=True)
class _Plan:
    """What is to be done, and what is noted meanwhile."""

    steps: Iterator[Step]
    rivals: Rivals
    complete: bool
    compared: Callable[[], int]
    left: Callable[[int], Amount | None]
    words: str
    head: HeadStart | None
    known: dict[str, Refusal]
    """Refused before; in the end those are forgotten that were not refused again."""


class ScopeSync:
    """Publishes scopes.

    Args:
        buckets: the object store, read only.
        records: where reports go.
        slices: makes slices.
        site: what the site's settings say about all repositories.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        buckets: BucketReader,
        records: Records,
        slices: SliceMaker,
        site: SiteRules,
        clock: Callable[[], datetime],
    ) -> None:
        self._buckets = buckets
        self._records = records
        self._slices = slices
        self._site = site
        self._clock = clock

    def run(
        self,
        work: Workplace,
        record: RegistryRecord,
        scope: Scope | Part,
        keeper: LeaseKeeper,
        course: Course,
        *,
        arrivals: Arrivals,
    ) -> Outcome:
        """Publish one scope, as far as the turn goes; between the slices of a long one, what changed meanwhile.

        Raises:
            Forbidden: the bucket is somebody else's.
            Conflict, Busy, CandidateRefused, ServiceUnavailable: as ``SliceMaker.make``.
        """
        check_owner(self._buckets, work.name)
        found = read_rules(self._buckets, record, self._site)
        work = replace(work, rules=found.rules, configuration=found.changed)
        note = rules_note(found.rules).decode("latin-1")
        if isinstance(scope, Everything) and scope.rules != note:
            scope = Everything(rules=note)
        outcome = Outcome()
        with self._plan(work, scope, outcome, arrivals.fresh) as plan:
            progress = ProgressRecorder(
                self._records,
                work.name,
                plan.words,
                compared=plan.compared,
                left=plan.left,
                clock=lambda: self._clock().timestamp(),
            )
            verify = isinstance(scope, Part) and scope.verify
            hurry = never if isinstance(scope, Keys) else arrivals.wait
            job = Job(
                plan.steps,
                plan.rivals,
                plan.complete,
                progress.watch,
                hurry=hurry,
                verify=verify,
                head=None if verify else plan.head,
            )
            hand = _Hand(work, keeper, course, found.refusal, outcome)
            # One that begins where the one before did, when it is cut, has to come further.
            may_be_cut = not isinstance(scope, Everything)
            try:
                while not (outcome.ended or outcome.outdated or (may_be_cut and course.over())):
                    result = self._make(hand, job, plan)
                    may_be_cut = may_be_cut or result.report is not None
                    outcome.ended, outcome.outdated = result.ended, result.outdated
                    may_be_cut = self._is_noted(arrivals, scope, outcome) or may_be_cut
                    progress.committed(result.tally, result.report.revision if result.report else None)
                    if not (outcome.ended or outcome.outdated or isinstance(scope, Keys)):
                        self._let_in(hand, arrivals, plan)
                if outcome.ended and plan.known:
                    self._records.set_refusals(work.name, [], frozenset(plan.known))
            finally:
                progress.end()
        return outcome

    def _is_noted(self, arrivals: Arrivals, scope: Scope | Part, outcome: Outcome) -> bool:
        """Note how far a full sync came, unless something on the way has to be looked at again."""
        if not isinstance(scope, Everything) or outcome.ended or outcome.outdated:
            return False
        if outcome.left or not outcome.after:
            return False
        return arrivals.reached(outcome.after, scope.rules)

    def _make(self, hand: _Hand, job: Job, plan: _Plan) -> SliceResult:
        result = self._slices.make(hand.work, job, hand.keeper)
        hand.outcome.failed.update(result.tally.failed)
        self._record(hand.work.name, result, hand.broken, plan, hand.course)
        return result

    def _let_in(self, hand: _Hand, arrivals: Arrivals, plan: _Plan) -> None:
        """Publish keys that came since the difference began; what it found out of them before does not count."""
        taken = arrivals.take()
        if taken is None:
            return
        name, keys, outcome = hand.work.name, taken.keys, hand.outcome
        if plan.head:
            plan.head.drop()  # it may have seen what these keys were before
        if CONFIGURATION_KEY in keys:
            outcome.later.add(CONFIGURATION_KEY)  # other rules are for another difference
        rivals = Rivals(self._buckets, name.bucket, beside=plan.rivals)
        steps = looks(keys, hand.work.rules)
        words = f"{len(keys)} changed keys"
        job = Job(steps, rivals, complete=False, watch=lambda _tally: None, within=plan.complete)
        beside = replace(plan, steps=steps, rivals=rivals, words=words)
        while not self._make(hand, job, beside).ended:
            pass
        arrivals.done(keys, outcome.left)

    def preview(self, work: Workplace, record: RegistryRecord, part: Part) -> Iterator[PlannedStep]:
        """What a sync of a part would do; nothing is changed, and no object is read.

        Raises:
            Forbidden: the bucket is somebody else's.
            ServiceUnavailable: bucket or repository do not answer.
        """
        check_owner(self._buckets, work.name)
        found = read_rules(self._buckets, record, self._site)
        if found.refusal is not None:
            yield PlannedStep(Action.REFUSE, found.refusal.key, "", found.refusal.reason)
        with cvmfs_errors(f"reading {work.name}"), work.reader.snapshot() as base:
            difference = self._difference(work.name, found.rules, part, base)
            yield from preview(difference.steps(self._list(work.name, part), walk(base, part)), base)

    @contextmanager
    def _plan(self, work: Workplace, scope: Scope | Part, outcome: Outcome, fresh: AbstractSet[str]) -> Iterator[_Plan]:
        """What to look at. Only a difference needs the catalogs of the revision that it starts from."""
        name, rules = work.name, work.rules
        if isinstance(scope, Keys):
            rivals = Rivals(self._buckets, name.bucket)
            number = len(scope.keys)
            words = f"{number} changed keys"

            def left(done: int) -> Amount:
                return Amount(max(0, number - done))

            yield _Plan(looks(scope.keys, rules), rivals, False, lambda: 0, left, words, None, {})
            return
        part = scope if isinstance(scope, Part) else Part(after=scope.after)
        complete = isinstance(scope, Everything) or part in {Part(), Part(verify=True)}
        countdown = Countdown(lambda: self._list(name, part))
        with cvmfs_errors(f"publishing {name}"), work.reader.snapshot() as base, closing(countdown):
            difference = self._difference(name, rules, part, base)
            steps = difference.steps(countdown.passing(self._list(name, part)), walk(base, part))
            with closing(HeadStart(steps, self._slices.objects)) as head:
                yield _Plan(
                    _followed(_renewed(head, fresh, rules), outcome),
                    Rivals(self._buckets, name.bucket, complete=complete and not part.after),
                    complete,
                    lambda: difference.compared,
                    lambda _done: countdown.left(),
                    _in_words(scope),
                    head,
                    {key: each for key, each in difference.known.items() if _is_in(part, key)},
                )

    def _difference(self, name: RepositoryName, rules: Rules, part: Part, base: Snapshot) -> Difference:
        return Difference(
            rules,
            {refusal.key: refusal for refusal in self._records.refusals(name)},
            settled=follows(base.lookup(b""), rules),
            verify=part.verify,
        )

    def _list(self, name: RepositoryName, part: Part) -> Iterator[BucketObject]:
        return self._buckets.list_objects(name.bucket, part.prefix, part.after)

    def _record(
        self, name: RepositoryName, result: SliceResult, broken: Refusal | None, plan: _Plan, course: Course
    ) -> None:
        tally = result.tally
        if result.outdated:
            return
        for key in tally.looked_at:
            plan.known.pop(key, None)
        refused = [*tally.refused.values(), *([broken] if broken else [])]
        plan.known.pop(CONFIGURATION_KEY, None)
        self._records.set_refusals(name, refused, frozenset({*tally.looked_at, CONFIGURATION_KEY}))
        if result.report is not None:
            report = replace(result.report, scope=plan.words)
            course.reports.append(report)
            self._records.set_report(report)
            _log_report(name, report, tally)


def check_owner(buckets: BucketReader, name: RepositoryName) -> None:
    """Make sure that the bucket of a repository belongs to the repository's owner.

    Raises:
        Forbidden: it is somebody else's.
    """
    owner = buckets.owner(name.bucket)
    if owner != name.bucket:
        msg = f"the bucket {name.bucket} belongs to {owner}, not to {name.bucket}; nothing of it is published"
        raise Forbidden(msg)


def _renewed(steps: Iterator[Step], fresh: AbstractSet[str], rules: Rules) -> Iterator[Step]:
    """The steps, but for keys that were published since the listing: those are looked at, whatever it says."""
    for step in steps:
        if isinstance(step, Passed):
            yield step
            continue
        key = step.target.key if isinstance(step, Look | Vanished) else getattr(step, "key", "")
        if key not in fresh:
            yield step
            continue
        target = rules.target_of(key)
        if isinstance(target, Target):
            yield Look(target, step.verify if isinstance(step, Look) else False)
        else:
            yield step


def _followed(steps: Iterator[Step], outcome: Outcome) -> Iterator[Step]:
    """The steps, with the last key noted. All steps that a slice took are done when it is committed."""
    for step in steps:
        if isinstance(step, Look | Vanished):
            outcome.after = step.target.key
        elif isinstance(step, Refusal | Passed):
            outcome.after = step.key
        yield step


def _is_in(part: Part, key: str) -> bool:
    return key.startswith(part.prefix) and key > part.after


def _in_words(scope: Scope | Part) -> str:
    if not isinstance(scope, Part):
        return "everything"
    where = "everything" if scope.prefix == PUBLISHED_PREFIX else scope.prefix
    return f"{where}, verifying content" if scope.verify else where


def _log_report(name: RepositoryName, report: SyncReport, tally: Tally) -> None:
    log.info(
        "published",
        repository=str(name),
        revision=report.revision,
        added=tally.added,
        changed=tally.changed,
        removed=tally.removed,
        refused=len(tally.refused),
        seconds=round(report.seconds, 3),
    )
