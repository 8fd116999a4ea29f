"""Looking after what is stored: collecting garbage, and checking that everything is as the catalogs say."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from softman.adapters.ports import Registry
from softman.cvmfs.integrity import Extent, check_repository
from softman.cvmfs.problems import Problem
from softman.cvmfs.repository import Collection, Repository, Retention
from softman.errors import InvalidInput
from softman.model import RegistryRecord, State
from softman.names import RepositoryName
from softman.services.lifecycle import known
from softman.services.material import KeyMaterial, Material
from softman.services.translate import cvmfs_errors

MAX_PROBLEMS = 100
"""Problems that one check tells of."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check came to: objects and bytes that were read, and the first problems."""

    objects: int
    bytes: int
    problems: tuple[Problem, ...]


class Upkeep:
    """Looks after the storage of repositories.

    Args:
        registry: which repositories there are.
        material: the keys that sign.
        open_repository: the storage of a repository, with the keys in use.
        retention: which revisions a collection keeps.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        registry: Registry,
        material: KeyMaterial,
        open_repository: Callable[[Material], Repository],
        retention: Retention,
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._material = material
        self._open_repository = open_repository
        self._retention = retention
        self._clock = clock

    def collect_garbage(self, name: RepositoryName, *, dry_run: bool = False) -> Collection:
        """Remove what no kept revision refers to.

        Args:
            name: the repository.
            dry_run: change nothing.

        Raises:
            NotFound: there is no such repository, or an object that must be there is not.
            InvalidInput: it is not made yet, or dropped.
            Corrupt: a catalog is damaged. Nothing was removed.
            ServiceUnavailable: its storage does not answer.
        """
        material = self._stored(name)
        with cvmfs_errors(f"collecting garbage of {name}"):
            return self._open_repository(material).collect_garbage(self._retention, dry_run=dry_run)

    def check(self, name: RepositoryName) -> Checked:
        """Whether what is stored is what the catalogs say; errors as for ``collect_garbage``."""
        material = self._stored(name)
        with cvmfs_errors(f"checking {name}"):
            head = self._open_repository(material).head
            keys = self._material.master(material).public_keys
            entries = 0

            def count(more: int, _total: int | None) -> None:
                nonlocal entries
                entries += more

            found = check_repository(
                head.store, str(name), keys, now=self._clock, extent=Extent(content=True), progress=count,
                work_dir=head.work_dir,
            )  # fmt: skip
            problems = tuple(islice(found, MAX_PROBLEMS))
        return Checked(entries, 0, problems)

    def _stored(self, name: RepositoryName) -> Material:
        record = known(self._registry, name)
        if not is_stored(record):
            msg = f"nothing is stored of {name}, which is {record.state}"
            raise InvalidInput(msg)
        return self._material.get(name, fresh=True)


def is_stored(record: RegistryRecord) -> bool:
    """Whether a repository was made, and not dropped since."""
    dropped = record.retirement is not None and record.retirement.dropped
    return record.state is not State.REQUESTED and not dropped
