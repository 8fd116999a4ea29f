"""What the REST API answers and takes, with examples: the words of ``docs/api.md`` and of the OpenAPI description."""

from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from softman import model
from softman.dashboard import desk_views as views
from softman.dashboard.api.names import to_text
from softman.names import Kind
from softman.services import browsing
from softman.services.authority import Action, Relation

_T = TypeVar("_T")
_MAX_QUOTA = 2**63 - 1


def _whole(value: object) -> object:
    """JSON has one kind of number: 6.0 is 6."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Quota = Annotated[int, Field(ge=1, le=_MAX_QUOTA), BeforeValidator(_whole)]
RevisionNumber = Annotated[int, Field(ge=1, le=2**63 - 1, examples=[6]), BeforeValidator(_whole)]
_UNNAMED = 0
UnixTime = Annotated[float, Field(description="Unix time, seconds", examples=[1795305600.0])]
PathText = Annotated[
    str,
    Field(
        description="Absolute path. Bytes that are no UTF-8, control bytes and % are percent-encoded.",
        examples=["/bin/tool"],
    ),
]
RepositoryText = Annotated[str, Field(description="Name of the repository", examples=["alice.example.org"])]


class Answer(BaseModel):
    """Every answer: fields may be added in later versions."""

    model_config = ConfigDict(frozen=True)


class Body(BaseModel):
    """Every request: fields that are not known are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProblemDocument(Answer):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=["urn:softman:problem:not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no repository bob.example.org that you may see"])
    instance: str = Field(examples=["/api/v1/repositories/bob.example.org"])
    request_id: str = Field(examples=["5f0c9d4be31fa2aa"], description="To be named when asking for help.")


class Me(Answer):
    """Who asks."""

    user: str = Field(examples=["alice"], description="The name of the personal repository.")
    subject: str
    name: str = Field(examples=["Alice Liddell"])
    groups: list[str]
    managed: list[str] = Field(description="Groups that you manage.")
    admin: bool


class Listing(Answer, Generic[_T]):
    """A part of a list."""

    items: list[_T]
    next: str | None = Field(
        None, description="What to give as `after` for the next part; null at the end. The header `Link` has its URL."
    )
    missing: list[views.Part] = Field(
        default_factory=list, description="Parts of softman that do not answer now: what they know is old or left out."
    )
    read_at: UnixTime | None = Field(None, description="When the list was read, if that was not just now.")


class Owner(Answer):
    """Whose a repository is."""

    kind: Kind
    user: str = Field(examples=["alice"], description="Who asked for it.")
    group: str | None = Field(None, examples=["physics"])


class ChainLink(Answer):
    """A link of the provisioning chain."""

    link: model.Link
    state: model.LinkState
    at: UnixTime
    detail: str

    @classmethod
    def of(cls, link: model.LinkProgress) -> Self:
        """From what is recorded."""
        return cls(link=link.link, state=link.state, at=link.at, detail=link.detail)


class Refusal(Answer):
    """A key of the bucket that is not published."""

    key: str = Field(examples=["cvmfs/a//b"])
    reason: str = Field(examples=["a part of the path is empty"])

    @classmethod
    def of(cls, refusal: model.Refusal) -> Self:
        """From what is recorded."""
        return cls(key=_text(refusal.key), reason=refusal.reason)


class Sync(Answer):
    """One sync that ended."""

    revision: int = Field(examples=[7])
    finished_at: UnixTime
    seconds: float = Field(examples=[0.42])
    scope: str = Field(examples=["3 keys"], description="What was compared, in words.")
    added: int
    changed: int
    removed: int
    unchanged: int
    bytes_read: int
    refusals: int = Field(description="Keys that it refused.")
    refused: list[Refusal] = Field(description="The first of them.")

    @classmethod
    def of(cls, report: model.SyncReport) -> Self:
        """From what is recorded."""
        return cls(
            revision=report.revision,
            finished_at=report.finished_at,
            seconds=report.seconds,
            scope=report.scope,
            added=report.added,
            changed=report.changed,
            removed=report.removed,
            unchanged=report.unchanged,
            bytes_read=report.bytes_read,
            refusals=report.refusals,
            refused=[Refusal.of(each) for each in report.refused],
        )


class Progress(Answer):
    """How far the sync under way is."""

    scope: str
    started_at: UnixTime
    at: UnixTime
    compared: int
    objects: int
    bytes_read: int
    remaining: int | None = Field(description="Objects that are left, where that is known.")

    @classmethod
    def of(cls, progress: model.SyncProgress) -> Self:
        """From what is recorded."""
        return cls(
            scope=progress.scope,
            started_at=progress.started_at,
            at=progress.at,
            compared=progress.compared,
            objects=progress.objects,
            bytes_read=progress.bytes_read,
            remaining=progress.remaining,
        )


class Failure(Answer):
    """Why nothing can be published at present."""

    reason: str
    code: str
    since: UnixTime
    times: int
    again_at: UnixTime


class Quotas(Answer):
    """What a repository may hold; bytes of uncompressed content."""

    max_entries: int
    max_bytes: int
    max_object_bytes: int
    max_archive_bytes: int


class Usage(Answer):
    """What a repository holds."""

    entries: int
    bytes: int


class Repository(Answer):
    """A repository as the one who asks sees it."""

    name: RepositoryText
    owner: Owner
    relations: list[Relation] = Field(description="What you are to it.")
    may: list[Action] = Field(description="What you may do with it.")
    state: model.State
    condition: views.Condition = Field(description="How it is, in one word.")
    bucket: str = Field(examples=["alice"])
    url: str = Field(examples=["https://cvmfs.example.org/cvmfs/alice.example.org"], description="For clients.")
    revision: int | None
    pending: int = Field(description="Keys that are to be published yet.")
    refusals: int = Field(description="Keys that are refused.")
    links: list[ChainLink] = Field(description="The provisioning chain, in order.")
    progress: Progress | None = Field(description="The sync under way.")
    last_sync: Sync | None
    failure: Failure | None
    paused_since: UnixTime | None = Field(
        description="Rolled back then: what is in the bucket is not published until it is resumed."
    )
    retired_until: UnixTime | None = Field(description="Retired; it can be restored until then.")
    quotas: Quotas
    usage: Usage | None = Field(description="Only of a single repository.")
    record_read_at: UnixTime = Field(description="When the registry was asked.")
    missing: list[views.Part] = Field(description="Parts of softman that do not answer now.")

    @classmethod
    def of(cls, seen: views.Repository) -> Self:
        """From what the desk says."""
        failure = seen.failure
        return cls(
            name=str(seen.name),
            owner=Owner(kind=seen.owner.kind, user=seen.owner.user, group=seen.owner.group),
            relations=sorted(seen.relations),
            may=sorted(seen.may),
            state=seen.state,
            condition=seen.condition,
            bucket=seen.bucket,
            url=seen.url,
            revision=seen.revision,
            pending=seen.pending,
            refusals=seen.refusals,
            links=[ChainLink.of(link) for link in seen.links],
            progress=None if seen.progress is None else Progress.of(seen.progress),
            last_sync=None if seen.last is None else Sync.of(seen.last),
            failure=None
            if failure is None
            else Failure(
                reason=failure.reason,
                code=failure.code,
                since=failure.since,
                times=failure.times,
                again_at=failure.again_at,
            ),
            paused_since=None if seen.pause is None else seen.pause.since,
            retired_until=None if seen.retirement is None else seen.retirement.until,
            quotas=_quotas(seen.quotas),
            usage=None if seen.usage is None else Usage(entries=seen.usage.entries, bytes=seen.usage.bytes),
            record_read_at=seen.record_read_at,
            missing=list(seen.missing),
        )


class Requestable(Answer):
    """A repository that you may ask for."""

    kind: Kind
    group: str | None
    name: RepositoryText | None
    exists: bool = Field(description="It is there; asking again completes what was left half done.")
    problem: str = Field(description="Why it cannot be asked for; empty when it can.")

    @classmethod
    def of(cls, seen: views.Requestable) -> Self:
        """From what the desk says."""
        name = None if seen.name is None else str(seen.name)
        return cls(kind=seen.kind, group=seen.group, name=name, exists=seen.exists, problem=seen.problem)


class Receipt(Answer):
    """A request that was taken down; the repository tells what becomes of it."""

    task_id: str = Field(examples=["6b2d4c5e-1f00-4a5b-9c0e-2f6f0c5d8a11"])
    repository: RepositoryText
    queued: Literal["broker", "outbox"] = Field(
        description="Where it waits: with the workers, or with the dashboard until the message broker answers again."
    )

    @classmethod
    def of(cls, receipt: views.Receipt) -> Self:
        """From what the desk says."""
        queued: Literal["broker", "outbox"] = "broker" if receipt.queued == "broker" else "outbox"
        return cls(task_id=receipt.task_id, repository=str(receipt.repository), queued=queued)


class Pending(Answer):
    """What is to be published yet."""

    pending: int
    in_flight: int = Field(description="Keys that a publisher is at work on.")
    everything: bool = Field(description="The whole bucket is to be compared, too.")
    keys: list[str] = Field(description="Some of the keys.")
    progress: Progress | None
    missing: list[views.Part]

    @classmethod
    def of(cls, seen: views.Pending) -> Self:
        """From what the desk says."""
        backlog = seen.backlog
        return cls(
            pending=backlog.pending,
            in_flight=backlog.in_flight,
            everything=backlog.everything,
            keys=[_text(key) for key in (*backlog.keys_in_flight, *backlog.keys)],
            progress=None if seen.progress is None else Progress.of(seen.progress),
            missing=list(seen.missing),
        )


class Revision(Answer):
    """A revision that can still be looked at, and be rolled back to."""

    revision: int
    published_at: UnixTime
    root_hash: str
    tags: list[str]
    description: str
    current: bool
    sync: Sync | None = Field(description="What made it, when that is still remembered.")

    @classmethod
    def of(cls, seen: views.Revision) -> Self:
        """From what the desk says."""
        return cls(
            revision=seen.number,
            published_at=seen.published_at,
            root_hash=seen.root_hash,
            tags=list(seen.tags),
            description=seen.description,
            current=seen.current,
            sync=None if seen.sync is None else Sync.of(seen.sync),
        )


class Change(Answer):
    """An entry that differs between two revisions."""

    change: Literal["added", "removed", "changed"]
    path: PathText
    what: list[str] = Field(description="In what it differs.", examples=[["content", "mtime"]])
    old_size: int | None
    new_size: int | None

    @classmethod
    def of(cls, seen: browsing.Change) -> Self:
        """From what was found."""
        return cls.model_validate(
            {
                "change": seen.change,
                "path": to_text(seen.path) or "/",
                "what": seen.what,
                "old_size": seen.old_size,
                "new_size": seen.new_size,
            }
        )


class Entry(Answer):
    """A file, directory or symbolic link."""

    name: str = Field(examples=["tool"], description="As `path`.")
    path: PathText
    type: Literal["file", "directory", "symlink", "special"]
    size: int = Field(description="Bytes.")
    mode: str = Field(examples=["0755"], description="Permissions, octal.")
    mtime: UnixTime
    target: str | None = Field(description="Of a symbolic link, as `path`.")
    content_hash: str | None = Field(description="Of a file that is stored in one piece.")

    @classmethod
    def of(cls, item: browsing.Item) -> Self:
        """From what was found."""
        return cls.model_validate(
            {
                "name": to_text(item.name),
                "path": to_text(item.path) or "/",
                "type": item.kind,
                "size": item.size,
                "mode": f"{item.mode:04o}",
                "mtime": item.mtime,
                "target": None if item.target is None else to_text(item.target),
                "content_hash": item.content,
            }
        )


class Directory(Listing[Entry]):
    """A part of a directory, by name, as of one revision."""

    directory: Entry
    revision: int
    published_at: UnixTime


class Diff(Listing[Change]):
    """A part of what changed from one revision to another."""

    old: int
    new: int


class RepositoryRequest(Body):
    """Which repository is asked for."""

    kind: Kind = Field(Kind.PERSONAL, strict=False)
    group: str | None = Field(None, max_length=60, examples=["physics"])


class Rollback(Body):
    """Where to roll back to."""

    revision: RevisionNumber


class Resync(Body):
    """What to compare."""

    prefix: str | None = Field(None, max_length=1024, examples=["cvmfs/bin/"], description="Only keys that begin so.")
    verify: bool = Field(default=False, description="Read every object again.")


class Retire(Body):
    """How to give a repository up."""

    keep_content: bool = Field(default=True, description="Clients go on reading it.")


class QuotaChange(Body):
    """New quotas, one at least; those that are not named stay."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    max_entries: Quota = _UNNAMED
    max_bytes: Quota = _UNNAMED
    max_object_bytes: Quota = _UNNAMED
    max_archive_bytes: Quota = _UNNAMED


def _quotas(quotas: model.Quotas) -> Quotas:
    return Quotas(
        max_entries=quotas.max_entries,
        max_bytes=quotas.max_bytes,
        max_object_bytes=quotas.max_object_bytes,
        max_archive_bytes=quotas.max_archive_bytes,
    )


def _text(key: str) -> str:
    """A key as JSON can have it: S3 lets keys be anything."""
    return key.encode(errors="backslashreplace").decode()
