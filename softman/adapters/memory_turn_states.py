"""What is remembered between turns of publishers, in memory, for tests."""

import secrets
import threading
from dataclasses import dataclass

from softman.adapters.ports import Lease
from softman.adapters.turn_states import MAX_STRANGERS
from softman.model import Failure, Stranger
from softman.names import RepositoryName


class MemoryTurnStates:
    """``TurnStates``; places live until they are given back."""

    def __init__(self) -> None:
        self._failures: dict[RepositoryName, Failure] = {}
        self._strangers: dict[str, Stranger] = {}
        self._places: dict[str, set[str]] = {}
        self._lock = threading.Lock()

    def set_failure(self, repository: RepositoryName, failure: Failure | None) -> None:
        """See ``TurnStates.set_failure``."""
        with self._lock:
            if failure is None:
                self._failures.pop(repository, None)
            else:
                self._failures[repository] = failure

    def failure(self, repository: RepositoryName) -> Failure | None:
        """See ``TurnStates.failure``."""
        with self._lock:
            return self._failures.get(repository)

    def add_stranger(self, stranger: Stranger) -> None:
        """See ``TurnStates.add_stranger``."""
        with self._lock:
            if stranger.bucket in self._strangers or len(self._strangers) < MAX_STRANGERS:
                self._strangers[stranger.bucket] = stranger

    def strangers(self) -> list[Stranger]:
        """See ``TurnStates.strangers``."""
        with self._lock:
            return [self._strangers[bucket] for bucket in sorted(self._strangers)]

    def enter(self, owner: str, most: int) -> Lease | None:
        """See ``TurnStates.enter``."""
        with self._lock:
            places = self._places.setdefault(owner, set())
            if len(places) >= most:
                return None
            place = _Place(secrets.token_hex(8))
            places.add(place.token)
            return place

    def leave(self, owner: str, place: Lease) -> None:
        """See ``TurnStates.leave``."""
        with self._lock:
            self._places.get(owner, set()).discard(place.token)


@dataclass(frozen=True, slots=True)
class _Place:
    """``Lease`` of a place."""

    token: str

    def renew(self) -> bool:
        """See ``Lease.renew``."""
        return True
