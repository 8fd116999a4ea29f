"""Staging archives in a folder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from softman.cvmfs.areas import new_transaction_id
from softman.cvmfs.staging import Staging
from softman.services.archives.kinds import ArchiveKind
from softman.services.archives.limits import ArchiveLimits
from softman.services.archives.staging import stage_archive
from softman.services.archives.tree import StagedTree

Stage = Callable[..., StagedTree]


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    return Staging(tmp_path / new_transaction_id())


@pytest.fixture
def stage(staging: Staging, tmp_path: Path) -> Iterator[Stage]:
    """Stage an archive that comes in pieces of ``piece`` bytes."""
    with ExitStack() as trees:

        def run(
            data: bytes, kind: ArchiveKind = ArchiveKind.TAR, limits: ArchiveLimits | None = None, piece: int = 1000
        ) -> StagedTree:
            pieces = (data[at : at + piece] for at in range(0, len(data), piece))
            return trees.enter_context(
                stage_archive(pieces, kind, staging, limits or ArchiveLimits(), scratch=tmp_path)
            )

        yield run
