"""The publisher's turns: lease, slices, commits. Stateless, without signing key; any number of them may run.

Level-triggered: a turn compares the bucket as it is now with the repository as it is now, for some keys or for
everything, and commits the difference slice by slice.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import gettempdir

from softman.adapters.ports import BucketReader, CommitDoor, KeyVault, Lease, PendingKeys, Records, Registry
from softman.cvmfs.errors import SignatureInvalid
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.staging import Staging, new_transaction_id
from softman.cvmfs.transaction import Balance
from softman.errors import Busy, Conflict, Corrupt, Forbidden, NotFound, PermanentError, ServiceUnavailable
from softman.model import Base, Everything, Keys, OwnerQuota, Part, RegistryRecord, Scope, State, Turn
from softman.names import RepositoryName
from softman.services.archives.limits import ArchiveLimits
from softman.services.arrivals import Arrivals
from softman.services.holdings import unlimited_owner
from softman.services.keeper import LeaseKeeper
from softman.services.lifecycle import is_closed
from softman.services.mapping import DEFAULT_SITE, Rules, SiteRules
from softman.services.material import owned_public_keys
from softman.services.preview import PlannedStep
from softman.services.scopes import Course, Outcome, ScopeSync
from softman.services.slices import SliceMaker, SliceSettings, Workplace
from softman.services.sync import SliceLimits
from softman.services.translate import cvmfs_errors

_KEYS_FIRST = 3
"""So many times a turn publishes pending keys before it compares everything: new ones come while it does."""


@dataclass(frozen=True, slots=True)
class TurnLimits:
    """How much one task does before it queues itself again (decision 8), and how parallel it reads. Seconds."""

    slice: SliceLimits
    slices: int
    seconds: float
    threads: int
    lease_seconds: float
    balance: Balance | None = field(default=None)
    """Limits of catalogs; None leaves them as they are."""


class Publisher:
    """Publishes what buckets say.

    Args:
        vault: the owners' keys, with the role of the publisher.
        registry: the registry, read only.
        buckets: the object store, read only.
        pending: changed keys and leases.
        records: where reports go.
        door: the way to stratum 0.
        open_reader: a verifying reader of a repository for public keys.
        open_staging: makes the staging area of a repository's new transaction.
        limits: bounds of a turn.
        clock: the present time, with a time zone.
        site: what the site's settings say about all repositories.
        archives: what an archive may hold.
        scratch: a directory for temporary files; None takes the system's.
        owner_quota: what a repository's owner may have, and has elsewhere; None for no limit.
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
        open_reader: Callable[[RepositoryName, tuple[bytes, ...]], RepositoryReader],
        open_staging: Callable[[RepositoryName], Staging],
        limits: TurnLimits,
        clock: Callable[[], datetime],
        site: SiteRules = DEFAULT_SITE,
        archives: ArchiveLimits | None = None,
        scratch: Path | None = None,
        owner_quota: Callable[[RegistryRecord], OwnerQuota | None] = unlimited_owner,
    ) -> None:
        self._vault = vault
        self._registry = registry
        self._buckets = buckets
        self._pending = pending
        self._records = records
        self._open_reader = open_reader
        self._limits = limits
        self._owner_quota = owner_quota
        settings = SliceSettings(
            limits.slice,
            limits.threads,
            limits.balance,
            archives or ArchiveLimits(),
            scratch or Path(gettempdir()),
        )
        self._slices = SliceMaker(buckets, door, open_staging, settings, clock)
        self._scopes = ScopeSync(buckets, records, self._slices, site, clock)

    def repositories(self) -> list[RepositoryName]:
        """All repositories that take commits, sorted."""
        records = (self._registry.get(name) for name in self._registry.names())
        return [
            record.repository
            for record in records
            if record is not None and record.state is State.ACTIVE and not is_closed(record)
        ]

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
        work, _ = self._workplace(name)
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

    def forget_refusals(self, name: RepositoryName) -> None:
        """Let the next full difference read again what was refused: limits may be others now."""
        forgotten = [replace(refusal, etag="") for refusal in self._records.refusals(name)]
        self._records.set_refusals(name, forgotten, frozenset(refusal.key for refusal in forgotten))

    def plan(self, name: RepositoryName, part: Part) -> Iterator[PlannedStep]:
        """What ``sync_part`` would do now, lazily; nothing is changed, and nobody is kept from publishing.

        Raises:
            NotFound: there is no such repository or bucket.
            Forbidden: the bucket is somebody else's.
            ServiceUnavailable: bucket or repository do not answer.
        """
        yield from self._scopes.preview(*self._workplace(name), part)

    def sync_everything(self, name: RepositoryName, *, anew: bool = True) -> Turn:
        """Publish the full difference between bucket and repository; a present holder of the lease does it instead.

        Args:
            name: the repository.
            anew: from the front, though one that was cut could go on.
        """
        self._pending.need_everything(name, anew=anew)
        return self._turn(name)

    def sync_part(self, name: RepositoryName, part: Part) -> Turn:
        """Publish the difference in a part of the bucket, or compare content too; then what is pending.

        Returns:
            What was done; ``rest`` is the part that is left when the turn was over before.

        Raises:
            Busy: another publisher is at work; try again later.
        """
        turn = self._turn(name, part)
        if turn.held_elsewhere:
            msg = f"another publisher works on {name}"
            raise Busy(msg)
        return turn

    def _turn(self, name: RepositoryName, part: Part | None = None) -> Turn:
        lease = self._pending.acquire(name)
        if lease is None:
            return Turn(held_elsewhere=True)
        course = Course(self._limits.slices, self._limits.seconds)
        more = bulk = False
        try:
            with LeaseKeeper(lease, self._limits.lease_seconds) as keeper:
                hand = _Hand(name, lease, keeper, course)
                rest = None if part is None else self._sync_part(hand, part)
                bulk = rest is None and self._drain(hand)
        finally:
            with suppress(Busy):  # the lease is lost: the next holder finds everything pending
                self._pending.give_back(lease, name)
                more = self._pending.release(lease, name)
        reports = course.reports
        revision = reports[-1].revision if reports else None
        return Turn(revision=revision, reports=tuple(reports), again=more, bulk=bulk, rest=rest)

    def _drain(self, hand: "_Hand") -> bool:
        """Take and publish scopes until none is left or the turn is over; whether a full sync is left unfinished."""
        work = None
        outdated = False
        for round_number in count():
            if hand.course.over():
                break
            scope = self._take(hand, keys_first=round_number < _KEYS_FIRST and not outdated)
            if scope is None or (outdated and isinstance(scope, Keys)):
                break  # a full sync is for somebody else
            try:
                work = work or self._workplace(hand.name)
                outcome = self._run(hand, work, scope)
            except PermanentError:
                # Looking again at once would end the same way; the next reconciliation looks at everything anyway.
                self._pending.done(hand.lease, hand.name, scope)
                raise
            if outcome.outdated:
                self._pending.need_everything(hand.name)
                outdated, work = True, None
                continue
            outdated = False
            if not outcome.ended:
                return isinstance(scope, Everything)
            work = self._finish(hand, scope, outcome, work)
        return outdated

    def _take(self, hand: "_Hand", *, keys_first: bool) -> Scope | None:
        """The next scope. Pending keys come before a comparison of everything, which takes longer."""
        limit = self._limits.slice.objects
        if keys_first and not self._pending.is_whole(hand.name):
            keys = self._pending.take_keys(hand.lease, hand.name, limit)
            if keys is not None:
                return keys
        return self._pending.take(hand.lease, hand.name, limit)

    def _run(self, hand: "_Hand", work: tuple[Workplace, RegistryRecord], scope: Scope | Part) -> Outcome:
        arrivals = Arrivals(self._pending, hand.lease, hand.name, self._limits.slice.objects)
        try:
            return self._scopes.run(*work, scope, hand.keeper, hand.course, arrivals=arrivals)
        except Corrupt as exc:
            if isinstance(exc.__cause__, SignatureInvalid) and self._is_outdated(work[1]):
                msg = f"the keys of {hand.name} were replaced meanwhile"
                raise Conflict(msg) from exc
            raise

    def _finish(
        self, hand: "_Hand", scope: Scope, outcome: Outcome, work: tuple[Workplace, RegistryRecord]
    ) -> tuple[Workplace, RegistryRecord] | None:
        """Note that a scope is published. The registry is read again when a configuration came with it."""
        self._pending.add(hand.name, outcome.left)
        self._pending.done(hand.lease, hand.name, scope)
        _raise_failed(outcome)
        return work if isinstance(scope, Keys) else None

    def _sync_part(self, hand: "_Hand", part: Part) -> Part | None:
        """Publish a part; what is left of it."""
        outcome = self._run(hand, self._workplace(hand.name), part)
        if outcome.outdated:
            self._pending.need_everything(hand.name)
            self._drain(hand)
            return part
        self._pending.add(hand.name, outcome.left)
        if not outcome.ended:
            return replace(part, after=max(outcome.after, part.after))
        _raise_failed(outcome)
        return None

    def _workplace(self, name: RepositoryName) -> tuple[Workplace, RegistryRecord]:
        record = self._registry.get(name)
        if record is None:
            msg = f"there is no repository {name}"
            raise NotFound(msg)
        with cvmfs_errors(f"the keys of {name}"):
            reader = self._open_reader(name, owned_public_keys(self._keys(record)))
        gateway_key = partial(self._gateway_key, record)
        owner_quota = partial(self._owner_quota, record)
        return Workplace(name, gateway_key, reader, record.quotas, owner_quota, Rules(str(name))), record

    def _gateway_key(self, record: RegistryRecord, fresh: bool) -> GatewayKey:
        with cvmfs_errors(f"the gateway key of {record.repository}"):
            text = self._keys(record, fresh=fresh).get("gatewayKey")
            if text is None:
                msg = f"the gateway key of {record.repository} is revoked"
                raise Forbidden(msg)
            return GatewayKey.parse(text)

    def _is_outdated(self, record: RegistryRecord) -> bool:
        """Whether the keys known here are not those in the vault. From then on they are."""
        return self._keys(record) != self._keys(record, fresh=True)

    def _keys(self, record: RegistryRecord, *, fresh: bool = False) -> dict[str, str]:
        keys = self._vault.read_owner_keys(record.owner, record.repository, fresh=fresh)
        if keys is None:
            msg = f"{record.repository} has no keys in the vault yet"
            raise NotFound(msg)
        return keys


@dataclass(frozen=True, slots=True)
class _Hand:
    """What a turn holds."""

    name: RepositoryName
    lease: Lease
    keeper: LeaseKeeper
    course: Course


def _raise_failed(outcome: Outcome) -> None:
    """All that could be published is; the task is tried again later for what could not be read.

    Raises:
        ServiceUnavailable: something could not.
    """
    if outcome.failed:
        key, reason = next(iter(outcome.failed.items()))
        msg = f"{len(outcome.failed)} objects could not be read now and are left for later, such as {key}: {reason}"
        raise ServiceUnavailable(msg)
