"""Ports in memory, for development and tests: buckets and records, with the promises of the real ones.

Each passes the contract suite of its port. All are thread safe; nothing outlives the process. What the real service
does by itself, such as changing objects or being flushed, is a method here.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import md5

from softman.adapters.ports import SMALL
from softman.adapters.records import MAX_FAULTS, MAX_REFUSALS, MAX_REPORTS, MAX_TEXT, cut_report
from softman.errors import Conflict, Forbidden, NotFound, SoftmanError
from softman.model import (
    PUBLISHED_PREFIX,
    AnyLink,
    BucketObject,
    Fault,
    Link,
    LinkProgress,
    Refusal,
    SyncProgress,
    SyncReport,
)
from softman.names import RepositoryName

_CHUNK = 256 * 1024
_PART = 4 * 1024 * 1024


@dataclass
class _Bucket:
    owner: str
    objects: dict[str, tuple[BucketObject, bytes]] = field(default_factory=dict)
    notified: bool = False
    uploads: bool = False


class MemoryBuckets:
    """A tiny S3: ``BucketReader`` and ``BucketConnector``, and what users do with their buckets.

    Args:
        clock: Unix time, for ``last_modified``, which is kept in whole seconds.
        users: who may own buckets.
        create_missing_users: let ``ensure_bucket`` make owners.
        on_event: called with bucket and key after each change below ``cvmfs/`` of a notified bucket.
        part: bytes that are read of an object at once.
        uploads: what ``ensure_uploads`` lets the dashboard do.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        *,
        users: tuple[str, ...] = (),
        create_missing_users: bool = False,
        on_event: Callable[[str, str], None] | None = None,
        part: int = _PART,
        uploads: bool = False,
    ) -> None:
        self._part = part
        self._uploads = uploads
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

    def ensure_uploads(self, bucket: str) -> bool:
        """See ``BucketConnector.ensure_uploads``."""
        with self._lock:
            present = self._get(bucket)
            changed, present.uploads = present.uploads is not self._uploads, self._uploads
            return changed

    def remove_uploads(self, bucket: str) -> None:
        """See ``BucketConnector.remove_uploads``."""
        self._get(bucket).uploads = False

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


class MemoryRecords:
    """``Records`` in memory."""

    def __init__(self) -> None:
        self._links: dict[RepositoryName, dict[AnyLink, LinkProgress]] = {}
        self._reports: dict[str, list[SyncReport]] = {}
        self._refusals: dict[RepositoryName, dict[str, Refusal]] = {}
        self._progress: dict[RepositoryName, SyncProgress] = {}
        self._faults: dict[RepositoryName, list[Fault]] = {}
        self._lock = threading.Lock()

    def flush(self) -> None:
        """Forget everything, as Redis may at any time."""
        with self._lock:
            self._links.clear()
            self._reports.clear()
            self._refusals.clear()
            self._progress.clear()
            self._faults.clear()

    def set_link(self, repository: RepositoryName, progress: LinkProgress) -> None:
        """See ``Records.set_link``."""
        with self._lock:
            self._links.setdefault(repository, {})[progress.link] = replace(progress, detail=progress.detail[:MAX_TEXT])

    def links(self, repository: RepositoryName, chain: type[AnyLink] = Link) -> list[LinkProgress]:
        """See ``Records.links``."""
        with self._lock:
            found = self._links.get(repository, {})
            return [found[link] for link in chain if link in found]

    def set_faults(self, repository: RepositoryName, faults: tuple[Fault, ...]) -> None:
        """See ``Records.set_faults``."""
        with self._lock:
            self._faults[repository] = [
                replace(fault, message=fault.message[:MAX_TEXT]) for fault in faults[:MAX_FAULTS]
            ]

    def faults(self, repository: RepositoryName) -> list[Fault]:
        """See ``Records.faults``."""
        with self._lock:
            return list(self._faults.get(repository, []))

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
