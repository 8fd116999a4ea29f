"""All repositories as one process knows them: read from the registry in the background, never while somebody waits.

A request that lists a thousand repositories cannot ask the vault for a thousand records. So a thread keeps them, each
with the time when it was read: every name is looked at anew after ``LONGEST``, one that somebody looks at after
``SHORTEST``, some ``RATE`` of them a second. When the vault or the web server is away, what was read last stays, and
says how old it is. What changes by the second (progress, pending keys, syncs) is in Redis and not kept here.
"""

import threading
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from softman.adapters.ports import Registry
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.reader import RepositoryReader
from softman.errors import NotFound, SoftmanError
from softman.log import get_logger
from softman.model import RegistryRecord
from softman.names import RepositoryName

LISTED: Final = 10.0
"""Seconds between two looks at the list of names."""
LONGEST, SHORTEST = 120.0, 3.0
"""Seconds after which a repository is looked at again: one that nobody asks for, and one that somebody does."""
RATE: Final = 20
"""Repositories a second, but for those that were never read."""
_PAUSE: Final = 0.25
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """One repository: its record, the revision that its manifest showed, and when each was read, in Unix time."""

    record: RegistryRecord
    read_at: float
    revision: int | None = None
    revision_at: float | None = None


class Roster:
    """What is known of all repositories. Safe to be shared by threads.

    Args:
        registry: where they are recorded.
        open_reader: a verifying reader of a repository.
        clock: Unix time.
    """

    def __init__(
        self,
        registry: Registry,
        open_reader: Callable[[RepositoryName], RepositoryReader],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._open_reader = open_reader
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[RepositoryName, Known] = {}
        self._sorted: tuple[RepositoryName, ...] = ()
        self._owned: defaultdict[str, set[RepositoryName]] = defaultdict(set)
        self._wanted: dict[RepositoryName, None] = {}
        self._listed_at: float | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.problem = ""
        """Why the registry could not be asked the last time; empty when it could."""

    def start(self) -> None:
        """Begin to read in the background; nothing happens when that has begun."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="roster", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """End the reading; at most after the request that is under way."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    @property
    def listed_at(self) -> float | None:
        """When all names were listed last, in Unix time; None when they never were."""
        return self._listed_at

    def get(self, name: RepositoryName) -> Known | None:
        """What is known of a repository, at once; it is looked at again soon when that is old."""
        found = self._known.get(name)
        if found is not None and self._clock() - found.read_at > SHORTEST:
            self.want(name)
        return found

    def look(self, name: RepositoryName) -> Known | None:
        """Read a repository now, while the caller waits; None when there is none.

        Raises:
            ServiceUnavailable: the vault does not answer.
        """
        record = self._registry.get(name)
        with self._lock:
            if record is None:
                self._forget(name)
                return None
            before = self._known.get(name)
            found = replace(before, record=record, read_at=self._clock()) if before else Known(record, self._clock())
            self._keep(name, found)
        return found

    def want(self, name: RepositoryName) -> None:
        """Look at a repository soon."""
        with self._lock:
            self._wanted[name] = None

    def owned(self, subject: str, groups: Iterable[str]) -> list[Known]:
        """What belongs to a person, by the subject of the login, and to groups, by name; sorted by name."""
        owners = [_person(subject), *map(_group, groups)]
        with self._lock:
            names = set().union(*(self._owned.get(owner, ()) for owner in owners))
        return [found for name in sorted(names) if (found := self.get(name)) is not None]

    def after(self, name: RepositoryName | None, limit: int, search: str = "") -> list[Known]:
        """Up to ``limit`` repositories in the order of their names: those that come after one.

        Args:
            name: that one; None for the first ones.
            limit: how many at most.
            search: only those that have this in their name, or in that of their owner; upper and lower case are one.
        """
        names = self._sorted
        first = 0 if name is None else bisect_right(names, name)
        found = (each for each in names[first:] if not search or self._has(each, search.lower()))
        return [known for each in islice(found, limit) if (known := self.get(each)) is not None]

    def _has(self, name: RepositoryName, text: str) -> bool:
        known = self._known.get(name)
        return text in str(name) or (known is not None and text in known.record.owner.user.lower())

    def __len__(self) -> int:
        return len(self._known)

    def refresh(self) -> None:
        """One round: the list of names when it is old, names that are new, and a few that are wanted or old."""
        now = self._clock()
        try:
            if self._listed_at is None or now - self._listed_at >= LISTED:
                self._list(self._registry.names(), now)
            self.problem = ""
        except SoftmanError as exc:
            self.problem = str(exc)
            return
        for name in self._due(now):
            if self._stop.is_set():
                return
            self._visit(name)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.refresh()
            except Exception:  # noqa: BLE001 - logged with its trace; the next round may be better
                _log.exception("repositories cannot be read")
            self._stop.wait(_PAUSE)

    def _list(self, names: list[RepositoryName], now: float) -> None:
        with self._lock:
            for gone in self._known.keys() - set(names):
                self._forget(gone)
        for name in names:
            if self._stop.is_set():
                return
            if name not in self._known:
                self.look(name)
        self._listed_at = now

    def _due(self, now: float) -> list[RepositoryName]:
        """Names to look at in this round: wanted ones first, then the oldest."""
        most = int(RATE * _PAUSE)
        with self._lock:
            due = list(islice(self._wanted, most))
            for name in due:
                del self._wanted[name]
            old = [name for name, known in self._known.items() if now - known.read_at > LONGEST]
            unseen = [name for name, known in self._known.items() if known.revision_at is None]
        return list(dict.fromkeys([*due, *old[: most - len(due)], *unseen[:most]]))

    def _visit(self, name: RepositoryName) -> None:
        try:
            found = self.look(name)
        except SoftmanError as exc:
            self.problem = str(exc)
            return
        if found is None:
            return
        revision: int | None
        try:
            revision = self._open_reader(name).manifest().revision
        except (CvmfsError, SoftmanError) as exc:
            # Not made yet, or not to be reached: the rest helps all the same. What was seen before stays.
            revision = None if isinstance(exc, NotFound) else found.revision
        with self._lock:
            if name in self._known:
                self._known[name] = replace(self._known[name], revision=revision, revision_at=self._clock())

    def _keep(self, name: RepositoryName, found: Known) -> None:
        before = self._known.get(name)
        if before is None or before.record.owner != found.record.owner:
            self._forget(name)
            self._owned[_owner(found.record)].add(name)
        self._known[name] = found
        if before is None:
            at = bisect_right(self._sorted, name)
            self._sorted = (*self._sorted[:at], name, *self._sorted[at:])

    def _forget(self, name: RepositoryName) -> None:
        before = self._known.pop(name, None)
        self._wanted.pop(name, None)
        if before is not None:
            self._owned[_owner(before.record)].discard(name)
            self._sorted = tuple(each for each in self._sorted if each != name)


def _owner(record: RegistryRecord) -> str:
    owner = record.owner
    return _person(owner.subject) if owner.group is None else _group(owner.group)


def _person(subject: str) -> str:
    return f"person {subject}"


def _group(name: str) -> str:
    return f"group {name}"
