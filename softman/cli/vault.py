"""The group of commands ``softman vault``, for administrators of Vault."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from pydantic import SecretStr

from softman.adapters.vault_layout import Role
from softman.cli.output import Output
from softman.cli.session import Session, common_options, pass_session
from softman.errors import InvalidInput
from softman.settings import vault_token

if TYPE_CHECKING:
    from softman.adapters.vault_setup import RoleAccess

STDIN = Path("-")


@click.group()
def vault() -> None:
    """Make Vault or OpenBao ready for softman."""


@vault.command()
@click.option("--dry-run", is_flag=True, help="Change nothing, show what would be changed.")
@click.option(
    "--token-file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="File with the token of an administrator, - for standard input. [default: the variable VAULT_TOKEN]",
)
@click.option(
    "--new-secret-id",
    "roles",
    type=click.Choice([role.value for role in Role]),
    multiple=True,
    help="Make a new secret id for this role; may be given again. [default: for roles that have none]",
)
@click.option(
    "--wrap",
    type=click.IntRange(min=0),
    default=0,
    metavar="SECONDS",
    help="Print tokens that each give a secret id once, within so many seconds, instead of secret ids.",
)
@common_options
@pass_session
def setup(session: Session, *, dry_run: bool, token_file: Path | None, roles: tuple[str, ...], wrap: int) -> None:
    """Set up mounts, policies, AppRoles and the login of users; may be run again any time.

    Address, namespace, mounts and users are those of the settings (SOFTMAN_VAULT__*). New credentials are printed,
    once: Vault shows none of them again.
    """
    from softman.adapters.vault_setup import set_up_vault  # noqa: PLC0415 - hvac takes a while to import

    token = _token(token_file)
    chosen = [Role(role) for role in roles] or None
    done = set_up_vault(session.backend.settings.vault, token, dry_run=dry_run, secret_ids=chosen, wrap=wrap)
    output = session.output
    for change in done.changes:
        if output.as_json:
            output.record({"change": change.what, "made": not dry_run, "diff": change.diff})
        else:
            output.line(f"would {change.what}" if dry_run else change.what)
            _show_diff(output, change.diff if dry_run else "")
    if not done.changes and not output.as_json:
        output.line("everything is set up already")
    for access in done.access:
        _show_access(output, access)


def _token(file: Path | None) -> SecretStr:
    """The administrator's token, from anywhere but the command line, which other users of the machine can read."""
    if file is None:
        token = vault_token()
    else:
        text = sys.stdin.read() if file == STDIN else file.read_text("utf-8")
        token = SecretStr(text.strip())
    if not token.get_secret_value():
        msg = "there is no token: set VAULT_TOKEN, or give --token-file"
        raise InvalidInput(msg)
    return token


def _show_diff(output: Output, diff: str) -> None:
    for line in diff.splitlines():
        output.line(f"    {line}")


def _show_access(output: Output, access: "RoleAccess") -> None:
    secret = access.secret_id.get_secret_value()
    name = "secret_id_wrapped" if access.wrapped else "secret_id"
    if output.as_json:
        record = {"role": access.role.value, "role_id": access.role_id, name: secret}
        output.record({**record, "accessor": access.accessor, "seconds": access.wrapped})
        return
    section = f"SOFTMAN_VAULT__{access.role.name}__"
    output.line(f"{section}ROLE_ID={access.role_id}")
    output.line(f"{section}{name.upper()}={secret}")
    if access.accessor:
        output.line(f"# to revoke it: accessor {access.accessor}")
