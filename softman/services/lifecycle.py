"""Which repositories take commits, and what owners and administrators decide about them.

A repository is locked and unlocked, paused by a roll-back and resumed, retired and restored. Each is a change of its
record in the registry, made with compare-and-swap, and may be repeated.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from softman.adapters.ports import Registry
from softman.errors import CandidateRefused, Conflict, Forbidden, InvalidInput, NotFound
from softman.model import Pause, Quotas, RegistryRecord, Retirement, State
from softman.names import RepositoryName

CLOSED = frozenset({State.LOCKED, State.RETIRED})
"""States in which nothing is published."""
UNFINISHED = frozenset({State.REQUESTED, State.CREATED})
"""States that provisioning leaves behind."""
MAX_QUOTA = 2**63 - 1

_ATTEMPTS = 5
_WHY = {
    State.LOCKED: "is locked by an administrator, and takes no commits until it is unlocked",
    State.RETIRED: "is retired, and takes no commits any more",
}


def check_open(record: RegistryRecord) -> None:
    """Accept a repository that takes commits.

    Raises:
        CandidateRefused: it is locked, retired, paused, or not ready yet.
    """
    if record.state is not State.ACTIVE:
        why = _WHY.get(record.state, "is not ready for commits: its keys are not published yet")
        msg = f"{record.repository} {why}"
        raise CandidateRefused(msg)
    if record.pause is not None:
        label = record.repository.label
        msg = f"{record.repository} is paused: {record.pause.reason}; to publish its bucket: softman resume {label}"
        raise CandidateRefused(msg)


def is_closed(record: RegistryRecord) -> bool:
    """Whether what its bucket says waits, or is given up."""
    return record.state in CLOSED or record.pause is not None


def check_kept(record: RegistryRecord) -> None:
    """Accept a repository that may be provisioned, or provisioned again.

    Raises:
        Forbidden: it is retired.
    """
    if record.state is State.RETIRED:
        msg = f"{record.repository} is retired; unless it is dropped, it comes back with softman restore"
        raise Forbidden(msg)


def known(registry: Registry, name: RepositoryName) -> RegistryRecord:
    """The record of a repository.

    Raises:
        NotFound: there is none.
    """
    record = registry.get(name)
    if record is None:
        msg = f"there is no repository {name}"
        raise NotFound(msg)
    return record


class Lifecycle:
    """What owners and administrators decide about repositories.

    Args:
        registry: the registry, with the right to write.
        grace: so long a retired repository keeps content and keys in any case.
        clock: the present time, with a time zone.
    """

    def __init__(self, registry: Registry, grace: timedelta, clock: Callable[[], datetime]) -> None:
        self._registry = registry
        self._grace = grace
        self._clock = clock

    def lock(self, name: RepositoryName) -> str:
        """Stop commits; a commit that is being checked at this moment may still be signed. May be repeated.

        Returns:
            How it stands now, in words.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: it is retired, or not ready yet.
            Conflict: the record is being changed by somebody else; try again.
        """
        return self._switch(name, State.ACTIVE, State.LOCKED)

    def unlock(self, name: RepositoryName) -> str:
        """Let commits go on; errors as for ``lock``."""
        return self._switch(name, State.LOCKED, State.ACTIVE)

    def pause(self, name: RepositoryName, reason: str) -> bool:
        """Publish nothing from the bucket until somebody resumes it; whether it was not paused before.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: it is retired, or not ready yet.
        """
        before = known(self._registry, name)
        if before.state not in {State.ACTIVE, State.LOCKED}:
            msg = f"{name} is {before.state}: only one that is active or locked can be rolled back"
            raise InvalidInput(msg)
        since = self._clock().timestamp() if before.pause is None else before.pause.since
        self._change(name, lambda record: replace(record, pause=Pause(since, reason)))
        return before.pause is None

    def resume(self, name: RepositoryName) -> bool:
        """Publish again what the bucket says; whether it was paused.

        Raises:
            NotFound: there is no such repository.
        """
        before = known(self._registry, name)
        if before.pause is None:
            return False
        self._change(name, lambda record: replace(record, pause=None))
        return True

    def set_quotas(self, name: RepositoryName, quotas: Mapping[str, object]) -> Quotas:
        """Change what a repository may hold; quotas that are not named stay as they are.

        Args:
            name: the repository.
            quotas: new values by the names of ``Quotas``.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: there is no such quota, or its value is no whole number from 1 on.
        """
        wanted = checked_quotas(quotas)
        changed = self._change(name, lambda record: replace(record, quotas=replace(record.quotas, **wanted)))
        return changed.quotas

    def retire(self, name: RepositoryName, *, keep_content: bool) -> RegistryRecord:
        """Give a repository up: it takes no commits from now on, and its name is not given away. May be repeated.

        Asked for again it may only be decided otherwise what becomes of the content, and the grace begins anew.

        Args:
            name: the repository.
            keep_content: go on showing it to clients; otherwise it is dropped, with its keys, after the grace.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: its content is dropped already, and shall be kept.
        """
        now = self._clock()
        fresh = Retirement(now.timestamp(), (now + self._grace).timestamp(), keep_content)

        def change(record: RegistryRecord) -> RegistryRecord:
            before = record.retirement
            if before is not None and before.dropped and keep_content:
                msg = f"the content of {name} is dropped already"
                raise InvalidInput(msg)
            if before is not None and (before.dropped or before.keep_content is keep_content):
                return record
            locked = before.locked if before is not None else record.state is State.LOCKED
            return replace(record, state=State.RETIRED, retirement=replace(fresh, locked=locked), pause=None)

        return self._change(name, change)

    def restore(self, name: RepositoryName) -> RegistryRecord:
        """Take a retirement back: provisioned again, it is as it was, and shows its bucket. May be repeated.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: it is not retired, or its content is dropped.
        """

        def change(record: RegistryRecord) -> RegistryRecord:
            if record.state in {State.CREATED, State.ACTIVE}:
                return record
            if record.state is not State.RETIRED:
                msg = f"{name} is {record.state}, not retired: there is nothing to restore"
                raise InvalidInput(msg)
            if record.retirement is not None and record.retirement.dropped:
                msg = f"{name} cannot be restored: its content and its keys were dropped when its grace was over"
                raise InvalidInput(msg)
            locked = record.retirement is not None and record.retirement.locked
            return replace(record, state=State.LOCKED if locked else State.CREATED, retirement=None, pause=None)

        return self._change(name, change)

    def _switch(self, name: RepositoryName, before: State, after: State) -> str:
        def change(record: RegistryRecord) -> RegistryRecord:
            if record.state not in {before, after}:
                msg = f"{name} is {record.state}: only one that is {before} can become {after}"
                raise InvalidInput(msg)
            return replace(record, state=after)

        self._change(name, change)
        return f"{name} is {after}"

    def _change(self, name: RepositoryName, change: Callable[[RegistryRecord], RegistryRecord]) -> RegistryRecord:
        """Store what ``change`` makes of the record, which others may change at the same time in other fields."""
        for attempt in range(1, _ATTEMPTS + 1):
            record = known(self._registry, name)
            wanted = change(record)
            if wanted == record:
                return record
            try:
                return self._registry.put(wanted)
            except Conflict:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError


def checked_quotas(quotas: Mapping[str, object]) -> dict[str, int]:
    """Quotas as somebody asked for them, checked.

    Raises:
        InvalidInput: there is no such quota, its value is no whole number from 1 on, or none is named.
    """
    names = asdict(Quotas())
    if not quotas:
        msg = f"no quota is named; there are {', '.join(names)}"
        raise InvalidInput(msg)
    found: dict[str, int] = {}
    for name, value in quotas.items():
        if name not in names:
            msg = f"there is no quota {name[:80]!r}; there are {', '.join(names)}"
            raise InvalidInput(msg)
        if type(value) is not int or not 1 <= value <= MAX_QUOTA:  # exact: True is no number
            msg = f"the quota {name} is a whole number from 1 on"
            raise InvalidInput(msg)
        found[name] = value
    return found
