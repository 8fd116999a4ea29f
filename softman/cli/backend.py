"""What commands ask of the rest of softman: settings, status, readers, tasks."""

from datetime import UTC, datetime
from functools import cached_property
from platform import node
from typing import Any, Protocol

from celery import Celery

from softman import wiring
from softman.adapters.ports import AuditLog
from softman.cli.places import running_stack
from softman.cli.sender import Request, local_user, send
from softman.cvmfs.reader import RepositoryReader
from softman.errors import NotFound
from softman.model import AuditEvent
from softman.names import RepositoryName
from softman.services.deadletters import DeadLetterOffice
from softman.services.portable import Porter
from softman.services.status import Status
from softman.services.whitelists import Whitelists
from softman.settings import Settings, configured, load_settings
from softman.tasks.catalogue import TaskSpec
from softman.tasks.client import broker_errors, client_app
from softman.tasks.deadletters import BrokerDeadLetters
from softman.tasks.queues import declare_all


class Backend(Protocol):
    """The service as the command line sees it."""

    @property
    def settings(self) -> Settings:
        """The settings of this invocation."""

    def status(self) -> Status:
        """Read-only questions."""

    def reader(self, repository: RepositoryName) -> RepositoryReader:
        """The verifying reader of a repository of ours, with the public key from the vault."""

    def public_keys(self, repository: RepositoryName) -> tuple[bytes, ...]:
        """The public keys, PEM, that clients mount a repository of ours with: in use, and to come."""

    def whitelists(self) -> Whitelists:
        """What exports and imports whitelists; on the host of stratum 0."""

    def porter(self) -> Porter:
        """What writes and reads archives of repositories; on the host of stratum 0."""

    def audit_log(self) -> AuditLog:
        """The audit log; on the host of stratum 0."""

    def audit(self, action: str, repository: RepositoryName, detail: str) -> None:
        """Record what this command did."""

    def send(self, task: TaskSpec, *arguments: object) -> Request:
        """Ask the workers for something."""

    def request(self, task: TaskSpec, task_id: str) -> Request:
        """A task that somebody else sent, to wait for it."""

    def dead_letters(self) -> DeadLetterOffice:
        """The messages that nobody could work on."""

    def declare_queues(self) -> None:
        """Declare what is missing at the broker."""

    def now(self) -> datetime:
        """The present time, with a time zone."""


class ServiceBackend:
    """The real one: the service that the settings name, or the embedded stack that runs.

    Args:
        settings: the settings when they are known; looked for when None.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._given = settings

    @cached_property
    def settings(self) -> Settings:
        """From ``SOFTMAN_*`` when any is set, else those of the embedded stack that runs.

        Raises:
            NotFound: there is neither.
            InvalidInput: a setting is wrong.
        """
        if self._given is not None:
            return self._given
        if configured():
            return load_settings()
        stack = running_stack()
        if stack is None:
            msg = "no service is set (SOFTMAN_*) and no embedded stack runs; start one with: softman up"
            raise NotFound(msg)
        return stack.settings()

    @cached_property
    def _app(self) -> Celery[Any]:
        return client_app(self.settings)

    def status(self) -> Status:
        """Read-only questions."""
        return wiring.status(self.settings)

    def reader(self, repository: RepositoryName) -> RepositoryReader:
        """The verifying reader of a repository of ours, with the public key from the vault."""
        return wiring.reader(self.settings, repository)

    def public_keys(self, repository: RepositoryName) -> tuple[bytes, ...]:
        """The public keys, PEM, that clients mount a repository of ours with: in use, and to come."""
        return wiring.public_keys(self.settings, repository)

    def whitelists(self) -> Whitelists:
        """What exports and imports whitelists; on the host of stratum 0."""
        return wiring.whitelists(self.settings)

    def porter(self) -> Porter:
        """What writes and reads archives of repositories; on the host of stratum 0."""
        return wiring.porter(self.settings)

    def audit_log(self) -> AuditLog:
        """The audit log; on the host of stratum 0."""
        return wiring.audit_log(self.settings)

    def audit(self, action: str, repository: RepositoryName, detail: str) -> None:
        """Record what this command did."""
        event = AuditEvent(action, "done", str(repository), requested_by=local_user(), origin=node(), detail=detail)
        self.audit_log().record(event)

    def send(self, task: TaskSpec, *arguments: object) -> Request:
        """Ask the workers for something."""
        return send(self._app, task, *arguments)

    def request(self, task: TaskSpec, task_id: str) -> Request:
        """A task that somebody else sent, to wait for it."""
        return Request(self._app, task.name, task_id)

    def dead_letters(self) -> DeadLetterOffice:
        """The messages that nobody could work on."""
        return DeadLetterOffice(BrokerDeadLetters(self._app))

    def declare_queues(self) -> None:
        """Declare what is missing at the broker."""
        with broker_errors(self._app), self._app.connection_for_write() as connection:
            declare_all(connection)

    def now(self) -> datetime:
        """The present time, with a time zone."""
        return datetime.now(UTC)
