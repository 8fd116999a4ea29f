"""What templates show: values of the desk, in words. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from softman.dashboard import text
from softman.dashboard.desk_views import Condition, Part, Repository, Requestable
from softman.dashboard.pages.words import CONDITIONS, MISSING, STEP_STATES, STEPS, advice
from softman.model import (
    Failure,
    Link,
    LinkProgress,
    LinkState,
    Pause,
    Refusal,
    Retirement,
    State,
    SyncProgress,
    SyncReport,
)
from softman.names import Kind
from softman.services.authority import Action, Relation


@dataclass(frozen=True, slots=True)
class May:
    """What the reader may do; templates show what is possible and nothing else."""

    resync: bool
    roll_back: bool
    retire: bool
    restore: bool
    upload: bool


@dataclass(frozen=True, slots=True)
class ProgressView:
    """A sync under way."""

    what: str
    said: str
    rates: str
    done: int
    most: int | None


@dataclass(frozen=True, slots=True)
class RepositoryView:
    """A repository, as pages show it."""

    name: str
    label: str
    home: str
    symbol: str
    state_text: str
    state_kind: str
    owner_text: str
    owner_name: str
    facts: tuple[str, ...]
    mount: str
    bucket_path: str
    url: str
    revision: int | None
    entries: int | None
    bytes: int | None
    pending: int
    problems: int
    changed_at: float | None
    failure: Failure | None
    progress: ProgressView | None
    is_made: bool
    is_locked: bool
    is_retired: bool
    is_empty: bool
    pause: Pause | None
    retirement: Retirement | None

    @property
    def has_pages(self) -> bool:
        """Whether there is something to show beyond its being made."""
        return self.is_made


def repository_view(found: Repository) -> RepositoryView:
    """One repository in words."""
    state_text, state_kind = CONDITIONS[found.condition]
    personal = found.owner.kind is Kind.PERSONAL
    usage = found.usage
    entries = None if usage is None else max(usage.entries - 1, 0)  # the root is none that anybody made
    changed = found.last.finished_at if found.last is not None else None
    return RepositoryView(
        name=str(found.name),
        label=found.name.label,
        home=f"/repositories/{quote(str(found.name))}",
        symbol="box" if personal else "group",
        state_text=state_text,
        state_kind=state_kind,
        owner_text=_owner_text(found),
        owner_name=found.owner.user if personal else f"group {found.owner.group}",
        facts=_facts(found),
        mount=f"/cvmfs/{found.name}",
        bucket_path=f"s3://{found.bucket}/cvmfs/",
        url=found.url,
        revision=found.revision,
        entries=entries,
        bytes=None if usage is None else usage.bytes,
        pending=found.pending,
        problems=found.refusals,
        changed_at=changed,
        failure=found.failure,
        progress=None if found.progress is None else progress_view(found.progress),
        is_made=found.condition not in {Condition.MAKING, Condition.STOPPED} or _was_made(found),
        is_locked=found.state is State.LOCKED,
        is_retired=found.state is State.RETIRED,
        is_empty=entries == 0,
        pause=found.pause,
        retirement=found.retirement,
    )


def _was_made(found: Repository) -> bool:
    """Whether it was made before: whoever asks for it again keeps its pages while its parts are looked at."""
    done = any(link.link is Link.FIRST_SYNC and link.state is LinkState.DONE for link in found.links)
    return done or found.last is not None


def may_view(found: Repository) -> May:
    """What the reader may do with it."""
    return May(
        resync=Action.RESYNC in found.may,
        roll_back=Action.ROLL_BACK in found.may,
        retire=Action.RETIRE in found.may,
        restore=Action.RESTORE in found.may,
        upload=Action.UPLOAD in found.may,
    )


def missing_in_words(missing: Iterable[Part]) -> tuple[str, ...]:
    """What a reader should know about parts that are away."""
    return tuple(MISSING[part] for part in dict.fromkeys(missing))


def _owner_text(found: Repository) -> str:
    if found.owner.kind is Kind.GROUP:
        role = ", which you manage" if Relation.MANAGER in found.relations else ""
        return f"Repository of the group {found.owner.group}{role}"
    if Relation.OWNER in found.relations:
        return "Your personal repository"
    return f"Personal repository of {found.owner.user}"


def _facts(found: Repository) -> tuple[str, ...]:
    facts = ["Personal" if found.owner.kind is Kind.PERSONAL else f"Group {found.owner.group}"]
    if found.revision is not None:
        facts.append(f"Version {text.number(found.revision)}")
    if found.pending:
        facts.append(f"{text.plural(found.pending, 'file')} waiting")
    return tuple(facts)


def progress_view(progress: SyncProgress) -> ProgressView:
    """How far a sync is."""
    said = f"{text.plural(progress.done, 'file')} so far"
    most = None
    if progress.remaining is not None:
        most = progress.done + progress.remaining
        said = f"{text.number(progress.done)} of {text.plural(most, 'file')}"
    rates = [f"{text.number(progress.objects_per_second)} files/s", f"{text.size(progress.bytes_per_second)}/s"]
    if progress.bytes_read:
        rates.insert(0, f"{text.size(progress.bytes_read)} read")
    return ProgressView(_scope(progress.scope).lower(), said, " · ".join(rates), progress.done, most or None)


@dataclass(frozen=True, slots=True)
class StepView:
    """One step of the making."""

    title: str
    text: str
    state: str
    state_text: str
    at: float | None
    problem: str
    problem_title: str


@dataclass(frozen=True, slots=True)
class MakingView:
    """How far the making is."""

    title: str
    steps: tuple[StepView, ...]
    done: int
    failed: bool


def making_view(links: Iterable[LinkProgress]) -> MakingView:
    """The steps, in order; those that nobody has heard of wait."""
    known = {link.link: link for link in links}
    steps = tuple(_step(link, known.get(link)) for link in Link)
    failed = any(step.state == LinkState.FAILED for step in steps)
    title = "Making your repository stopped" if failed else "Making your repository"
    return MakingView(title, steps, sum(step.state == LinkState.DONE for step in steps), failed)


def _step(link: Link, progress: LinkProgress | None) -> StepView:
    title, words = STEPS[link]
    state = progress.state if progress else LinkState.WAITING
    problem, problem_title = "", ""
    if progress and progress.detail and state in {LinkState.FAILED, LinkState.RETRYING}:
        problem = progress.detail
        problem_title = "It stopped:" if state is LinkState.FAILED else "It is tried again by itself:"
    return StepView(
        title, words, str(state), STEP_STATES[state], progress.at if progress else None, problem, problem_title
    )


@dataclass(frozen=True, slots=True)
class SyncView:
    """One publication."""

    at: float
    what: str
    added: int
    changed: int
    removed: int
    seconds: float
    refused: int


def sync_view(report: SyncReport) -> SyncView:
    """One publication in words."""
    return SyncView(
        report.finished_at,
        _scope(report.scope),
        report.added,
        report.changed,
        report.removed,
        report.seconds,
        report.refusals or len(report.refused),
    )


def _scope(words: str) -> str:
    """What was published, in words: the service says ``3 changed keys``, ``everything`` or a prefix of keys."""
    what, _, more = words.partition(", ")
    if what == "everything":
        said = "The whole bucket"
    elif what.endswith(" changed keys"):
        said = text.plural(int(what.split()[0]), "changed file")
    else:
        said = f"The folder {what.removeprefix('cvmfs/')}" if what else "Changes"
    return f"{said}, {more}" if more else said


@dataclass(frozen=True, slots=True)
class RefusalView:
    """A file that is not published, why, and what helps."""

    key: str
    reason: str
    advice: str


def refusal_view(refusal: Refusal) -> RefusalView:
    """A refused key in words."""
    reason = refusal.reason
    return RefusalView(
        refusal.key.removeprefix("cvmfs/") or refusal.key, reason[:1].upper() + reason[1:], advice(reason)
    )


@dataclass(frozen=True, slots=True)
class OfferView:
    """A repository that can be asked for."""

    kind: str
    group: str
    label: str
    name: str
    possible: bool
    reason: str


def offer_view(found: Requestable) -> OfferView:
    """What can be asked for, in words."""
    name = "" if found.name is None else str(found.name)
    label = found.group or (found.name.label if found.name else "")
    return OfferView(
        str(found.kind), found.group or "", label, name, not found.problem and not found.exists, found.problem
    )
