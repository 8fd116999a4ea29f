"""Which repositories take commits, and how an administrator stops one and lets it go on."""

from dataclasses import replace

from softman.adapters.ports import Registry
from softman.errors import CandidateRefused, Forbidden, InvalidInput, NotFound
from softman.model import RegistryRecord, State
from softman.names import RepositoryName

CLOSED = frozenset({State.LOCKED, State.RETIRED})
"""States in which nothing is published."""
UNFINISHED = frozenset({State.REQUESTED, State.CREATED})
"""States that provisioning leaves behind."""

_WHY = {
    State.LOCKED: "is locked by an administrator, and takes no commits until it is unlocked",
    State.RETIRED: "is retired, and takes no commits any more",
}


def check_open(record: RegistryRecord) -> None:
    """Accept a repository that takes commits.

    Raises:
        CandidateRefused: it is locked, retired, or not ready yet.
    """
    if record.state is not State.ACTIVE:
        why = _WHY.get(record.state, "is not ready for commits: its keys are not published yet")
        msg = f"{record.repository} {why}"
        raise CandidateRefused(msg)


def check_kept(record: RegistryRecord) -> None:
    """Accept a repository that may be provisioned, or provisioned again.

    Raises:
        Forbidden: it is retired.
    """
    if record.state is State.RETIRED:
        msg = f"{record.repository} is retired; ask an administrator"
        raise Forbidden(msg)


class Lifecycle:
    """What administrators decide about repositories.

    Args:
        registry: the registry, with the right to write.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def lock(self, name: RepositoryName) -> str:
        """Stop commits; a commit that is being checked at this moment may still be signed. May be repeated.

        Returns:
            How it stands now, in words.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: it is retired, or not ready yet.
            Conflict: the record is being changed by somebody else; try again.
        """
        return self._change(name, State.ACTIVE, State.LOCKED)

    def unlock(self, name: RepositoryName) -> str:
        """Let commits go on; errors as for ``lock``."""
        return self._change(name, State.LOCKED, State.ACTIVE)

    def _change(self, name: RepositoryName, before: State, after: State) -> str:
        record = self._registry.get(name)
        if record is None:
            msg = f"there is no repository {name}"
            raise NotFound(msg)
        if record.state is before:
            self._registry.put(replace(record, state=after))
        elif record.state is not after:
            msg = f"{name} is {record.state}: only one that is {before} can become {after}"
            raise InvalidInput(msg)
        return f"{name} is {after}"
