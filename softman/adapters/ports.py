"""What services see of the outside: each protocol has a real adapter, one in memory, and one contract suite for both.

Adapters translate vendor exceptions: a method raises ``ServiceUnavailable`` when the service does not answer,
``Forbidden`` when it refuses the credentials, ``NotFound`` when the thing is not there, unless it says otherwise.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final, Protocol

from softman.model import (
    AnyLink,
    AuditEvent,
    Backlog,
    BucketObject,
    CommitAnswer,
    CommitRequest,
    DeadLetter,
    Everything,
    Failure,
    Fate,
    Fault,
    Glance,
    Keys,
    Link,
    LinkProgress,
    QueueDepth,
    Refusal,
    RegistryRecord,
    Scope,
    Stranger,
    SyncProgress,
    SyncReport,
    UpkeepMark,
    WorkerState,
)
from softman.names import Owner, RepositoryName

SMALL: Final = 128 * 1024
"""The most bytes of an object that ``BucketReader.read_small`` reads."""


class ObjectBody(Protocol):
    """The content of an object while it is read."""

    @property
    def info(self) -> BucketObject:
        """What the object is, with metadata, as of this read."""

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces of bounded size; once only. It is all of one version of the object.

        Raises:
            Conflict: the object is another one by now, or gone; a small one, read at once, never says so.
        """


class BucketReader(Protocol):
    """Reading buckets: the publisher's view, with a credential that cannot write."""

    def owner(self, bucket: str) -> str:
        """The uid of the bucket's owner."""

    def list_objects(self, bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        """All objects below ``prefix`` in the order of S3 (UTF-8 bytes of the key), without metadata.

        Args:
            bucket: the bucket's name.
            prefix: what their keys begin with.
            after: only keys that come after this one.
        """

    def head(self, bucket: str, key: str) -> BucketObject | None:
        """The object with its metadata, or None when there is none."""

    def read(self, bucket: str, key: str) -> AbstractContextManager[ObjectBody | None]:
        """Open the object for reading once; None when there is none."""

    def read_small(self, bucket: str, keys: Iterable[str]) -> Iterator[ObjectBody]:
        """Read objects of up to ``SMALL`` bytes, many at once, in the order in which they come.

        Left out is all else, whatever the reason: larger ones, missing ones, those that cannot be read at the first
        try. ``read`` tells.
        """


class BucketConnector(Protocol):
    """Making and connecting buckets: the connector's view, with a credential of its own (decision 3)."""

    def ensure_bucket(self, bucket: str, owner: str) -> bool:
        """Make sure that ``bucket`` exists and belongs to ``owner``; True when it was created now.

        Raises:
            Forbidden: the bucket belongs to somebody else.
            NotFound: ``owner`` is no user of the object store (and creating users is not switched on).
        """

    def ensure_notification(self, bucket: str) -> bool:
        """Make sure that events below ``cvmfs/`` reach the shared topic; True when something had to be changed."""

    def remove_notification(self, bucket: str) -> None:
        """Take our notification off the bucket; nothing happens when it is not there."""

    def ensure_uploads(self, bucket: str) -> bool:
        """Make sure that the dashboard may put objects below ``cvmfs/``, or may not, as the site wants it.

        What the owner allows others, and from where, stays as it is. True when something had to be changed.

        Raises:
            InvalidInput: the bucket's policy cannot be read, or there is no room in it.
        """

    def remove_uploads(self, bucket: str) -> None:
        """Take what lets the dashboard put objects off the bucket; nothing happens when it is not there.

        Raises:
            InvalidInput: the bucket's policy cannot be read.
        """


Change = Callable[[dict[str, str]], dict[str, str]]
"""From what is stored to what shall be stored; keeps its argument as it is."""


class KeyVault(Protocol):
    """Key material, one instance per role; what a role may not see raises ``Forbidden``.

    Values are maps of text. Paths and field names are decisions 13 and 14.
    """

    def read_signing(self, repository: RepositoryName, *, fresh: bool = False) -> dict[str, str] | None:
        """The repository's private key and what belongs to it (stratum 0 only), or None.

        ``fresh`` asks for what is stored now, here and below; otherwise it may be some time old.
        """

    def create_signing(self, repository: RepositoryName, values: dict[str, str]) -> dict[str, str]:
        """Store key material if there is none yet, and return what is stored then, the first writer's."""

    def change_signing(self, repository: RepositoryName, change: Change, *, forget: bool = False) -> dict[str, str]:
        """Store what ``change`` makes of what is stored now, and return it; no version when it changes nothing.

        ``change`` may be called several times, when others write. ``forget`` destroys all earlier versions.

        Raises:
            NotFound: there is nothing to change.
        """

    def read_master(self, place: str) -> dict[str, str] | None:
        """A master key (stratum 0 only), or None; ``place`` is ``repository/<name>`` or ``domain/<domain>``."""

    def create_master(self, place: str, values: dict[str, str]) -> dict[str, str]:
        """As ``create_signing``."""

    def change_master(self, place: str, change: Change, *, forget: bool = False) -> dict[str, str]:
        """As ``change_signing``."""

    def write_owner_keys(self, owner: Owner, repository: RepositoryName, values: dict[str, str]) -> None:
        """Store ``publicKey``, ``certificateKey`` and ``gatewayKey`` for the owner; no version when unchanged.

        The first two are no secret, and are also stored where every role may read them.
        """

    def read_owner_keys(
        self, owner: Owner, repository: RepositoryName, *, fresh: bool = False
    ) -> dict[str, str] | None:
        """What ``write_owner_keys`` stored, or None."""

    def read_public_keys(self, repository: RepositoryName, *, fresh: bool = False) -> dict[str, str] | None:
        """What of that is public, or None. Every role may ask; for the rest only stratum 0 and publishers."""


class Registry(Protocol):
    """One record per repository; only stratum 0's role may write."""

    def get(self, repository: RepositoryName) -> RegistryRecord | None:
        """The record, or None."""

    def put(self, record: RegistryRecord) -> RegistryRecord:
        """Store with compare-and-swap on ``record.version``; returns the record with its new version.

        Raises:
            Conflict: the stored version is another one.
        """

    def names(self) -> list[RepositoryName]:
        """All repositories, sorted."""


class Lease(Protocol):
    """The right to be the one writer of a repository."""

    @property
    def token(self) -> str:
        """What tells this lease from any other, ever."""

    def renew(self) -> bool:
        """Prolong by the full time to live; False when the lease is lost."""


class PendingKeys(Protocol):
    """The changed keys of each repository and the lease of its one writer (decision 9).

    A cache: it may be flushed at any time, which costs a full difference, never data.
    """

    def add(self, repository: RepositoryName, keys: frozenset[str]) -> bool:
        """Remember ``keys``; True when the caller must enqueue a publish task because none is queued."""

    def add_many(self, changes: dict[RepositoryName, frozenset[str]]) -> list[RepositoryName]:
        """``add`` for many repositories in one round trip; the ones for which a publish task must be enqueued."""

    def started(self, repository: RepositoryName) -> None:
        """A publish task has begun: from now on new keys need a new task (or the present holder)."""

    def acquire(self, repository: RepositoryName) -> Lease | None:
        """Take the lease, or None when another holder has it. Keys a dead holder left in flight are pending again."""

    def take(self, lease: Lease, repository: RepositoryName, limit: int) -> Scope | None:
        """Move up to ``limit`` pending keys in flight, all of them with ``Everything``; None when nothing is pending.

        ``Everything`` is given after a flush or ``need_everything``, until a full sync is ``done``. One that goes on
        behind what was ``reached`` leaves pending keys pending: they may lie before.

        Raises:
            Busy: the lease is lost.
        """

    def reached(self, lease: Lease, repository: RepositoryName, scope: Everything) -> bool:
        """The full sync under way is published as far as ``scope`` says; the next ``take`` goes on there.

        Returns:
            Whether that is noted: not when somebody asked for everything anew, or after a flush.

        Raises:
            Busy: the lease is lost.
        """

    def take_keys(self, lease: Lease, repository: RepositoryName, limit: int) -> Keys | None:
        """Like ``take``, but never everything: the keys that are pending, though a full sync may be due as well.

        Raises:
            Busy: the lease is lost.
        """

    def done(self, lease: Lease, repository: RepositoryName, scope: Scope) -> None:
        """What ``take`` gave is published.

        ``Everything`` also marks the repository as known in full, unless a flush or ``need_everything`` came between.
        """

    def need_everything(self, repository: RepositoryName, *, anew: bool = True) -> None:
        """Forget that the repository is known in full: the next ``take``, whoever asks, is ``Everything``.

        Args:
            repository: which.
            anew: from the front; otherwise one that is under way will do.
        """

    def is_whole(self, repository: RepositoryName) -> bool:
        """Whether the repository is known in full; otherwise ``take`` gives ``Everything``."""

    def forget(self, repository: RepositoryName, seconds: float) -> None:
        """There is no such repository: forget its keys, and take none in for so long, or until ``need_everything``.

        Nothing happens when it is being published or was: then it is there, and the caller looked too early.
        """

    def drop(self, repository: RepositoryName) -> None:
        """It is given up: forget its keys, its lease, and that it is known in full. A holder finds its lease lost."""

    def give_back(self, lease: Lease, repository: RepositoryName) -> None:
        """Keys in flight are pending again (publishing failed); nothing happens when there are none."""

    def release(self, lease: Lease, repository: RepositoryName) -> bool:
        """Let go of the lease; True when work is left, keys or everything, and the caller must enqueue a task."""

    def waiting(self, repositories: list[RepositoryName]) -> list[RepositoryName]:
        """Those that need a publish task, claimed as in ``add``: no lease, and keys pending or a flush."""

    def count(self, repository: RepositoryName) -> int:
        """Keys pending and in flight."""

    def backlog(self, repository: RepositoryName, limit: int) -> Backlog:
        """What is to be published yet, for people to look at, with ``limit`` keys of each kind at most.

        Which keys are shown of more than that is left open, and may differ from call to call.
        """


class Records(Protocol):
    """What people look at: progress and last reports. A cache: losing it loses no data."""

    def set_link(self, repository: RepositoryName, progress: LinkProgress) -> None:
        """Record how one link of a chain stands."""

    def links(self, repository: RepositoryName, chain: type[AnyLink] = Link) -> list[LinkProgress]:
        """The links of a chain that are recorded, in its order."""

    def set_faults(self, repository: RepositoryName, faults: tuple[Fault, ...]) -> None:
        """Record what is missing or damaged in the storage at present."""

    def faults(self, repository: RepositoryName) -> list[Fault]:
        """What is missing or damaged, the first of it; empty also when nothing is known."""

    def set_report(self, report: SyncReport) -> None:
        """Record a sync that ended now."""

    def last_report(self, repository: RepositoryName) -> SyncReport | None:
        """The last sync, or None."""

    def reports(self, repository: RepositoryName) -> list[SyncReport]:
        """The last syncs, newest first; a bounded number, each with its first refusals."""

    def set_progress(self, repository: RepositoryName, progress: SyncProgress | None) -> None:
        """Record how far the sync under way is; None when there is none any more."""

    def progress(self, repository: RepositoryName) -> SyncProgress | None:
        """How far the sync under way is, or None. One whose worker died is forgotten after some minutes."""

    def refusals(self, repository: RepositoryName) -> list[Refusal]:
        """Keys refused at present, sorted."""

    def set_refusals(self, repository: RepositoryName, refused: list[Refusal], cleared: frozenset[str] | None) -> None:
        """Replace the refusals of the keys in ``cleared`` (all when None) by ``refused``."""


class Glances(Protocol):
    """What ``Records``, ``PendingKeys`` and ``TurnStates`` say of many repositories, in one go."""

    def read(self, repositories: Sequence[RepositoryName]) -> list[Glance]:
        """One for each repository, in the same order."""


class CommitDoor(Protocol):
    """The publisher's way to stratum 0 (queue ``stratum0.commit``)."""

    def commit(self, request: CommitRequest) -> CommitAnswer:
        """Ask and wait.

        Raises:
            ServiceUnavailable: no answer in time; the commit may or may not have happened.
            CandidateRefused: stratum 0 will not sign it; the message says why.
        """


class DeadLetters(Protocol):
    """Messages that nobody could work on (queue ``softman.dead``)."""

    def count(self) -> int:
        """How many there are, without those that somebody looks at in this moment."""

    def visit(self, decide: Callable[[DeadLetter], Fate]) -> None:
        """Look at every letter that was there at the beginning, oldest first, and do with each what ``decide`` says.

        A letter that is put back to its queue is there, confirmed, before it leaves the dead letters: whoever is
        killed half way may leave it in both, never in none. While it lasts nobody else sees the letters. ``decide`` may
        raise: what was not decided on stays.

        Raises:
            InvalidInput: a letter shall go back whose queue is not known.
            ServiceUnavailable: the broker does not answer; those decided on before are done.
        """


class Operations(Protocol):
    """What administrators see of the broker and of the workers."""

    def queues(self) -> list[QueueDepth]:
        """Every queue of ours, those of tasks first."""

    def workers(self) -> list[WorkerState]:
        """The workers that answer in time, sorted by name."""


class AuditLog(Protocol):
    """Who asked for what, when, and what came of it: lines are added, never changed. On stratum 0 (decision 13)."""

    def record(self, event: AuditEvent) -> None:
        """Add a line.

        Raises:
            ServiceUnavailable: it cannot be written.
        """

    def events(self, since: datetime | None = None) -> Iterator[dict[str, Any]]:
        """What was recorded, oldest first, from ``since`` on."""


class UpkeepMarks(Protocol):
    """How far the upkeep of repositories is, on stratum 0. Losing it costs time: a cycle of checks begins anew."""

    def load(self, repository: RepositoryName) -> UpkeepMark:
        """How far it is; that of a new repository when nothing is known."""

    def save(self, repository: RepositoryName, mark: UpkeepMark) -> None:
        """Note how far it is.

        Raises:
            ServiceUnavailable: it cannot be written.
        """

    def turn(self) -> AbstractContextManager[None]:
        """The right to do upkeep: one repository at a time on this host.

        Raises:
            Busy: somebody else has it.
        """


class Clockwork(Protocol):
    """What several beats share, so that they keep one schedule. A cache: a flush costs a task asked for twice."""

    def claim(self, entry: str, seconds: float) -> float:
        """Take the present turn of an entry that is due every ``seconds``.

        Returns:
            0 when the turn is the caller's; otherwise another has taken it, and the next is due in so many seconds.
        """

    def give_back(self, entry: str) -> None:
        """The turn just taken came to nothing: it is due again, for anybody."""

    def alive(self, name: str) -> None:
        """The beat of this name runs."""

    def beats(self) -> dict[str, float]:
        """Beats that were alive lately, and how many seconds ago."""


class TurnStates(Protocol):
    """What is remembered between turns of publishers. A cache: losing it makes them try again sooner."""

    def set_failure(self, repository: RepositoryName, failure: Failure | None) -> None:
        """Record that turns of a repository fail for good, or no longer."""

    def failure(self, repository: RepositoryName) -> Failure | None:
        """Why turns of a repository fail at present, or None."""

    def add_stranger(self, stranger: Stranger) -> None:
        """Record a bucket whose events are refused; the last of each bucket, a bounded number of buckets."""

    def strangers(self) -> list[Stranger]:
        """Buckets whose events were refused during the last day, sorted by name."""

    def enter(self, owner: str, most: int) -> Lease | None:
        """Take one of the ``most`` places that an owner's turns have at the same time; None when none is free."""

    def leave(self, owner: str, place: Lease) -> None:
        """Give a place back."""
