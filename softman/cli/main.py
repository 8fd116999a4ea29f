"""The entry point of ``softman``: the commands, and how errors end them."""

import gc
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from softman.cli import exitcodes
from softman.cli.lazy import LazyGroup
from softman.cli.output import warn
from softman.cli.session import Session
from softman.cvmfs.errors import CvmfsError
from softman.errors import SoftmanError

if TYPE_CHECKING:
    from softman.cli.backend import Backend

_COLLECT_AFTER = 50_000
"""Objects, instead of 700: a command makes many and hardly any cycles, and looking for them takes 3 % of a publish."""
_EPILOG = """\b
Exit codes: 0 done, 1 fault in softman, 2 wrong usage, 3 the demo found a difference, 4 local file or program,
5 waited too long, 6 something is broken, 10-24 errors of the service, 30-50 errors of a repository, 130 interrupted.
docs/commands.md lists them all."""

COMMANDS = {
    "up": "softman.cli.stack:up",
    "down": "softman.cli.stack:down",
    "env": "softman.cli.stack:env",
    "demo": "softman.cli.demo.command:demo",
    "request": "softman.cli.service:request",
    "status": "softman.cli.service:status",
    "resync": "softman.cli.resyncing:resync",
    "lock": "softman.cli.locking:lock",
    "unlock": "softman.cli.locking:unlock",
    "rollback": "softman.cli.lifecycle:rollback",
    "resume": "softman.cli.lifecycle:resume",
    "retire": "softman.cli.lifecycle:retire",
    "restore": "softman.cli.lifecycle:restore",
    "quotas": "softman.cli.lifecycle:quotas",
    "gc": "softman.cli.upkeep:gc",
    "check": "softman.cli.upkeep:check",
    "export": "softman.cli.moving:export",
    "import": "softman.cli.moving:bring_in",
    "backup": "softman.cli.moving:backup",
    "restore-backup": "softman.cli.moving:restore_backup",
    "syncs": "softman.cli.syncing:syncs",
    "refused": "softman.cli.syncing:refused",
    "pending": "softman.cli.syncing:pending",
    "diff": "softman.cli.comparing:diff",
    "key": "softman.cli.service:key",
    "ls": "softman.cli.reading:ls",
    "cat": "softman.cli.reading:cat",
    "get": "softman.cli.reading:get",
    "log": "softman.cli.reading:log",
    "rotate": "softman.cli.rotating:rotate",
    "whitelist": "softman.cli.whitelisting:whitelist",
    "audit": "softman.cli.auditing:audit",
    "dead": "softman.cli.dead:dead",
    "dashboard": "softman.cli.dashboard:dashboard",
    "completion": "softman.cli.completing:completion",
    "config": "softman.cli.configuring:config",
    "reconcile": "softman.cli.upkeep:reconcile",
    "resign": "softman.cli.upkeep:resign",
    "run": "softman.cli.running:run",
    "alive": "softman.cli.running:alive",
    "site": "softman.cli.site:site",
    "exporter": "softman.cli.exporting:exporter",
    "doctor": "softman.cli.doctoring:doctor",
    "openapi": "softman.cli.describing:openapi",
    "broker": "softman.cli.broker:broker",
    "cache": "softman.cli.cache:cache",
    "vault": "softman.cli.vault:vault",
    "repo": "softman.cli.repo.group:repo",
}
"""Every command, and where it is."""


@click.group(
    cls=LazyGroup,
    places=COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(package_name="softman", prog_name="softman", message="%(prog)s %(version)s")
def cli() -> None:
    """A bucket becomes a CernVM-FS repository, by itself.

    Ask for a repository, look at it, read it. Settings come from SOFTMAN_* variables; without any, the embedded stack
    that "softman up" started is used.
    """


def run(arguments: Sequence[str] | None = None, backend: "Backend | None" = None) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name; those of the process when None.
        backend: the service to talk to; the one of the settings when None.

    Returns:
        The exit code, see ``exitcodes``. Errors are one line on standard error.
    """
    session = Session(backend)
    given = None if arguments is None else list(arguments)
    return guarded(session, lambda: cli.main(args=given, prog_name="softman", standalone_mode=False, obj=session))


def guarded(session: Session, action: Callable[[], object]) -> int:
    """Run a command so that whatever goes wrong ends in one line on standard error.

    Args:
        session: the invocation.
        action: the command; an integer that it returns is the exit code.

    Returns:
        The exit code, see ``exitcodes``.
    """
    try:
        result = action()
    except click.Abort:
        warn("interrupted")
        return exitcodes.INTERRUPTED
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except OSError as error:
        return _report(error, session, exitcodes.Outcome(exitcodes.LOCAL, ""))
    except Exception as error:  # noqa: BLE001 - the border to the user: a fault ends in one line, too
        return _report(error, session, exitcodes.outcome(error))
    return result if isinstance(result, int) else exitcodes.OK


def main() -> None:
    """The console script."""
    gc.set_threshold(_COLLECT_AFTER)
    sys.exit(run())


def _report(error: Exception, session: Session, outcome: exitcodes.Outcome) -> int:
    if session.debug:
        import traceback  # noqa: PLC0415 - nearly never needed

        traceback.print_exception(error)
    what = _in_words(error)
    warn(f"{what}; {outcome.next_step}" if outcome.next_step else what)
    return outcome.code


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = str(error) or type(error).__name__
    return text if isinstance(error, SoftmanError | CvmfsError) else f"{type(error).__name__}: {text}"
