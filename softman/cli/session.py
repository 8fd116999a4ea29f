"""What the commands of one invocation share: options that every command has, the service, the clock of waiting."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

from softman.cli.output import Output

if TYPE_CHECKING:
    from softman.cli.backend import Backend
    from softman.names import RepositoryName

_Command = TypeVar("_Command", bound=Callable[..., Any])

POLL_SECONDS = 0.2
"""How often something that is waited for is looked at."""


class Session:
    """One invocation of the command.

    Args:
        backend: the service; None for the one that the settings name, from when it is asked for.

    Attributes:
        as_json: programs read the output.
        debug: show where an error came from.
    """

    def __init__(self, backend: "Backend | None" = None) -> None:
        self._backend = backend
        self.as_json = False
        self.debug = False

    @property
    def backend(self) -> "Backend":
        """The service. What talks to it takes a second to import, so that is done when a command needs it."""
        if self._backend is None:
            from softman.cli.backend import ServiceBackend  # noqa: PLC0415 - see above
            from softman.log import configure_logging  # noqa: PLC0415 - same

            configure_logging(level="WARNING")
            self._backend = ServiceBackend()
        return self._backend

    def now(self) -> datetime:
        """The present time, with a time zone."""
        return datetime.now(UTC) if self._backend is None else self._backend.now()

    @property
    def output(self) -> Output:
        """Standard output in the form asked for."""
        return Output(as_json=self.as_json)

    def repository(self, text: str) -> "RepositoryName":
        """The repository a user names; a label alone means the one in our domain.

        Raises:
            InvalidInput: no repository can be called so.
        """
        from softman.names import RepositoryName  # noqa: PLC0415 - local storage does without

        return RepositoryName.parse(text if "." in text else f"{text}.{self.backend.settings.domain}")


pass_session = click.make_pass_decorator(Session)


def common_options(command: _Command) -> _Command:
    """Give a command ``--json`` and ``--debug``; both end up in the session."""
    for name, attribute, text in (
        ("--debug", "debug", "Show where an error came from."),
        ("--json", "as_json", "Print JSON, one object a line."),
    ):
        command = click.option(
            name, is_flag=True, expose_value=False, callback=_remember(attribute), help=text, is_eager=True
        )(command)
    return command


def _remember(attribute: str) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        if value:
            setattr(context.find_object(Session), attribute, value)

    return callback


def looks(seconds: float) -> Iterator[float]:
    """Yield seconds passed, again and again, until the deadline; at least once.

    Args:
        seconds: how long to go on.
    """
    started = time.monotonic()
    passed = 0.0
    while True:
        yield passed
        passed = time.monotonic() - started
        if passed >= seconds:
            return
        time.sleep(min(POLL_SECONDS, seconds - passed))
