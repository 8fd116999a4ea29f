"""What the ports in memory say of many repositories."""

from collections.abc import Sequence

from softman.adapters.ports import PendingKeys, Records, TurnStates
from softman.model import Glance
from softman.names import RepositoryName


class MemoryGlances:
    """``Glances`` put together from the ports that write.

    Args:
        records: progress, reports, refusals.
        pending: keys that wait.
        states: why turns fail.
    """

    def __init__(self, records: Records, pending: PendingKeys, states: TurnStates) -> None:
        self._records = records
        self._pending = pending
        self._states = states

    def read(self, repositories: Sequence[RepositoryName]) -> list[Glance]:
        """See ``Glances``."""
        return [
            Glance(
                links=tuple(self._records.links(repository)),
                pending=self._pending.count(repository),
                refusals=len(self._records.refusals(repository)),
                progress=self._records.progress(repository),
                last=self._records.last_report(repository),
                failure=self._states.failure(repository),
            )
            for repository in repositories
        ]
