"""Going back to an earlier revision, and staying there: the bucket still says otherwise (ADR 0011).

Publishing from the bucket is paused first, then the earlier tree is published as a new revision. Whoever is killed
between the two is followed by another, which does nothing when the repository shows the earlier tree already.
"""

from collections.abc import Callable
from dataclasses import dataclass

from softman.cvmfs.errors import RevisionMissing
from softman.cvmfs.repository import Repository
from softman.errors import InvalidInput, PermanentError
from softman.names import RepositoryName
from softman.services.lifecycle import Lifecycle
from softman.services.material import KeyMaterial, Material
from softman.services.translate import cvmfs_errors


@dataclass(frozen=True, slots=True)
class WentBack:
    """What a roll-back came to: the revision in force now, and the one whose tree it shows."""

    revision: int
    shows: int


class Rollbacks:
    """Rolls repositories back.

    Args:
        lifecycle: pauses them.
        material: the keys that sign.
        open_repository: the storage of a repository, with the keys in use.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        material: KeyMaterial,
        open_repository: Callable[[Material], Repository],
    ) -> None:
        self._lifecycle = lifecycle
        self._material = material
        self._open_repository = open_repository

    def roll_back(self, name: RepositoryName, revision: int) -> WentBack:
        """Show the tree of an earlier revision, under a new number, until somebody resumes. May be repeated.

        Args:
            name: the repository, active or locked.
            revision: the number of a revision that is kept.

        Raises:
            NotFound: there is no such repository.
            InvalidInput: it is not in use, or has no such revision, or not in full any more.
            ServiceUnavailable: its storage does not answer.
        """
        if revision < 1:
            msg = "revisions are numbered from 1 on"
            raise InvalidInput(msg)
        paused = self._lifecycle.pause(name, f"rolled back to revision {revision}")
        try:
            with cvmfs_errors(f"rolling {name} back"):
                repository = self._open_repository(self._material.get(name, fresh=True))
                present = repository.manifest().revision
                if revision == present:
                    raise RevisionMissing(f"revision {revision} is in force already")
                if repository.shows(revision):
                    return WentBack(present, revision)
                done = repository.rollback(revision=revision)
        except PermanentError as exc:
            if paused:
                self._lifecycle.resume(name)
            if isinstance(exc.__cause__, RevisionMissing):
                msg = f"{exc}; softman log {name.label} lists those that are kept"
                raise InvalidInput(msg) from exc
            raise
        return WentBack(done.manifest.revision, done.target)
