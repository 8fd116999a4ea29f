"""The group of commands ``softman repo``."""

import click

from softman.cli.lazy import LazyGroup

_COMMANDS = {
    "create": "softman.cli.repo.making:create",
    "publish": "softman.cli.repo.publishing:publish_command",
    "ls": "softman.cli.repo.reading:ls",
    "stat": "softman.cli.repo.reading:stat",
    "cat": "softman.cli.repo.reading:cat",
    "get": "softman.cli.repo.reading:get",
    "log": "softman.cli.repo.reading:log",
    "diff": "softman.cli.repo.inspecting:diff",
    "check": "softman.cli.repo.inspecting:check",
    "tag": "softman.cli.repo.history:tag",
    "rollback": "softman.cli.repo.history:rollback",
    "gc": "softman.cli.repo.history:gc",
    "resign": "softman.cli.repo.making:resign",
}


@click.group(cls=LazyGroup, places=_COMMANDS)
def repo() -> None:
    """Make, fill and read repositories by their storage, without the service."""
