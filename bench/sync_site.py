"""A site for the benchmarks of syncing: the embedded stack, with stratum 0 and publisher in this process."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from softman import wiring
from softman.adapters.s3_client import S3Access
from softman.log import configure_logging
from softman.model import CommitAnswer, CommitRequest
from softman.names import Kind, RepositoryName
from softman.services.publisher import Publisher
from softman.services.stratum0 import Stratum0
from softman.settings import Settings
from softman.standalone.signals import signals_interrupt
from softman.standalone.stack import Options, Stack

USER = "bench"


@dataclass(frozen=True)
class Door:
    """Stratum 0 behind a function call."""

    stratum0: Stratum0

    def commit(self, request: CommitRequest) -> CommitAnswer:
        """See ``CommitDoor.commit``."""
        return self.stratum0.commit(request)


class ProcessDoor:
    """Stratum 0 in a process of its own (``commit_door``)."""

    def __init__(self, stack: Stack) -> None:
        environment = {**os.environ, **stack.environment()}  # noqa: TID251 - handed on to our own process
        command = [sys.executable, "-m", "bench.commit_door"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def commit(self, request: CommitRequest) -> CommitAnswer:
        """See ``CommitDoor.commit``."""
        assert self._child.stdin is not None  # noqa: S101 - asked for
        assert self._child.stdout is not None  # noqa: S101 - same
        pickle.dump(request, self._child.stdin)
        self._child.stdin.flush()
        answer: CommitAnswer = pickle.load(self._child.stdout)  # noqa: S301 - from our own process
        return answer

    def close(self) -> None:
        """End it."""
        self._child.communicate()


@dataclass(frozen=True)
class BenchSite:
    """What syncs, and where."""

    stack: Stack
    settings: Settings
    stratum0: Stratum0
    publisher: Publisher

    def access(self, user: str = USER) -> S3Access:
        keys = self.stack.s3_credentials(user)
        return S3Access(self.stack.s3_endpoint, keys.access_key, keys.secret_key)

    def repository(self, user: str = USER) -> RepositoryName:
        """Make the repository of a user, without notifications."""
        name = self.stratum0.request(user, user, Kind.PERSONAL, None).repository
        self.stratum0.create_repository(name)
        self.stratum0.publish_keys(name)
        return name

    def sync(self, name: RepositoryName) -> int:
        """Publish the full difference; how many objects changed."""
        changed, again = 0, True
        turn = self.publisher.sync_everything(name)
        while again:
            changed += sum(report.added + report.changed + report.removed for report in turn.reports)
            again = turn.again
            if again:
                turn = self.publisher.publish_changes(name)
        return changed


@contextmanager
def site() -> Iterator[BenchSite]:
    """Start a stack of its own, and remove it in the end."""
    configure_logging(level="WARNING")  # standard output is for figures
    with signals_interrupt(), Stack.start(options=Options(users=(USER,))) as stack:
        settings = stack.settings()
        stratum0 = wiring.stratum0(settings)
        with closing(ProcessDoor(stack)) as door:
            yield BenchSite(stack, settings, stratum0, wiring.publisher(settings, door))


def say(name: str, value: float, unit: str, **more: object) -> None:
    """One figure, as a line of JSON."""
    rounded = {key: round(each, 3) if isinstance(each, float) else each for key, each in more.items()}
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit, **rounded}), flush=True)
