"""Waiting for what workers do: the links of a provisioning chain, the answer of a task, the end of a sync."""

from collections.abc import Iterator
from typing import Any

import click

from softman.cli.backend import Backend
from softman.cli.failures import WaitedTooLong
from softman.cli.output import Output
from softman.cli.sender import Request
from softman.cli.session import looks
from softman.errors import NotFound, PermanentError
from softman.model import Link, LinkProgress, LinkState, SyncProgress
from softman.names import RepositoryName
from softman.services.status import Status
from softman.tasks.catalogue import RESYNC

wait_option = click.option("--wait/--no-wait", default=True, help="Wait until it is done (default), or only ask.")


def asked(output: Output, name: RepositoryName, task_id: str) -> None:
    """Say that a task was sent for a repository."""
    if output.as_json:
        output.record({"repository": str(name), "task_id": task_id})
    else:
        output.line(f"asked (task {task_id}); watch it with: softman status {name}")


def answer_of(request: Request, what: str, seconds: float) -> Any:
    """The answer of a task.

    Args:
        request: the task.
        what: the task in words, for the message.
        seconds: how long to wait.

    Raises:
        SoftmanError: what the task failed with.
        WaitedTooLong: time is over.
    """
    if not any(request.ready() for _ in looks(seconds)):
        msg = f"{what} (task {request.task_id}) is not done after {seconds:g} s"
        raise WaitedTooLong(msg)
    return request.answer()


class Resync:
    """A resync that was asked for, as seen from outside.

    It may take several tasks: what is left of a part goes on in a task that the answer names; a full one may be done by
    whoever works on the repository next.

    Args:
        backend: the service.
        name: the repository.
    """

    def __init__(self, backend: Backend, name: RepositoryName) -> None:
        self._backend = backend
        self._status = backend.status()
        self._name = name
        self._failure = self._status.failure(name)
        self._request: Request | None = None

    def progress(self, request: Request, seconds: float) -> Iterator[SyncProgress | None]:
        """Yield how far the sync is, again and again, until it ends.

        Args:
            request: the task.
            seconds: how long to wait without a sign of progress.

        Raises:
            SoftmanError: what the task failed with.
            PermanentError: the rest of it failed.
            WaitedTooLong: nothing goes on.
        """
        self._request = request
        seen: SyncProgress | None = None
        while True:
            for _ in looks(seconds):
                if self._is_done():
                    return
                now = self._status.progress(self._name)
                yield now
                if now not in {None, seen}:
                    seen = now
                    break
            else:
                what = f"the resync of {self._name} (task {request.task_id})"
                msg = f"{what} is not done, and nothing moved for {seconds:g} s"
                raise WaitedTooLong(msg)

    def _is_done(self) -> bool:
        if self._request is not None:
            if not self._request.ready():
                return False
            answer = self._request.answer() or {}
            following = answer.get("next")
            self._request = None if following is None else self._backend.request(RESYNC, following)
            return not answer.get("more")
        failure = self._status.failure(self._name)
        if failure is not None and failure != self._failure:
            raise PermanentError(failure.reason)
        return not self._status.backlog(self._name).everything


def links_of(status: Status, name: RepositoryName) -> dict[Link, LinkProgress]:
    """How the links of provisioning stand now; empty for a repository nobody asked for."""
    try:
        links = status.repository(name).links
    except NotFound:
        return {}
    return {progress.link: progress for progress in links if isinstance(progress.link, Link)}


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
