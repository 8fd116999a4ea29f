"""How far the upkeep of each repository is: files on the host of stratum 0, and the right to do it one at a time."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from softman.errors import Busy, ServiceUnavailable
from softman.model import Fault, UpkeepMark
from softman.names import RepositoryName


class UpkeepFiles:
    """``UpkeepMarks`` in a directory, one JSON file a repository. One that cannot be read counts as lost.

    Args:
        directory: made when it is first written.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, repository: RepositoryName) -> UpkeepMark:
        """See ``UpkeepMarks.load``."""
        try:
            values = json.loads(self._path(repository).read_bytes())
            faults = tuple(Fault(**fault) for fault in values.pop("faults"))
            return UpkeepMark(**values, faults=faults)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return UpkeepMark()

    def save(self, repository: RepositoryName, mark: UpkeepMark) -> None:
        """See ``UpkeepMarks.save``."""
        path = self._path(repository)
        with _writing(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(asdict(mark)))
            fresh.replace(path)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """See ``UpkeepMarks.turn``."""
        path = self._directory / "lock"
        with _writing(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = path.open("ab")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                msg = "another collection or check is at work on this host"
                raise Busy(msg) from exc
            yield

    def _path(self, repository: RepositoryName) -> Path:
        return self._directory / f"{repository}.json"


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        msg = f"{path} cannot be written: {exc.strerror}"
        raise ServiceUnavailable(msg) from exc
