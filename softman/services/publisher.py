"""The publisher's turns: lease, slices, commits. Stateless, without signing key; any number of them may run.

Level-triggered: a turn compares the bucket as it is now with the repository as it is now, for some keys or for
everything, and commits the difference slice by slice.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from softman.adapters.ports import BucketReader, CommitDoor, KeyVault, Lease, PendingKeys, Records, Registry
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.staging import Staging, new_transaction_id
from softman.errors import Busy, Forbidden, NotFound, PermanentError
from softman.log import get_logger
from softman.model import (
    PUBLISHED_PREFIX,
    Base,
    Everything,
    Keys,
    RepositoryName,
    Scope,
    State,
    SyncReport,
    Turn,
)
from softman.services.keeper import LeaseKeeper
from softman.services.plan import Step, difference, walk_by_key
from softman.services.slices import SliceMaker, SliceResult, Workplace
from softman.services.sync import SliceLimits, looks
from softman.services.translate import cvmfs_errors

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """How much one task does before it queues itself again (decision 8), and how parallel it reads. Seconds."""

    slice: SliceLimits
    slices: int
    seconds: float
    threads: int
    lease_seconds: float


class Publisher:
    """Publishes what buckets say.

    Args:
        vault: the owners' keys, with the role of the publisher.
        registry: the registry, read only.
        buckets: the object store, read only.
        pending: changed keys and leases.
        records: where reports go.
        door: the way to stratum 0.
        open_reader: a verifying reader of a repository for a public key.
        open_staging: makes the staging area of a repository's new transaction.
        limits: bounds of a turn.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        *,
        vault: KeyVault,
        registry: Registry,
        buckets: BucketReader,
        pending: PendingKeys,
        records: Records,
        door: CommitDoor,
        open_reader: Callable[[RepositoryName, bytes], RepositoryReader],
        open_staging: Callable[[RepositoryName], Staging],
        limits: TurnLimits,
        clock: Callable[[], datetime],
    ) -> None:
        self._vault = vault
        self._registry = registry
        self._buckets = buckets
        self._pending = pending
        self._records = records
        self._open_reader = open_reader
        self._limits = limits
        self._slices = SliceMaker(buckets, door, open_staging, limits=limits.slice, threads=limits.threads, clock=clock)

    def repositories(self) -> list[RepositoryName]:
        """All repositories that take commits, sorted."""
        records = (self._registry.get(name) for name in self._registry.names())
        return [record.repository for record in records if record is not None and record.state is State.ACTIVE]

    def waiting(self) -> list[RepositoryName]:
        """Repositories with pending keys that nobody works on; the caller queues a publish task for each."""
        return self._pending.waiting(self.repositories())

    def attach(self, name: RepositoryName) -> str:
        """Make sure that this publisher can read the repository and that its gateway key opens stratum 0's door.

        Returns:
            What was found, in words.

        Raises:
            NotFound: the repository has no keys yet, or its URL answers with nothing.
            Forbidden: stratum 0 does not accept the gateway key.
        """
        work = self._workplace(name)
        with cvmfs_errors(f"reading {name}"):
            manifest = work.reader.manifest()
        here = Base(manifest.revision, str(manifest.root_hash))
        # Asking for what is current already changes nothing and proves the key.
        self._slices.commit(work, here, here.root_hash, new_transaction_id())
        return f"gateway key accepted, revision {manifest.revision} readable"

    def publish_changes(self, name: RepositoryName) -> Turn:
        """Publish what is pending, until nothing is left or the turn is over."""
        self._pending.started(name)
        return self._turn(name)

    def sync_everything(self, name: RepositoryName) -> Turn:
        """Publish the full difference between bucket and repository; a present holder of the lease does it instead."""
        self._pending.need_everything(name)
        return self._turn(name)

    def _turn(self, name: RepositoryName) -> Turn:
        lease = self._pending.acquire(name)
        if lease is None:
            return Turn(held_elsewhere=True)
        more = False
        try:
            with LeaseKeeper(lease, self._limits.lease_seconds) as keeper:
                reports, bulk = self._drain(name, lease, keeper)
        finally:
            with suppress(Busy):  # the lease is lost: the next holder finds everything pending
                self._pending.give_back(lease, name)
                more = self._pending.release(lease, name)
        revision = reports[-1].revision if reports else None
        return Turn(revision=revision, reports=tuple(reports), again=more, bulk=bulk)

    def _drain(self, name: RepositoryName, lease: Lease, keeper: LeaseKeeper) -> tuple[list[SyncReport], bool]:
        """Take and publish scopes until none is left or the turn is over; whether a full sync is left unfinished."""
        turn = _TurnClock(self._limits)
        reports: list[SyncReport] = []
        work = None
        while not turn.over(reports):
            scope = self._pending.take(lease, name, self._limits.slice.objects)
            if scope is None:
                break
            try:
                work = work or self._workplace(name)
                if not self._sync(work, scope, keeper, turn, reports):
                    return reports, isinstance(scope, Everything)
            except PermanentError:
                # Looking again at once would end the same way; the next reconciliation looks at everything anyway.
                self._pending.done(lease, name, scope)
                raise
            self._pending.done(lease, name, scope)
        return reports, False

    def _workplace(self, name: RepositoryName) -> Workplace:
        record = self._registry.get(name)
        if record is None:
            msg = f"there is no repository {name}"
            raise NotFound(msg)
        keys = self._vault.read_owner_keys(record.owner, name)
        if keys is None:
            msg = f"{name} has no keys in the vault yet"
            raise NotFound(msg)
        with cvmfs_errors(f"the keys of {name}"):
            gateway_key = GatewayKey.parse(keys["gatewayKey"])
            reader = self._open_reader(name, keys["publicKey"].encode())
        return Workplace(name, gateway_key, reader)

    def _sync(
        self, work: Workplace, scope: Scope, keeper: LeaseKeeper, turn: "_TurnClock", reports: list[SyncReport]
    ) -> bool:
        """Publish one scope slice by slice; True when it is finished."""
        self._check_owner(work.name)
        with self._steps(work, scope) as steps:
            ended = False
            while not ended:
                if turn.over(reports):
                    return False
                result = self._slices.make(work, steps, keeper)
                ended = result.ended
                self._record(work.name, result, reports)
        return True

    @contextmanager
    def _steps(self, work: Workplace, scope: Scope) -> Iterator[Iterator[Step]]:
        """What to look at. Only a full difference needs the catalogs of the revision it starts from."""
        if isinstance(scope, Keys):
            yield looks(scope.keys)
            return
        name = work.name
        known = {refusal.key: refusal for refusal in self._records.refusals(name)}
        self._records.set_refusals(name, [], None)
        listing = self._buckets.list_objects(name.bucket, PUBLISHED_PREFIX)
        with cvmfs_errors(f"publishing {name}"), work.reader.snapshot() as base:
            yield difference(listing, walk_by_key(base.listdir), known)

    def _check_owner(self, name: RepositoryName) -> None:
        owner = self._buckets.owner(name.bucket)
        if owner != name.bucket:
            msg = f"the bucket {name.bucket} belongs to {owner}, not to {name.bucket}; nothing of it is published"
            raise Forbidden(msg)

    def _record(self, name: RepositoryName, result: SliceResult, reports: list[SyncReport]) -> None:
        tally = result.tally
        self._records.set_refusals(name, list(tally.refused.values()), frozenset(tally.looked_at))
        if result.report is not None:
            reports.append(result.report)
            self._records.set_report(result.report)
            log.info(
                "published",
                repository=str(name),
                revision=result.report.revision,
                added=tally.added,
                changed=tally.changed,
                removed=tally.removed,
                refused=len(tally.refused),
                seconds=round(result.report.seconds, 3),
            )


class _TurnClock:
    """Tells when a turn has done enough."""

    def __init__(self, limits: TurnLimits) -> None:
        self._limits = limits
        self._until = time.monotonic() + limits.seconds

    def over(self, reports: list[SyncReport]) -> bool:
        return len(reports) >= self._limits.slices or time.monotonic() >= self._until
