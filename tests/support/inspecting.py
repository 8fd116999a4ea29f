"""Candidates inspected in the process of the test: a process of its own for each is a third of a test's time."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from softman.cvmfs.candidate import CorruptBase, Origin, Request, inspect
from softman.cvmfs.errors import StoreUnavailable
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.inspector import Report, _objects


def _inspect_here(request: Request, supply: Callable[[Origin, ContentHash], Path], *, timeout: float) -> Report:
    """As ``inspector.run_inspection``, without limits."""
    del timeout
    try:
        size, findings = inspect(request, lambda origin, content: supply(origin, ContentHash.parse(content)))
    except (OSError, CorruptBase, sqlite3.OperationalError) as exc:
        raise StoreUnavailable(f"the candidate could not be inspected: {exc}") from exc
    return Report(size, findings.entries, findings.bytes, tuple(_objects(findings.objects)))


@contextmanager
def inspections_here() -> Iterator[None]:
    """Until the end, this process inspects candidates itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("softman.cvmfs.inspector.run_inspection", _inspect_here)
        yield
