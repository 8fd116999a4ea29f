"""``softman broker``: what an administrator does once at RabbitMQ."""

import json
from pathlib import Path

import click

from softman.cli.passwords import passwords_option, read_passwords
from softman.cli.session import Session, common_options, pass_session
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
@passwords_option
@click.option("--vhost", default="/", show_default=True, help="The virtual host that is softman's own.")
@common_options
@pass_session
def definitions_(session: Session, passwords: Path | None, vhost: str) -> None:
    """Print users and permissions, for "rabbitmqctl import_definitions".

    A user without a password in FILE cannot log in until one is set: rabbitmqctl change_password.
    """
    found = definitions(read_passwords(passwords, RIGHTS), vhost=vhost)
    if session.as_json:
        session.output.record(found)
    else:
        click.echo(json.dumps(found, indent=1))
