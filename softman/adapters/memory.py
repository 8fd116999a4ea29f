"""Ports in memory, for development and tests: buckets, pending keys and records, with the promises of the real ones.

Each passes the contract suite of its port. All are thread safe; nothing outlives the process. What the real service
does by itself, such as changing objects or being flushed, is a method here.
"""

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import md5

from softman.adapters.ports import SMALL, Lease
from softman.adapters.records import MAX_REFUSALS, MAX_REPORTS, MAX_TEXT, cut_report
from softman.errors import Busy, Conflict, Forbidden, NotFound, SoftmanError
from softman.model import (
    PUBLISHED_PREFIX,
    Backlog,
    BucketObject,
    Everything,
    Keys,
    Link,
    LinkProgress,
    Refusal,
    RepositoryName,
    Scope,
    SyncProgress,
    SyncReport,
)

_CHUNK = 256 * 1024
_PART = 4 * 1024 * 1024


@dataclass
class _Bucket:
    owner: str
    objects: dict[str, tuple[BucketObject, bytes]] = field(default_factory=dict)
    notified: bool = False


class MemoryBuckets:
    """A tiny S3: ``BucketReader`` and ``BucketConnector``, and what users do with their buckets.

    Args:
        clock: Unix time, for ``last_modified``, which is kept in whole seconds.
        users: who may own buckets.
        create_missing_users: let ``ensure_bucket`` make owners.
        on_event: called with bucket and key after each change below ``cvmfs/`` of a notified bucket.
        part: bytes that are read of an object at once.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        users: tuple[str, ...] = (),
        create_missing_users: bool = False,
        on_event: Callable[[str, str], None] | None = None,
        part: int = _PART,
    ) -> None:
        self._part = part
        self._clock = clock
        self._users = set(users)
        self._create_missing_users = create_missing_users
        self._on_event = on_event
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.RLock()

    def add_user(self, uid: str) -> None:
        """Make a user of the object store."""
        self._users.add(uid)

    def owner(self, bucket: str) -> str:
        """See ``BucketReader.owner``."""
        return self._get(bucket).owner

    def list_objects(self, bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        """See ``BucketReader.list_objects``; objects that change while iterating are shown as they were or are."""
        with self._lock:
            found = dict(self._get(bucket).objects)
        keys = (key for key in sorted(found) if key.startswith(prefix) and key > after)
        yield from (replace(found[key][0], metadata={}) for key in keys)

    def head(self, bucket: str, key: str) -> BucketObject | None:
        """See ``BucketReader.head``."""
        found = self._get(bucket).objects.get(key)
        return None if found is None else found[0]

    @contextmanager
    def read(self, bucket: str, key: str) -> Iterator["MemoryBody | None"]:
        """See ``BucketReader.read``."""
        found = self._get(bucket).objects.get(key)
        yield None if found is None else MemoryBody(*found, self._part, lambda: self.head(bucket, key))

    def read_small(self, bucket: str, keys: Iterable[str]) -> Iterator["MemoryBody"]:
        """See ``BucketReader.read_small``."""
        for key in keys:
            with suppress(SoftmanError), self.read(bucket, key) as body:
                if body is not None and body.info.size <= SMALL:
                    yield body

    def ensure_bucket(self, bucket: str, owner: str) -> bool:
        """See ``BucketConnector.ensure_bucket``."""
        with self._lock:
            present = self._buckets.get(bucket)
            if present is not None and present.owner != owner:
                msg = f"bucket {bucket} belongs to {present.owner}, not to {owner}"
                raise Forbidden(msg)
            if present is not None:
                return False
            if owner not in self._users:
                if not self._create_missing_users:
                    msg = f"the object store has no user {owner}, so that no bucket can be made for it"
                    raise NotFound(msg)
                self._users.add(owner)
            self._buckets[bucket] = _Bucket(owner)
            return True

    def ensure_notification(self, bucket: str) -> bool:
        """See ``BucketConnector.ensure_notification``."""
        with self._lock:
            present = self._get(bucket)
            changed, present.notified = not present.notified, True
            return changed

    def remove_notification(self, bucket: str) -> None:
        """See ``BucketConnector.remove_notification``."""
        self._get(bucket).notified = False

    def put(self, bucket: str, key: str, body: bytes, metadata: dict[str, str] | None = None) -> BucketObject:
        """Store an object as its user would."""
        etag = md5(body, usedforsecurity=False).hexdigest()
        lowered = {name.lower(): value for name, value in (metadata or {}).items()}
        stored = BucketObject(key, len(body), etag, float(int(self._clock())), lowered)
        with self._lock:
            self._get(bucket).objects[key] = stored, body
        self._tell(bucket, key)
        return stored

    def copy(self, bucket: str, source: str, key: str, metadata: dict[str, str] | None = None) -> BucketObject:
        """Copy an object within its bucket; ``metadata`` replaces that of the source (onto itself: changes it).

        Raises:
            NotFound: there is no source.
        """
        found = self._get(bucket).objects.get(source)
        if found is None:
            msg = f"bucket {bucket} has no such object"
            raise NotFound(msg)
        return self.put(bucket, key, found[1], found[0].metadata if metadata is None else metadata)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object; nothing but an event happens when there is none, as in RGW."""
        with self._lock:
            self._get(bucket).objects.pop(key, None)
        self._tell(bucket, key)

    def _get(self, bucket: str) -> _Bucket:
        with self._lock:
            present = self._buckets.get(bucket)
        if present is None:
            msg = f"the bucket {bucket} does not exist"
            raise NotFound(msg)
        return present

    def _tell(self, bucket: str, key: str) -> None:
        if self._on_event is not None and self._get(bucket).notified and key.startswith(PUBLISHED_PREFIX):
            self._on_event(bucket, key)


@dataclass(frozen=True, slots=True)
class MemoryBody:
    """``ObjectBody`` of an object in memory; ``part`` bytes of it are read when it is opened."""

    info: BucketObject
    body: bytes = field(repr=False)
    part: int
    now: Callable[[], BucketObject | None] = field(repr=False)

    def chunks(self) -> Iterator[bytes]:
        """See ``ObjectBody.chunks``."""
        for at in range(0, len(self.body), _CHUNK):
            if at + _CHUNK > self.part:
                now = self.now()
                if now is None or now.etag != self.info.etag:
                    msg = f"{self.info.key} changed while it was read"
                    raise Conflict(msg)
            yield self.body[at : at + _CHUNK]


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
                this.flight |= this.pending
                this.pending = set()
                this.mark = lease.token
                return Everything()
            taken = frozenset(sorted(this.pending)[:limit])
            this.pending -= taken
            this.flight |= taken
            return Keys(taken) if taken else None

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
            this.epoch = this.epoch or this.mark == lease.token
            this.mark = ""

    def need_everything(self, repository: RepositoryName) -> None:
        """See ``PendingKeys.need_everything``."""
        with self._lock:
            this = self._of(repository)
            this.epoch, this.mark, this.stranger_ends = False, "", 0.0

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
            this.stranger_ends = self._clock() + seconds

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


class MemoryRecords:
    """``Records`` in memory."""

    def __init__(self) -> None:
        self._links: dict[RepositoryName, dict[Link, LinkProgress]] = {}
        self._reports: dict[str, list[SyncReport]] = {}
        self._refusals: dict[RepositoryName, dict[str, Refusal]] = {}
        self._progress: dict[RepositoryName, SyncProgress] = {}
        self._lock = threading.Lock()

    def flush(self) -> None:
        """Forget everything, as Redis may at any time."""
        with self._lock:
            self._links.clear()
            self._reports.clear()
            self._refusals.clear()
            self._progress.clear()

    def set_link(self, repository: RepositoryName, progress: LinkProgress) -> None:
        """See ``Records.set_link``."""
        with self._lock:
            self._links.setdefault(repository, {})[progress.link] = replace(progress, detail=progress.detail[:MAX_TEXT])

    def links(self, repository: RepositoryName) -> list[LinkProgress]:
        """See ``Records.links``."""
        with self._lock:
            found = self._links.get(repository, {})
            return [found[link] for link in Link if link in found]

    def set_report(self, report: SyncReport) -> None:
        """See ``Records.set_report``."""
        with self._lock:
            before = self._reports.get(report.repository, [])
            self._reports[report.repository] = [cut_report(report), *before][:MAX_REPORTS]

    def last_report(self, repository: RepositoryName) -> SyncReport | None:
        """See ``Records.last_report``."""
        with self._lock:
            return next(iter(self._reports.get(str(repository), [])), None)

    def reports(self, repository: RepositoryName) -> list[SyncReport]:
        """See ``Records.reports``."""
        with self._lock:
            return list(self._reports.get(str(repository), []))

    def set_progress(self, repository: RepositoryName, progress: SyncProgress | None) -> None:
        """See ``Records.set_progress``."""
        with self._lock:
            self._progress.pop(repository, None)
            if progress is not None:
                self._progress[repository] = progress

    def progress(self, repository: RepositoryName) -> SyncProgress | None:
        """See ``Records.progress``."""
        with self._lock:
            return self._progress.get(repository)

    def refusals(self, repository: RepositoryName) -> list[Refusal]:
        """See ``Records.refusals``."""
        with self._lock:
            found = self._refusals.get(repository, {})
            return [found[key] for key in sorted(found)]

    def set_refusals(self, repository: RepositoryName, refused: list[Refusal], cleared: frozenset[str] | None) -> None:
        """See ``Records.set_refusals``."""
        with self._lock:
            known = self._refusals.get(repository, {}) if cleared is not None else {}
            kept = {key: each for key, each in known.items() if key not in (cleared or ())}
            for each in refused:
                if each.key in kept or len(kept) < MAX_REFUSALS:
                    kept[each.key] = replace(each, reason=each.reason[:MAX_TEXT])
            self._refusals[repository] = kept
