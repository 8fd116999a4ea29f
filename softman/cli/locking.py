"""``softman lock`` and ``softman unlock``: whether a repository takes commits."""

import click

from softman.cli.session import Session, common_options, pass_session
from softman.cli.waiting import answer_of
from softman.tasks.catalogue import LOCK, UNLOCK, TaskSpec

_timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, help="Seconds to wait."
)


@click.command()
@click.argument("repo")
@_timeout_option
@common_options
@pass_session
def lock(session: Session, *, repo: str, timeout: float) -> None:
    """Stop commits of REPO. Clients go on reading it; what changes in its bucket waits."""
    _ask(session, LOCK, repo, timeout)


@click.command()
@click.argument("repo")
@_timeout_option
@common_options
@pass_session
def unlock(session: Session, *, repo: str, timeout: float) -> None:
    """Let commits of REPO go on; what waited is published within seconds."""
    _ask(session, UNLOCK, repo, timeout)


def _ask(session: Session, task: TaskSpec, repo: str, timeout: float) -> None:
    name = session.repository(repo)
    sent = session.backend.send(task, str(name))
    said = answer_of(sent, f"the task {task.name} for {name}", timeout)
    if session.output.as_json:
        session.output.record({"repository": str(name), "state": session.backend.status().repository(name).state})
    else:
        session.output.line(said)
