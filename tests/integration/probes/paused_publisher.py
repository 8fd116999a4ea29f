"""A publisher that stops itself between the last look at its lease and the commit: ``paused_publisher.py REPOSITORY``.

It prints what became of the commit after somebody let it go on.
"""

import os
import signal
import sys

from softman import wiring
from softman.errors import SoftmanError
from softman.model import CommitAnswer, CommitRequest
from softman.names import RepositoryName
from softman.settings import load_settings
from softman.tasks.client import CeleryCommitDoor, client_app


class Door:
    """The door to stratum 0, in front of which the publisher falls asleep."""

    def __init__(self, door: CeleryCommitDoor) -> None:
        self._door = door

    def commit(self, request: CommitRequest) -> CommitAnswer:
        """Sleep, then ask."""
        os.kill(os.getpid(), signal.SIGSTOP)
        return self._door.commit(request)


def main() -> None:
    """Publish what is pending."""
    settings = load_settings()
    publisher = wiring.publisher(settings, Door(CeleryCommitDoor(client_app(settings), 60.0)))
    try:
        turn = publisher.publish_changes(RepositoryName.parse(sys.argv[1]))
    except SoftmanError as exc:
        sys.stdout.write(type(exc).__name__)
    else:
        sys.stdout.write(repr(turn))


main()
