"""``softman cache``: what an administrator does once at Redis."""

from pathlib import Path

import click

from softman.adapters.redis_rights import CACHE_ROLES, acl_file
from softman.cli.passwords import passwords_option, read_passwords
from softman.cli.session import Session, common_options, pass_session


@click.group()
def cache() -> None:
    """Prepare Redis: users with their keys and commands."""


@cache.command()
@passwords_option
@common_options
@pass_session
def users(session: Session, passwords: Path | None) -> None:
    """Print the users, for the file that Redis' setting "aclfile" names.

    A user without a password in FILE cannot log in until one is set: ACL SETUSER, ACL SAVE. Passwords must be long and
    random, for Redis keeps them as plain SHA-256.
    """
    text = acl_file(read_passwords(passwords, CACHE_ROLES))
    if session.as_json:
        session.output.record({"users": text.splitlines()})
    else:
        click.echo(text, nl=False)
