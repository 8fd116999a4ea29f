"""From what was sent under a lease to a revision: merged with what is in force, proposed to stratum 0, and again."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from softman.adapters.ports import CommitDoor
from softman.cvmfs.areas import StagingArea
from softman.cvmfs.errors import (
    CandidateRejected,
    CvmfsError,
    GatewayError,
    GatewayUnavailable,
    PathConflict,
    StoreUnavailable,
)
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.merger import Change, Merger
from softman.cvmfs.gateway.messages import CommitMessage
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.transaction import Candidate
from softman.errors import CandidateRefused, PermanentError, ServiceUnavailable, TransientError
from softman.log import get_logger
from softman.model import Base, CommitRequest
from softman.services.gateway.leases import Lease
from softman.services.proof import signed

_ATTEMPTS = 20
"""So often a change is merged anew because others were faster."""
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Site:
    """A repository as a gateway uses it."""

    reader: RepositoryReader
    """Reads the manifest where it is stored: an old one costs a merge."""
    merger: Merger


class Commits:
    """Makes revisions. Safe to be shared by threads; the caller lets in one at a time for each repository.

    Args:
        door: the way to stratum 0.
        open_site: a repository, by name.
        open_area: a staging area of a repository, for a commit of which nothing was sent.
        scratch: a directory for temporary files; None takes the system's.
    """

    def __init__(
        self,
        door: CommitDoor,
        open_site: Callable[[str], Site],
        open_area: Callable[[str], StagingArea],
        scratch: Path | None = None,
    ) -> None:
        self._door = door
        self._open_site = open_site
        self._open_area = open_area
        self._scratch = scratch

    def commit(self, lease: Lease, message: CommitMessage, key: GatewayKey) -> int:
        """Commit what was sent; the number of the revision that has it.

        Nothing to change makes no revision: the one in force has it.

        Raises:
            GatewayError: the change cannot be merged, or stratum 0 does not accept it; the reason says why.
            GatewayUnavailable: it cannot be done now.
        """
        lease.area = lease.area or self._open_area(lease.repository)
        try:
            return self._commit(lease, lease.area, message, key)
        except (PathConflict, CandidateRejected, CandidateRefused) as exc:
            _log.info("a publisher's change is not accepted", repository=lease.repository, reason=str(exc))
            raise GatewayError(f"merge_error: {exc}") from exc
        except (StoreUnavailable, TransientError) as exc:
            raise GatewayUnavailable(f"miscellaneous: {exc}") from exc
        except (CvmfsError, PermanentError) as exc:
            if isinstance(exc, GatewayError):
                raise
            raise GatewayError(f"merge_error: {exc}") from exc

    def _commit(self, lease: Lease, area: StagingArea, message: CommitMessage, key: GatewayKey) -> int:
        site = self._open_site(lease.repository)
        path = b"/" + os.fsencode(lease.path) if lease.path else b""
        change = Change(message.old_root, message.new_root, path, key.key_id)
        for _ in range(_ATTEMPTS):
            current = site.reader.manifest()
            with tempfile.TemporaryDirectory(prefix="softman-merge-", dir=self._scratch) as work:
                candidate = site.merger.merge(change, area, current, Path(work))
            if candidate is None:
                return current.revision
            revision = self._propose(lease, area, candidate, message, key)
            if revision is not None:
                return revision
        raise GatewayUnavailable("miscellaneous: others were faster every time; try again")

    def _propose(
        self, lease: Lease, area: StagingArea, candidate: Candidate, message: CommitMessage, key: GatewayKey
    ) -> int | None:
        """Ask stratum 0; the revision, or None when another one is in force by now."""
        request = CommitRequest(
            repository=lease.repository,
            transaction=area.transaction,
            base=Base(candidate.base_revision, str(candidate.base_root_hash)),
            new_root_hash=str(candidate.root_hash),
            key_id="",
            signature="",
            path=f"/{lease.path}" if lease.path else "",
            tag=message.tag_name,
            tag_description=message.tag_description,
        )
        try:
            answer = self._door.commit(signed(request, key))
        except ServiceUnavailable:
            # The answer is lost, perhaps not the commit: the manifest knows.
            manifest = self._open_site(lease.repository).reader.manifest()
            if manifest.root_hash != candidate.root_hash:
                raise
            return manifest.revision
        if answer.key_replaced:
            raise GatewayError("merge_error: the gateway key was replaced meanwhile; use the new one")
        return answer.current.revision if answer.committed else None
