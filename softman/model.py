"""Values that cross layers: registry records, objects, scopes, changes and reports. All frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from softman.errors import InvalidInput
from softman.names import Owner, RepositoryName

PUBLISHED_PREFIX = "cvmfs/"
"""Only keys below this prefix of a bucket are published: ``cvmfs/a/b.txt`` is ``/a/b.txt``."""

MAX_REPAIRS = 1000
"""Files that one commit request may name for repair."""

MAX_CONFIGURATION = 32 * 1024
"""Bytes of ``cvmfs/.softman.toml``, which also travels in a commit request and lies in the registry."""


class State(StrEnum):
    """How far a repository's provisioning came, as far as stratum 0 is concerned, and whether it takes commits."""

    REQUESTED = "requested"
    CREATED = "created"
    ACTIVE = "active"
    LOCKED = "locked"
    """An administrator stopped it: clients read what it shows, nothing is signed."""
    RETIRED = "retired"
    """It is given up, and its name is not given away."""


@dataclass(frozen=True, slots=True)
class Quotas:
    """What one repository may hold; stratum 0 accepts no more. Bytes are those of uncompressed content."""

    max_entries: int = 10_000_000
    max_bytes: int = 10 * 1024**4
    max_object_bytes: int = 1024**4
    """Of one object that is published as a file."""
    max_archive_bytes: int = 64 * 1024**3
    """Of one archive, as it lies in the bucket."""


@dataclass(frozen=True, slots=True)
class Pause:
    """What the bucket says is not published until somebody resumes it: a roll-back shows something else on purpose."""

    since: float
    """Unix time."""
    reason: str
    """In words."""


@dataclass(frozen=True, slots=True)
class Retirement:
    """How a repository was given up. Times are Unix times."""

    since: float
    until: float
    """When content and keys may be dropped, unless they are kept; until then it can be restored."""
    keep_content: bool = True
    """Clients go on reading it, and its whitelist is signed anew."""
    locked: bool = False
    """It was locked before, and is locked again when it is restored."""
    dropped: bool = False
    """Content and keys are gone for good."""


@dataclass(frozen=True, slots=True)
class RegistryRecord:
    """One repository in the registry (Vault, ``softman/repositories/<repository>``), written by stratum 0 only."""

    repository: RepositoryName
    owner: Owner
    state: State = State.REQUESTED
    backend: str = "native"
    quotas: Quotas = field(default_factory=Quotas)
    configuration: str = ""
    """The last good ``cvmfs/.softman.toml`` of the bucket; empty when it has none."""
    pause: Pause | None = None
    retirement: Retirement | None = None
    version: int = 0
    """The version to compare and swap with; 0 means not stored yet."""


class Link(StrEnum):
    """The links of the provisioning chain, in order."""

    CREATE_REPOSITORY = "create repository"
    PUBLISH_KEYS = "publish keys"
    ATTACH_PUBLISHER = "attach publisher"
    CONNECT_BUCKET = "connect bucket"
    FIRST_SYNC = "first sync"


class RetirementLink(StrEnum):
    """The links of the chain that gives a repository up, in order."""

    REVOKE_KEYS = "revoke keys"
    DISCONNECT_BUCKET = "disconnect bucket"
    FORGET_PENDING = "forget pending keys"


AnyLink = Link | RetirementLink


class LinkState(StrEnum):
    """How one link stands."""

    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LinkProgress:
    """Progress of one link: state, Unix time of the last change, and the reason or result in words."""

    link: AnyLink
    state: LinkState
    at: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class BucketObject:
    """One object of a bucket, as listed or looked up."""

    key: str
    size: int
    etag: str
    """Without the quotes that S3 puts around it."""
    last_modified: float
    """Unix time."""
    metadata: dict[str, str] = field(default_factory=dict)
    """User metadata, keys in lower case without ``x-amz-meta-``; empty when it came from a listing."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A key that is not published, and why, in words for its owner."""

    key: str
    reason: str
    etag: str = ""


@dataclass(frozen=True, slots=True)
class Everything:
    """The scope of a full difference."""

    after: str = ""
    """The last key that was compared already, when it goes on with one that was cut."""
    rules: str = ""
    """The fingerprint of the rules under which that was; under others it begins at the front."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The scope of some keys of the bucket (with the ``cvmfs/`` prefix)."""

    keys: frozenset[str]


@dataclass(frozen=True, slots=True)
class Part:
    """The scope of a difference over a part of the bucket, or over all of it with more care.

    Raises:
        InvalidInput: the prefix is not one of published keys.
    """

    prefix: str = PUBLISHED_PREFIX
    """Of the keys to compare, ``cvmfs/`` included."""
    after: str = ""
    """The last key that was compared before, when this goes on with a sync that was cut."""
    verify: bool = False
    """Read every object again and compare its content."""

    def __post_init__(self) -> None:
        if not self.prefix.startswith(PUBLISHED_PREFIX):
            msg = f"{self.prefix[:80]!r} is no prefix of published keys: they begin with {PUBLISHED_PREFIX}"
            raise InvalidInput(msg)


Scope = Everything | Keys
"""What pending keys ask for."""


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What one sync did. Counts are objects; ``bytes_read`` counts what came from the bucket."""

    repository: str
    revision: int
    root_hash: str
    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    bytes_read: int = 0
    seconds: float = 0.0
    finished_at: float = 0.0
    refused: tuple[Refusal, ...] = ()
    """Keys that it refused; where reports are kept, the first of them."""
    refusals: int = 0
    """How many keys it refused; where reports are kept."""
    scope: str = ""
    """What was synced, in words."""
    repaired: int = 0
    """Files whose stored content was damaged and was replaced; found by verifying."""
    entries: int = 0
    """What the repository held then, as in ``Usage``; 0 when not known."""
    bytes: int = 0
    put_at: float = 0.0
    """When the first of the objects that it published was put into the bucket, Unix time; 0 when it published none."""


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """How far the sync under way is. Times are Unix times."""

    repository: str
    scope: str
    """In words."""
    started_at: float
    at: float
    compared: int = 0
    """Objects and entries that were compared."""
    objects: int = 0
    """Objects that were looked at because they differ."""
    bytes_read: int = 0
    remaining: int | None = None
    """Objects that are left, to be looked at or to be compared, where that is known."""
    revision: int | None = None
    """The last revision that it committed."""
    remaining_bytes: int | None = None
    """Bytes in objects that are left to be compared, where that is known; not all of them need be read."""

    @property
    def done(self) -> int:
        """What ``remaining`` goes on from: objects that were looked at, or compared."""
        return self.compared or self.objects

    @property
    def objects_per_second(self) -> float:
        """The mean rate since the beginning."""
        return self.objects / max(self.at - self.started_at, 0.001)

    @property
    def bytes_per_second(self) -> float:
        """The mean rate since the beginning."""
        return self.bytes_read / max(self.at - self.started_at, 0.001)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something of a repository that is missing or damaged in its storage."""

    object: str
    """Hash and suffix; empty for a tree that cannot be walked."""
    path: str
    """A file of the revision in force that needs it; empty when none does, or it cannot be told."""
    message: str
    since: float
    """Unix time when it was noticed."""


@dataclass(frozen=True, slots=True)
class UpkeepMark:
    """How far the upkeep of a repository is. Times are Unix times."""

    collected_at: float = 0.0
    """When the last collection came to its end."""
    check_begun: float = 0.0
    """When the cycle of checks under way began; 0 before the first."""
    check_after: str = ""
    """The hash that it came to."""
    checked_at: float = 0.0
    """When it was looked at last."""
    faults: tuple[Fault, ...] = ()
    """What is wrong at present."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What of a repository is to be published yet."""

    pending: int = 0
    """Keys that wait."""
    in_flight: int = 0
    """Keys that a publisher has taken and is at work on."""
    everything: bool = False
    """The whole bucket is to be compared, too."""
    held: bool = False
    """A publisher is at work."""
    keys: tuple[str, ...] = ()
    """Keys that wait, sorted; some of them when there are many."""
    keys_in_flight: tuple[str, ...] = ()
    """Keys in flight, likewise."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a repository holds, counted as its quotas are: entries of all kinds, bytes of uncompressed content."""

    entries: int
    bytes: int


@dataclass(frozen=True, slots=True)
class OwnerQuota:
    """What the repositories of one owner may hold together, as seen from one of them. 0 sets no limit."""

    user: str
    max_entries: int
    max_bytes: int
    others: Usage
    """What all but the one at hand hold."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one publish task did: the syncs it made, and what should follow."""

    revision: int | None = None
    """The last revision committed, None when there was nothing to commit."""
    reports: tuple[SyncReport, ...] = ()
    again: bool = False
    """Work is left: queue ``publish_changes`` for this repository."""
    bulk: bool = False
    """What is left is a full sync: queue it behind the interactive work, on ``publisher.bulk``."""
    held_elsewhere: bool = False
    """Another worker has the lease and will do it."""
    crowded: bool = False
    """The owner has as many turns as may be: queue it again, a little later."""
    rest: Part | None = None
    """What is left of a sync of a part: queue it again with this scope."""
    connected: bool = False
    """The repository is retired, and its bucket still notifies us: queue ``disconnect_bucket``."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Turns of a repository fail for a reason that does not pass by itself. Times are Unix times."""

    reason: str
    code: str
    """Of the error's class."""
    since: float
    at: float
    """When it failed last."""
    times: int
    """How often in a row."""
    again_at: float
    """When it is tried again by itself."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A bucket whose events are refused: why, and when the last of them came, in Unix time."""

    bucket: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Glance:
    """What changes often of a repository, in short: for lists of many."""

    links: tuple[LinkProgress, ...] = ()
    pending: int = 0
    """Keys that wait or are in flight."""
    refusals: int = 0
    """Keys that are refused at present."""
    progress: SyncProgress | None = None
    last: SyncReport | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class RepositoryStatus:
    """What the dashboard and the command line say of a repository."""

    name: RepositoryName
    state: State
    owner: Owner
    url: str
    revision: int | None = None
    links: tuple[LinkProgress, ...] = ()
    """Of the chain that provisioned it, or of the one that gave it up when ``state`` is ``retired``."""
    pending: int = 0
    progress: SyncProgress | None = None
    """Of the sync under way, None when there is none."""
    last: SyncReport | None = None
    refusals: tuple[Refusal, ...] = ()
    failure: Failure | None = None
    """Why nothing can be published at present."""
    quotas: Quotas = field(default_factory=Quotas)
    usage: Usage | None = None
    """What it holds; None when nobody asked, or it cannot be read."""
    backlog: Backlog | None = None
    """What is to be published yet; None when nobody asked."""
    whitelist_expires: float | None = None
    """Unix time at which clients refuse the repository, unless its whitelist is signed anew; None as for ``usage``."""
    pause: Pause | None = None
    """Why what the bucket says is not published at present, and since when; ``softman resume`` ends it."""
    retirement: Retirement | None = None
    """How it was given up, when ``state`` is ``retired``."""
    faults: tuple[Fault, ...] = ()
    """What is missing or damaged in its storage; the first of it."""


@dataclass(frozen=True, slots=True)
class Base:
    """The revision that a candidate is built on."""

    revision: int
    root_hash: str


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """A publisher's wish that stratum 0 signs ``new_root_hash``, with the gateway key's signature over all the rest."""

    repository: str
    transaction: str
    base: Base
    new_root_hash: str
    key_id: str
    signature: str
    configuration: str | None = None
    """The bucket's configuration, to be kept as the last good one; None when it did not change."""
    path: str = ""
    """The directory outside of which nothing changes; empty for the whole repository."""
    repairs: tuple[str, ...] = ()
    """Paths of files whose objects are staged again because what is stored of them is damaged."""
    tag: str = ""
    """What to call the revision, besides ``trunk``; empty for nothing."""
    tag_description: str = ""


@dataclass(frozen=True, slots=True)
class CommitAnswer:
    """What stratum 0 says: ``committed`` with the new revision, or not, with the base that is current now."""

    committed: bool
    current: Base
    reason: str = ""
    key_replaced: bool = False
    """The request is signed with the former gateway key: sign it with the present one."""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Something that stratum 0 was asked for, and what came of it. Without secrets."""

    action: str
    outcome: str
    repository: str = ""
    requested_by: str = ""
    """Who asked, as far as the sender says."""
    origin: str = ""
    """From which process and host."""
    task: str = ""
    """The id of the task."""
    detail: str = ""
    more: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """A queue of the broker: messages that wait, and processes that consume it."""

    name: str
    messages: int
    consumers: int


@dataclass(frozen=True, slots=True)
class WorkerState:
    """What a worker says of itself: its node name, its queues, tasks in work, tasks done since its start, processes."""

    name: str
    queues: tuple[str, ...] = ()
    active: int = 0
    processed: int = 0
    processes: int = 0


@dataclass(frozen=True, slots=True)
class Death:
    """One time that a message ended in the dead letters: when (Unix time, 0 unknown), from which queue, and why."""

    at: float
    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that nobody could work on."""

    id: str
    """Made of its content: it stays the same however often one looks."""
    queue: str
    """Where it came from and would go back to; empty when that is not known."""
    task: str
    """The task's name; empty for a notification of the object store and for what is no task."""
    task_id: str
    arguments: str
    """As JSON, for a task."""
    deaths: tuple[Death, ...]
    """All of them, the last one first; at least one."""
    body: bytes = b""

    @property
    def reason(self) -> str:
        """Why it is here, in words."""
        return self.deaths[0].reason

    @property
    def at(self) -> float:
        """Unix time since when it is here, 0 when not known."""
        return self.deaths[0].at


class Fate(StrEnum):
    """What shall become of a dead letter."""

    KEEP = "keep"
    REQUEUE = "requeue"
    DISCARD = "discard"
