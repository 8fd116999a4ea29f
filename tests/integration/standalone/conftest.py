"""Fixtures for tests that start stacks of their own."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from softman.standalone.process import MARKER_VARIABLE
from softman.standalone.record import load_record

Leftovers = Callable[[Path], list[str]]


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """An empty directory with a short path."""
    directory = Path(tempfile.mkdtemp(prefix="softman-own-"))
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def processes_of() -> Leftovers:
    """The command lines of the living processes of the stack in a directory: by marker, or by where they work."""

    def find(directory: Path) -> list[str]:
        marker = load_record(directory).marker if (directory / "env.json").exists() else None
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() == psutil.STATUS_ZOMBIE:
                    continue
                here = Path(process.cwd()).is_relative_to(directory)
                if here or (marker and process.environ().get(MARKER_VARIABLE) == marker):
                    found.append(" ".join(process.cmdline()) or process.name())
            except psutil.Error:
                continue
        return found

    return find
