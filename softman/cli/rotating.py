"""``softman rotate``: other keys for a repository."""

import click

from softman.cli.session import Session, common_options, pass_session
from softman.cli.waiting import answer_of
from softman.tasks.catalogue import ROTATE

_timeout_option = click.option(
    "--timeout", type=click.FloatRange(min=0), default=120.0, show_default=True, help="Seconds to wait."
)


@click.group()
def rotate() -> None:
    """Replace a key of a repository. Clients read it all the time; docs/keys.md tells the steps."""


@rotate.command("gateway-key")
@click.argument("repo")
@_timeout_option
@common_options
@pass_session
def gateway_key(session: Session, *, repo: str, timeout: float) -> None:
    """Give REPO another gateway key. Publishers take it by themselves, and commit with it what they are at."""
    _ask(session, repo, "gateway-key", timeout)


@rotate.command()
@click.argument("repo")
@click.option("--revoke", is_flag=True, help="Allow the old certificate no longer, once the new one is used.")
@_timeout_option
@common_options
@pass_session
def certificate(session: Session, *, repo: str, revoke: bool, timeout: float) -> None:
    """Sign REPO with another private key and its certificate.

    The new one is used some time after it was allowed, by itself; the old one stays allowed for a day.
    """
    _ask(session, repo, "certificate", timeout, revoke=revoke)


@rotate.command("master-key")
@click.argument("repo")
@click.option("--switch", is_flag=True, help="Sign with the master key that was announced.")
@_timeout_option
@common_options
@pass_session
def master_key(session: Session, *, repo: str, switch: bool, timeout: float) -> None:
    """Announce another master key for REPO, and for all that share its own; later, switch to it.

    In between, everybody who mounts the repository takes the new public key, which softman key --next prints,
    besides the old one.
    """
    _ask(session, repo, "master-key", timeout, switch=switch)


def _ask(session: Session, repo: str, what: str, timeout: float, *, switch: bool = False, revoke: bool = False) -> None:
    name = session.repository(repo)
    session.backend.status().repository(name)  # an unknown one is refused here, not in a worker's log
    sent = session.backend.send(ROTATE, str(name), what, "", switch, revoke)
    said = answer_of(sent, f"another {what} for {name}", timeout)
    if session.output.as_json:
        session.output.record({"repository": str(name), "what": what, "rotation": sent.task_id, "message": said})
    else:
        session.output.line(said)
