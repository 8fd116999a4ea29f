"""Waiting for what workers do: the links of a provisioning chain, the answer of a task."""

from collections.abc import Iterator

from softman.cli.failures import WaitedTooLong
from softman.cli.sender import Request
from softman.cli.session import looks
from softman.errors import NotFound, PermanentError
from softman.model import Link, LinkProgress, LinkState, RepositoryName
from softman.services.status import Status


def links_of(status: Status, name: RepositoryName) -> dict[Link, LinkProgress]:
    """How the links stand now; empty for a repository nobody asked for."""
    try:
        return {progress.link: progress for progress in status.repository(name).links}
    except NotFound:
        return {}


class Chain:
    """A provisioning chain that was just asked for, as seen from outside.

    Progress recorded before the request belongs to an earlier chain of the same repository: ``before`` tells it apart.

    Args:
        status: where progress is read.
        name: the repository.
        before: the links as they stood before the request was sent.
    """

    def __init__(self, status: Status, name: RepositoryName, before: dict[Link, LinkProgress]) -> None:
        self._status = status
        self._name = name
        self._before = before
        self._told: set[Link] = set()

    def finished(self, request: Request, seconds: float) -> Iterator[LinkProgress]:
        """Yield every link as it finishes, in order, until the last.

        Args:
            request: the task that starts the chain.
            seconds: how long to wait in all.

        Raises:
            SoftmanError: the request was refused.
            PermanentError: a link stopped; the message says which and why.
            WaitedTooLong: time is over.
        """
        accepted = False
        for _ in looks(seconds):
            if not accepted and request.ready():
                request.answer()
                accepted = True
            yield from self._news()
            if len(self._told) == len(Link):
                return
        raise WaitedTooLong(self._where())

    def _news(self) -> Iterator[LinkProgress]:
        now = {
            link: progress
            for link, progress in links_of(self._status, self._name).items()
            if progress != self._before.get(link)
        }
        for link in Link:
            progress = now.get(link)
            if progress is None or link in self._told:
                continue
            if progress.state is LinkState.FAILED:
                msg = f"{link.value}: {progress.detail or 'failed'}"
                raise PermanentError(msg)
            if progress.state is LinkState.DONE:
                self._told.add(link)
                yield progress

    def _where(self) -> str:
        waiting = next((link for link in Link if link not in self._told), None)
        return f"{self._name} waits at the link {waiting.value!r}" if waiting else str(self._name)
