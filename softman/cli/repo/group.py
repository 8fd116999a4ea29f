"""The group of commands ``softman repo``."""

import click

from softman.cli.repo import history, inspecting, making, publishing, reading


@click.group()
def repo() -> None:
    """Make, fill and read repositories by their storage, without the service."""


for _command in (
    making.create,
    publishing.publish_command,
    reading.ls,
    reading.stat,
    reading.cat,
    reading.get,
    reading.log,
    inspecting.diff,
    inspecting.check,
    history.tag,
    history.rollback,
    history.gc,
    making.resign,
):
    repo.add_command(_command)
