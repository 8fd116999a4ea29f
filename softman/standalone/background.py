"""``softman up`` and ``softman down``: a stack that goes on when the command has ended."""

import os
from pathlib import Path

from softman.errors import NotFound
from softman.standalone.packages import ensure_packages
from softman.standalone.record import FILE_NAME
from softman.standalone.stack import Options, Stack

VOLATILE_NOTICE = "The embedded object store keeps its data in memory: buckets are gone when the stack stops."
"""To be shown by ``softman up``."""


def default_directory() -> Path:
    """Where the stack of this user is: ``$XDG_STATE_HOME/softman``, or ``~/.local/state/softman``."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG base directory specification tells programs to ignore relative paths.
    return (Path(base) if base.startswith("/") else Path.home() / ".local" / "state") / "softman"


def up(
    directory: Path | None = None, *, install: bool = False, workers: bool = True, options: Options | None = None
) -> Stack:
    """Start a stack and let it run in the background.

    Args:
        directory: where; ``default_directory()`` when None.
        install: install Debian packages that are missing, as root or through sudo.
        workers: also start our own processes, under a supervisor.
        options: how it differs from the usual one.

    Raises:
        NotFound: Debian packages are missing and not to be installed.
        Busy: one runs there already.
        ServiceUnavailable: a server or a worker did not come up; nothing runs then.
    """
    ensure_packages(install=install)
    stack = Stack.start(directory or default_directory(), workers=workers, options=options)
    stack.detach()
    return stack


def down(directory: Path | None = None, *, purge: bool = False) -> None:
    """Stop the stack that runs in the background, or what is left of it.

    Args:
        directory: as for ``up``.
        purge: also remove the directory with all data and logs.

    Raises:
        NotFound: there is no stack.
    """
    Stack.attach(directory or default_directory()).stop(purge=purge)


def running(directory: Path | None = None) -> Stack | None:
    """The stack that runs in the background, or None when there is none or not all of its servers run."""
    where = directory or default_directory()
    if not (where / FILE_NAME).is_file():
        return None
    try:
        stack = Stack.attach(where)
    except NotFound:
        return None
    return stack if all(server.alive() for server in stack.servers.values()) else None
