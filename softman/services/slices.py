"""One slice: a transaction on the current revision, staged, sealed, and committed through stratum 0's door."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from softman.adapters.ports import BucketReader, CommitDoor
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Transaction
from softman.errors import Conflict, ServiceUnavailable
from softman.model import Base, CommitRequest, RepositoryName, SyncReport
from softman.services.keeper import LeaseKeeper
from softman.services.observe import Observer
from softman.services.plan import Step
from softman.services.proof import signed
from softman.services.sync import Slice, SliceLimits, Tally
from softman.services.translate import cvmfs_errors


@dataclass(frozen=True, slots=True)
class Workplace:
    """What a publisher needs of one repository."""

    name: RepositoryName
    gateway_key: GatewayKey
    reader: RepositoryReader


@dataclass(frozen=True, slots=True)
class SliceResult:
    """``ended``: the steps are used up. ``report``: None when nothing had to change."""

    ended: bool
    report: SyncReport | None
    tally: Tally


class SliceMaker:
    """Makes slices.

    Args:
        buckets: the object store, read only.
        door: the way to stratum 0.
        open_staging: makes the staging area of a repository's new transaction.
        limits: when a slice is full.
        threads: objects read at the same time.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        buckets: BucketReader,
        door: CommitDoor,
        open_staging: Callable[[RepositoryName], Staging],
        *,
        limits: SliceLimits,
        threads: int,
        clock: Callable[[], datetime],
    ) -> None:
        self._buckets = buckets
        self._door = door
        self._open_staging = open_staging
        self._limits = limits
        self._threads = threads
        self._clock = clock

    def make(self, work: Workplace, steps: Iterator[Step], keeper: LeaseKeeper) -> SliceResult:
        """Apply steps until the slice is full or they end, and commit what came of it.

        Raises:
            Conflict: somebody else committed meanwhile; nothing was published.
            Busy: the lease was lost; nothing was published.
            CandidateRefused: stratum 0 will not sign the revision.
            ServiceUnavailable: bucket, repository or stratum 0 do not answer.
        """
        started = time.monotonic()
        with self._transaction(work) as (transaction, staging):
            tally, ended = self._apply(work, transaction, staging, steps, keeper)
            candidate = transaction.seal() if tally.changes else None
            if candidate is None:
                return SliceResult(ended, None, tally)
            keeper.check()
            base = Base(candidate.base_revision, str(candidate.base_root_hash))
            now = self.commit(work, base, str(candidate.root_hash), staging.transaction)
        return SliceResult(ended, self._report(work.name, now, tally, time.monotonic() - started), tally)

    def commit(self, work: Workplace, base: Base, new_root_hash: str, transaction_id: str) -> Base:
        """Ask stratum 0 to sign ``new_root_hash``; the revision that is current then.

        Raises:
            Conflict: the base is not current any more.
        """
        request = CommitRequest(str(work.name), transaction_id, base, new_root_hash, key_id="", signature="")
        try:
            answer = self._door.commit(signed(request, work.gateway_key))
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
        self, work: Workplace, transaction: Transaction, staging: Staging, steps: Iterator[Step], keeper: LeaseKeeper
    ) -> tuple[Tally, bool]:
        observer = Observer(self._buckets, work.name.bucket, staging)
        with ThreadPoolExecutor(self._threads, thread_name_prefix="fetch") as executor:
            current = Slice(
                transaction,
                observer,
                executor,
                ahead=2 * self._threads,
                limits=self._limits,
                still_ours=keeper.check,
            )
            ended = current.run(steps)
        return current.tally, ended

    @contextmanager
    def _transaction(self, work: Workplace) -> Iterator[tuple[Transaction, Staging]]:
        with cvmfs_errors(f"publishing {work.name}"), work.reader.snapshot() as base:
            staging = self._open_staging(work.name)
            try:
                with Transaction(base, staging, now=self._clock) as transaction:
                    yield transaction, staging
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
        )
