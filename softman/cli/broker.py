"""``softman broker``: what an administrator does once at RabbitMQ."""

import json
from pathlib import Path

import click

from softman.cli.session import Session, common_options, pass_session
from softman.errors import InvalidInput
from softman.tasks.rights import RIGHTS, definitions


@click.group()
def broker() -> None:
    """Prepare RabbitMQ: users with their permissions, exchanges and queues."""


@broker.command()
@common_options
@pass_session
def setup(session: Session) -> None:
    """Declare every exchange and queue; what is there already stays as it is.

    Needs a broker URL whose user may configure: workers may not.
    """
    session.backend.declare_queues()
    session.output.facts([("declared", "every exchange and queue")])


@broker.command("definitions")
@click.option(
    "--passwords",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help='JSON, {"publisher": "...", ...}; only salted hashes are printed.',
)
@click.option("--vhost", default="/", show_default=True, help="The virtual host that is softman's own.")
@common_options
@pass_session
def definitions_(session: Session, passwords: Path | None, vhost: str) -> None:
    """Print users and permissions, for "rabbitmqctl import_definitions".

    A user without a password in FILE cannot log in until one is set: rabbitmqctl change_password.
    """
    found = definitions(_passwords(passwords), vhost=vhost)
    if session.as_json:
        session.output.record(found)
    else:
        click.echo(json.dumps(found, indent=1))


def _passwords(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        msg = f"{path} cannot be read as JSON: {type(exc).__name__}"
        raise InvalidInput(msg) from None
    if not isinstance(found, dict) or not all(isinstance(each, str) and each for each in found.values()):
        msg = f"{path} is no JSON object of passwords by role"
        raise InvalidInput(msg)
    strange = sorted(found.keys() - RIGHTS.keys())
    if strange:
        msg = f"{path} names {', '.join(strange)}; the roles are {', '.join(RIGHTS)}"
        raise InvalidInput(msg)
    return found
