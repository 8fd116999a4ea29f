"""One slice: a transaction on the current revision, staged, sealed, and committed through stratum 0's door."""

import time
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from softman.adapters.ports import BucketReader, CommitDoor
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Balance, Transaction
from softman.errors import Conflict, ServiceUnavailable
from softman.model import Base, BucketObject, CommitRequest, OwnerQuota, Quotas, SyncReport
from softman.names import RepositoryName
from softman.services.allowance import Allowance
from softman.services.archives.limits import ArchiveLimits
from softman.services.headstart import THREADS as SMALL_THREADS
from softman.services.headstart import HeadStart
from softman.services.keeper import LeaseKeeper
from softman.services.looking import Looking
from softman.services.mapping import Rules, Target
from softman.services.observe import Admit, Observer
from softman.services.plan import Step
from softman.services.proof import signed
from softman.services.publication import Publication, Tally
from softman.services.rivals import Rivals
from softman.services.soundness import Soundness
from softman.services.standing import Standing
from softman.services.sync import Gate, Slice, SliceLimits
from softman.services.translate import cvmfs_errors


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a publisher needs of one repository."""

    name: RepositoryName
    gateway_key: Callable[[bool], GatewayKey]
    """The gateway key; as it is now, when asked so, else as it was known a while ago."""
    reader: RepositoryReader
    quotas: Quotas
    owner_quota: Callable[[], OwnerQuota | None]
    """What the owner may have in all repositories, and has elsewhere now; None for no limit."""
    rules: Rules
    configuration: str | None = None
    """The bucket's configuration, when the registry does not have it yet."""


def never() -> bool:
    """Nobody waits."""
    return False


@dataclass(frozen=True, slots=True)
class Job:
    """One sync, which may take many slices.

    Attributes:
        steps: what is left of the plan.
        rivals: who gets a path that becomes free.
        complete: at its end the repository follows the rules; else it must follow them at the beginning.
        watch: told of the tally between objects.
        within: it goes on beside a complete one, under the rules that this carries through.
        verify: what is stored of the repository is read, too.
        hurry: says when something else shall have its turn; asked for each object.
        head: begins with the next slice while one is committed; None for a sync of one slice.
    """

    steps: Iterator[Step]
    rivals: Rivals
    complete: bool
    watch: Callable[[Tally], None]
    within: bool = False
    verify: bool = False
    hurry: Callable[[], bool] = never
    head: HeadStart | None = None


@dataclass(frozen=True, slots=True)
class SliceResult:
    """What came of a slice.

    Attributes:
        ended: the steps are used up.
        report: None when nothing had to change.
        outdated: nothing was done, because the repository does not follow the rules yet.
    """

    ended: bool
    report: SyncReport | None
    tally: Tally
    outdated: bool = False


@dataclass(frozen=True, slots=True)
class SliceSettings:
    """How slices are made.

    Attributes:
        limits: when one is full.
        threads: objects read at the same time.
        balance: limits of catalogs; None leaves them as they are.
        archives: what an archive may hold.
        scratch: a directory for temporary files.
    """

    limits: SliceLimits
    threads: int
    balance: Balance | None
    archives: ArchiveLimits
    scratch: Path


class SliceMaker:
    """Makes slices.

    Args:
        buckets: the object store, read only.
        door: the way to stratum 0.
        open_staging: makes the staging area of a repository's new transaction.
        settings: how slices are made.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        buckets: BucketReader,
        door: CommitDoor,
        open_staging: Callable[[RepositoryName], Staging],
        settings: SliceSettings,
        clock: Callable[[], datetime],
    ) -> None:
        self._buckets = buckets
        self._door = door
        self._open_staging = open_staging
        self._settings = settings
        self._clock = clock

    @property
    def objects(self) -> int:
        """How many changed objects fill a slice."""
        return self._settings.limits.objects

    def make(self, work: Workplace, job: Job, keeper: LeaseKeeper) -> SliceResult:
        """Apply steps until the slice is full or they end, and commit what came of it.

        Raises:
            Conflict: somebody else committed meanwhile; nothing was published.
            Busy: the lease was lost; nothing was published.
            CandidateRefused: stratum 0 will not sign the revision.
            ServiceUnavailable: bucket, repository or stratum 0 do not answer.
        """
        started = time.monotonic()
        tally = Tally()
        with self._transaction(work, job) as (transaction, staging, here):
            sound = Soundness(work.reader)
            if job.verify:
                staging.published = sound
            standing = Standing(transaction, work.rules, int(self._clock().timestamp()))
            if not (job.complete or job.within or standing.is_current):
                return SliceResult(ended=False, report=None, tally=tally, outdated=True)
            standing.prepare()
            ended = self._apply(work, job, transaction, staging, tally=tally, keeper=keeper, damaged=sound.damaged)
            if ended and job.complete and not tally.failed:
                standing.finish()
            candidate = transaction.seal()
            if candidate is None and not tally.repairs:
                return SliceResult(ended, None, tally)
            keeper.check()
            new = here.root_hash if candidate is None else str(candidate.root_hash)
            now = self.commit(work, here, new, staging.transaction, repairs=tally.repairs)
        return SliceResult(ended, self._report(work.name, now, tally, time.monotonic() - started), tally)

    def commit(
        self, work: Workplace, base: Base, new_root_hash: str, transaction_id: str, *, repairs: Iterable[bytes] = ()
    ) -> Base:
        """Ask stratum 0 to sign ``new_root_hash``, and to repair files; the revision that is current then.

        Raises:
            Conflict: the base is not current any more.
        """
        request = CommitRequest(
            str(work.name),
            transaction_id,
            base,
            new_root_hash,
            key_id="",
            signature="",
            configuration=work.configuration,
            repairs=tuple(path.decode(errors="surrogateescape") for path in repairs),
        )
        try:
            answer = self._door.commit(signed(request, work.gateway_key(False)))
            if answer.key_replaced:  # what is staged is still good
                answer = self._door.commit(signed(request, work.gateway_key(True)))
        except ServiceUnavailable:
            # The answer is lost, perhaps not the commit: the manifest knows.
            with cvmfs_errors(f"reading {work.name}"):
                manifest = work.reader.manifest()
            if str(manifest.root_hash) != new_root_hash:
                raise
            return Base(manifest.revision, new_root_hash)
        if not answer.committed:
            msg = (
                f"{work.name} did not take a revision, revision {answer.current.revision} is in force: {answer.reason}"
            )
            raise Conflict(msg)
        return answer.current

    def _apply(
        self,
        work: Workplace,
        job: Job,
        transaction: Transaction,
        staging: Staging,
        *,
        tally: Tally,
        keeper: LeaseKeeper,
        damaged: AbstractSet[tuple[ContentHash, ObjectKind]],
    ) -> bool:
        allowance = Allowance(work.quotas, transaction.counters.total, work.owner_quota())
        gate = Gate(allowance)
        settings = self._settings

        def between() -> None:
            keeper.check()
            job.watch(tally)

        publication = Publication(transaction, work.rules, allowance, tally, damaged=damaged)
        with (
            ThreadPoolExecutor(settings.threads, thread_name_prefix="fetch") as executor,
            ThreadPoolExecutor(SMALL_THREADS, thread_name_prefix="fetch-small") as small,
        ):
            ended = Slice(
                publication,
                Looking(self._observer(work, staging, keeper, gate.admit), executor, small),
                rules=work.rules,
                gate=gate,
                rivals=job.rivals,
                tally=tally,
                ahead=2 * settings.threads,
                limits=settings.limits,
                between=between,
                hurry=job.hurry,
                begun=job.head.take if job.head else _nothing_begun,
            ).run(job.steps)
        tally.held = allowance.used
        if job.head:
            job.head.drop()
        if job.head and not ended:
            coming = self._open_staging(work.name)
            job.head.begin(coming, self._observer(work, coming, keeper, _admit_all), publication.shown)
        return ended

    def _observer(self, work: Workplace, staging: Staging, keeper: LeaseKeeper, admit: Admit) -> Observer:
        return Observer(
            self._buckets,
            work.name.bucket,
            staging,
            work.rules,
            admit=admit,
            archives=self._settings.archives,
            scratch=self._settings.scratch,
            check=keeper.check,
        )

    @contextmanager
    def _transaction(self, work: Workplace, job: Job) -> Iterator[tuple[Transaction, Staging, Base]]:
        with cvmfs_errors(f"publishing {work.name}"), work.reader.snapshot() as base:
            staging = (job.head and job.head.take_staging()) or self._open_staging(work.name)
            try:
                chosen = self._settings
                with Transaction(
                    base, staging, now=self._clock, work_dir=chosen.scratch, balance=chosen.balance
                ) as transaction:
                    yield transaction, staging, Base(base.manifest.revision, str(base.manifest.root_hash))
            finally:
                staging.discard()  # what stratum 0 took is elsewhere; the rest is void

    def _report(self, name: RepositoryName, now: Base, tally: Tally, seconds: float) -> SyncReport:
        return SyncReport(
            repository=str(name),
            revision=now.revision,
            root_hash=now.root_hash,
            added=tally.added,
            changed=tally.changed,
            removed=tally.removed,
            unchanged=tally.unchanged,
            bytes_read=tally.bytes_read,
            seconds=seconds,
            finished_at=self._clock().timestamp(),
            refused=tuple(tally.refused.values()),
            repaired=len(tally.repairs),
            entries=tally.held.entries,
            bytes=tally.held.bytes,
            put_at=tally.put_at,
        )


def _admit_all(_target: Target, _info: BucketObject) -> None:
    """Whether what is begun before its slice may be published is asked then."""


def _nothing_begun(_key: str) -> None:
    """Nothing was."""
