"""What the parts of the desk share: the services behind it, who may do what, and what is known of a repository."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from softman.adapters.ports import Glances, Operations, PendingKeys, Records, TurnStates
from softman.dashboard.desk_views import Condition, Health, Part, Repository, condition_of
from softman.errors import ServiceUnavailable, SoftmanError
from softman.identity import Principal
from softman.model import Glance
from softman.names import RepositoryName
from softman.services import authority
from softman.services.authority import Action
from softman.services.browsing import Browser
from softman.services.deadletters import DeadLetterOffice
from softman.services.roster import Known, Roster
from softman.services.status import Status
from softman.services.uploads import Uploads


class Wishes(Protocol):
    """Takes wishes down for the workers."""

    def send(self, task: str, arguments: Sequence[object], *, requested_by: str) -> tuple[str, str]:
        """Ask for a task, now or as soon as the broker answers.

        Returns:
            The id of the task, and where it waits: ``broker`` or ``outbox``.
        """

    def waiting(self) -> int:
        """How many wait for the broker."""

    def start(self) -> None:
        """Begin to send those that wait."""

    def close(self) -> None:
        """End that."""


@dataclass(frozen=True)
class Services:
    """What the desk asks."""

    domain: str
    url: str
    """Base address of the repositories, as clients read them."""
    roster: Roster
    glances: Glances
    records: Records
    pending: PendingKeys
    states: TurnStates
    status: Status
    browser: Browser
    public_keys: Callable[[RepositoryName], tuple[bytes, ...]]
    wishes: Wishes
    operations: Operations
    dead_letters: DeadLetterOffice
    uploads: Uploads | None = None
    """Files from browsers; None where that is switched off."""
    checks: Mapping[Part, Callable[[], str]] = field(default_factory=dict)
    """Whether a part answers: gives a word on it, or raises."""
    clock: Callable[[], float] = time.time


class BaseDesk:
    """The ground of the desk.

    Args:
        services: what it asks.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._last: dict[RepositoryName, Glance] = {}
        self._health: tuple[float, tuple[Health, ...]] = (0.0, ())
        self._health_lock = threading.Lock()
        self._waiting_since: dict[str, float] = {}

    def start(self) -> None:
        """Begin to read the registry and to send wishes that wait, in the background."""
        self._services.roster.start()
        self._services.wishes.start()

    def close(self) -> None:
        """End what runs in the background."""
        self._services.roster.close()
        self._services.wishes.close()
        self._services.browser.close()

    def pulse(self, names: Iterable[RepositoryName]) -> dict[RepositoryName, str]:
        """A text for each repository that changes when something of it does; whoever asks has looked at the rights."""
        wanted = list(names)
        glances, missing = self._glances(wanted)
        known = (self._services.roster.get(name) for name in wanted)
        return {
            name: repr((None if each is None else (each.record, each.revision), glance, missing))
            for name, each, glance in zip(wanted, known, glances, strict=True)
        }

    def _seen(self, who: Principal, name: RepositoryName, action: Action = Action.SEE) -> Known:
        """What is known of a repository, for a person who may do this with it.

        Raises:
            NotFound: there is none, or none that the person may see.
            Forbidden: the person sees it, and may not do this.
            ServiceUnavailable: the registry was not read yet, and the vault does not answer.
        """
        roster = self._services.roster
        known = roster.get(name)
        if known is None and (who.admin or name.label in {who.user} | who.groups | who.managed):
            known = roster.look(name)
        if known is None:
            if roster.listed_at is None:
                msg = f"the repositories are not read yet; {roster.problem or 'that takes some seconds'}"
                raise ServiceUnavailable(msg)
            raise authority.unknown(name)
        authority.require(who, known.record.owner, action, name)
        return known

    def _described(self, who: Principal, known: Sequence[Known]) -> tuple[tuple[Repository, ...], tuple[Part, ...]]:
        """Repositories as a person sees them, and what is missing."""
        names = [each.record.repository for each in known]
        glances, missing = self._glances(names)
        found = (self._describe(who, each, glance, missing) for each, glance in zip(known, glances, strict=True))
        return tuple(found), missing + self._stale()

    def _glances(self, names: list[RepositoryName]) -> tuple[list[Glance], tuple[Part, ...]]:
        """What Redis says, or said when it answered last."""
        try:
            found = self._services.glances.read(names)
        except SoftmanError:
            return [self._last.get(name, Glance()) for name in names], (Part.REDIS,)
        self._last.update(zip(names, found, strict=True))
        return found, ()

    def _stale(self) -> tuple[Part, ...]:
        return (Part.VAULT,) if self._services.roster.problem else ()

    def _describe(self, who: Principal, known: Known, glance: Glance, missing: tuple[Part, ...]) -> Repository:
        record = known.record
        published = [revision for revision in (known.revision, _committed(glance)) if revision is not None]
        described = Repository(
            name=record.repository,
            owner=record.owner,
            relations=authority.relations(who, record.owner),
            may=authority.allowed(who, record.owner),
            state=record.state,
            condition=Condition.UNKNOWN,
            url=f"{self._services.url}/{record.repository}",
            quotas=record.quotas,
            configuration=record.configuration,
            record_read_at=known.read_at,
            revision=max(published, default=None),
            links=glance.links,
            pending=glance.pending,
            refusals=glance.refusals,
            progress=glance.progress,
            last=glance.last,
            failure=glance.failure,
            pause=record.pause,
            retirement=record.retirement,
            missing=missing,
        )
        return replace(described, condition=condition_of(record, described))


def _committed(glance: Glance) -> int | None:
    return None if glance.last is None else glance.last.revision
