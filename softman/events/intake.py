"""Folding events: many records to few repositories with sets of keys. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from softman.errors import InvalidInput
from softman.events.messages import Change, ObjectEvent
from softman.model import PUBLISHED_PREFIX
from softman.names import RepositoryName

MAX_STRANGERS = 100
"""Different bucket names that are remembered for the log."""


@dataclass(slots=True)
class Folder:
    """Takes events until somebody asks for the changes. Not thread-safe.

    Keys such as ``cvmfs/../x`` are passed on: the publisher's mapping refuses them and tells their owner why.

    Attributes:
        domain: of the repositories; a bucket's name is the label in front of it.
        outside: events dropped because their key is not below ``cvmfs/``.
        uneventful: events dropped because they do not change content.
        strangers: buckets whose name can be no repository, or whose owner is another one, with the reason.
    """

    domain: str
    outside: int = 0
    uneventful: int = 0
    strangers: dict[str, str] = field(default_factory=dict)
    _keys: dict[RepositoryName, set[str]] = field(default_factory=dict)
    _names: dict[str, RepositoryName] = field(default_factory=dict)

    def add(self, events: Iterable[ObjectEvent]) -> None:
        """Take the events of one notification."""
        for event in events:
            if event.change is Change.OTHER:
                self.uneventful += 1
            elif not event.key.startswith(PUBLISHED_PREFIX):
                self.outside += 1
            else:
                name = self._repository(event)
                if name is not None:
                    self._keys.setdefault(name, set()).add(event.key)

    @property
    def changes(self) -> dict[RepositoryName, frozenset[str]]:
        """The keys to look at, for each repository."""
        return {name: frozenset(keys) for name, keys in self._keys.items()}

    def _repository(self, event: ObjectEvent) -> RepositoryName | None:
        """The repository whose bucket it is, of which the owner is called as the bucket is (decision 15)."""
        bucket = event.bucket
        name = self._names.get(bucket)
        if name is None:
            try:
                name = self._names[bucket] = RepositoryName(bucket, self.domain)
            except InvalidInput as exc:
                self._refuse(bucket, str(exc))
                return None
        if event.owner and event.owner != name.bucket:
            self._refuse(bucket, f"the bucket {bucket} belongs to {event.owner[:80]!r}, not to {name.bucket}")
            return None
        return name

    def _refuse(self, bucket: str, reason: str) -> None:
        if len(self.strangers) < MAX_STRANGERS:
            self.strangers[bucket] = reason
