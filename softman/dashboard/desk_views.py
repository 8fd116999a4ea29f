"""What the desk answers with: frozen values, ready for a page or for JSON."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from softman.model import (
    Backlog,
    Failure,
    LinkProgress,
    LinkState,
    Pause,
    Quotas,
    RegistryRecord,
    Retirement,
    State,
    SyncProgress,
    SyncReport,
    Usage,
)
from softman.names import Kind, Owner, RepositoryName
from softman.services.authority import Action, Relation

_T = TypeVar("_T")


class Part(StrEnum):
    """A part of softman that may be away; what needs it is then missing, or as old as it says."""

    VAULT = "vault"
    REDIS = "redis"
    BROKER = "broker"
    REPOSITORIES = "repositories"
    """The web server that shows them."""
    OBJECT_STORE = "object store"
    STRATUM0 = "stratum 0"


class Condition(StrEnum):
    """How a repository is, in one word."""

    MAKING = "being made"
    STOPPED = "stopped"
    """Making it stopped at a link that failed."""
    PUBLISHING = "publishing"
    FAILING = "not published"
    """What is in the bucket cannot be published at present."""
    READY = "ready"
    PAUSED = "paused"
    """It was rolled back, and what is in the bucket is not published until somebody resumes that."""
    LOCKED = "locked"
    RETIRED = "retired"
    UNKNOWN = "unknown"
    """Redis, which knows, is away."""


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """A part of a list. ``after`` asks for the next part, None when there is none; ``missing`` cannot be asked now."""

    items: tuple[_T, ...]
    after: str | None = None
    missing: tuple[Part, ...] = ()
    read_at: float | None = None
    """When the list itself was read, Unix time; None when just now."""


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository as one person sees it. Times are Unix seconds."""

    name: RepositoryName
    owner: Owner
    relations: frozenset[Relation]
    """What the person is to it."""
    may: frozenset[Action]
    """What the person may do with it."""
    state: State
    condition: Condition
    url: str
    """Where clients read it."""
    quotas: Quotas
    record_read_at: float
    """When the registry was asked."""
    revision: int | None = None
    links: tuple[LinkProgress, ...] = ()
    pending: int = 0
    """Keys that are to be published yet."""
    refusals: int = 0
    """Keys that are refused."""
    progress: SyncProgress | None = None
    last: SyncReport | None = None
    failure: Failure | None = None
    configuration: str = ""
    """The last good ``cvmfs/.softman.toml`` of its bucket; empty when it has none."""
    pause: Pause | None = None
    retirement: Retirement | None = None
    usage: Usage | None = None
    """What it holds; only of a single repository."""
    missing: tuple[Part, ...] = ()

    @property
    def bucket(self) -> str:
        """The bucket whose ``cvmfs/`` area it shows."""
        return self.name.bucket

    @property
    def is_ready(self) -> bool:
        """Whether it is made, and shows what is published."""
        return self.state is State.ACTIVE


@dataclass(frozen=True, slots=True)
class Requestable:
    """A repository that a person may ask for."""

    kind: Kind
    name: RepositoryName | None
    """What it would be called; None when it cannot be."""
    group: str | None = None
    exists: bool = False
    """It is there, or was asked for: asking again completes what was left half done."""
    problem: str = ""
    """Why it cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A wish that was taken down. ``queued`` is where it waits: with the broker, or with the dashboard until then."""

    task_id: str
    repository: RepositoryName
    queued: str = "broker"


@dataclass(frozen=True, slots=True)
class Pending:
    """What is to be published yet, with some of the keys, and the sync under way."""

    backlog: Backlog
    progress: SyncProgress | None = None
    missing: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision that can still be looked at. ``sync`` is what made it, when that is still remembered."""

    number: int
    published_at: float
    root_hash: str
    tags: tuple[str, ...] = ()
    description: str = ""
    current: bool = False
    sync: SyncReport | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue: messages that wait, processes that consume it, and since when it has not been seen empty."""

    name: str
    messages: int
    consumers: int
    waiting_since: float | None = None
    """Unix time; the oldest message is no older. None when it is empty."""


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a part answers, and what it says otherwise."""

    part: Part
    answers: bool
    detail: str = ""
    seconds: float = 0.0
    """How long the answer took."""


@dataclass(frozen=True, slots=True)
class Overview:
    """How the service stands as a whole."""

    parts: tuple[Health, ...]
    concerns: tuple[str, ...] = ()
    """What an administrator should look at, in words."""
    repositories: int = 0
    waiting: int = 0
    """Wishes that wait for the broker."""
    listed_at: float | None = field(default=None)


def condition_of(record: RegistryRecord, repository: Repository) -> Condition:
    """How a repository is, in one word, from its record and what else is known."""
    if record.state in _ENDED:
        return _ENDED[record.state]
    states = {link.state for link in repository.links}
    asked = (
        (record.pause is not None, Condition.PAUSED),
        (LinkState.FAILED in states, Condition.STOPPED),
        (record.state is not State.ACTIVE or bool(states - {LinkState.DONE}), Condition.MAKING),
        (repository.failure is not None, Condition.FAILING),
        (repository.progress is not None or repository.pending > 0, Condition.PUBLISHING),
        (Part.REDIS in repository.missing and repository.last is None, Condition.UNKNOWN),
    )
    return next((condition for holds, condition in asked if holds), Condition.READY)


_ENDED = {State.LOCKED: Condition.LOCKED, State.RETIRED: Condition.RETIRED}
