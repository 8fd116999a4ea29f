"""Read-only questions of the dashboard and the command line."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from softman.adapters.ports import Clockwork, PendingKeys, Records, Registry, TurnStates
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.reader import RepositoryReader
from softman.errors import NotFound, SoftmanError
from softman.model import (
    Backlog,
    Failure,
    Link,
    Refusal,
    RegistryRecord,
    RepositoryStatus,
    RetirementLink,
    State,
    SyncProgress,
    SyncReport,
    Usage,
)
from softman.names import RepositoryName

BEAT_SECONDS = 60.0
"""So long after the last sign of life of any beat one is missed."""


class Status:
    """Answers from registry, records and the repositories themselves.

    Args:
        registry: where repositories are recorded.
        records: progress and last reports.
        pending: how much is waiting.
        url: base URL of the repositories, as clients read them.
        open_reader: a verifying reader of a repository.
        states: why turns fail; not told when None.
        clockwork: which beats run; not told when None.
    """

    def __init__(
        self,
        registry: Registry,
        records: Records,
        pending: PendingKeys,
        url: str,
        open_reader: Callable[[RepositoryName], RepositoryReader],
        *,
        states: TurnStates | None = None,
        clockwork: Clockwork | None = None,
    ) -> None:
        self._registry = registry
        self._records = records
        self._pending = pending
        self._url = url.rstrip("/")
        self._open_reader = open_reader
        self._states = states
        self._clockwork = clockwork

    def concerns(self) -> list[str]:
        """What an administrator should look at, in words: a missing beat, buckets whose events are refused."""
        found = []
        if self._clockwork is not None:
            ages = self._clockwork.beats().values()
            if min(ages, default=BEAT_SECONDS + 1) > BEAT_SECONDS:
                found.append("no beat runs: nothing is reconciled, drained or signed anew by itself")
        strangers = self._states.strangers() if self._states is not None else []
        found += [f"events of the bucket {each.bucket} are refused: {each.reason}" for each in strangers]
        return found

    def repositories(self) -> list[RepositoryStatus]:
        """Every repository, sorted by name."""
        records = (self._registry.get(name) for name in self._registry.names())
        return [self._describe(record) for record in records if record is not None]

    def repository(self, name: RepositoryName) -> RepositoryStatus:
        """One repository, without what it holds and which keys are pending.

        Raises:
            NotFound: nobody asked for it yet.
        """
        return self._describe(self._known(name))

    def in_full(self, name: RepositoryName, keys: int = 10) -> RepositoryStatus:
        """One repository with what it holds, for which its root catalog is read, and some of its pending keys.

        Args:
            name: the repository.
            keys: how many pending keys at most.

        Raises:
            NotFound: nobody asked for it yet.
        """
        described = replace(self.repository(name), backlog=self._pending.backlog(name, keys))
        with suppress(CvmfsError, SoftmanError):  # see _revision
            expires = self._open_reader(name).whitelist().expires.timestamp()
            described = replace(described, whitelist_expires=expires)
        try:
            with self._open_reader(name).snapshot() as snapshot:
                total = snapshot.catalog.counters.total
        except (CvmfsError, SoftmanError):
            return described  # see _revision
        return replace(described, usage=Usage(total.entries, total.file_size))

    def reports(self, name: RepositoryName) -> list[SyncReport]:
        """The last syncs, newest first, each with the first of its refusals.

        Raises:
            NotFound: nobody asked for the repository yet.
        """
        self._known(name)
        return self._records.reports(name)

    def refusals(self, name: RepositoryName) -> list[Refusal]:
        """Every key that is not published at present, and why, sorted by key.

        Raises:
            NotFound: nobody asked for the repository yet.
        """
        self._known(name)
        return self._records.refusals(name)

    def backlog(self, name: RepositoryName, limit: int = 0) -> Backlog:
        """What is to be published yet, with some of the keys.

        Raises:
            NotFound: nobody asked for the repository yet.
        """
        self._known(name)
        return self._pending.backlog(name, limit)

    def progress(self, name: RepositoryName) -> SyncProgress | None:
        """How far the sync under way is, or None."""
        return self._records.progress(name)

    def failure(self, name: RepositoryName) -> Failure | None:
        """Why nothing can be published at present, or None."""
        return self._states.failure(name) if self._states is not None else None

    def _known(self, name: RepositoryName) -> RegistryRecord:
        record = self._registry.get(name)
        if record is None:
            msg = f"there is no repository {name}; ask for it with: softman request {name.label}"
            raise NotFound(msg)
        return record

    def _describe(self, record: RegistryRecord) -> RepositoryStatus:
        name = record.repository
        return RepositoryStatus(
            name=name,
            state=record.state,
            owner=record.owner,
            url=f"{self._url}/{name}",
            revision=self._revision(name),
            links=tuple(self._records.links(name, RetirementLink if record.state is State.RETIRED else Link)),
            pending=self._pending.count(name),
            progress=self._records.progress(name),
            last=self._records.last_report(name),
            refusals=tuple(self._records.refusals(name)),
            failure=self.failure(name),
            quotas=record.quotas,
            pause=record.pause,
            retirement=record.retirement,
            faults=tuple(self._records.faults(name)),
        )

    def _revision(self, name: RepositoryName) -> int | None:
        try:
            return self._open_reader(name).manifest().revision
        except (CvmfsError, SoftmanError):
            return None  # not made yet, or not reachable: the rest of the answer still helps
