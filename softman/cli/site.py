"""``softman site``: what a deployment needs once: passwords, and a file of settings for each role."""

import json
import os
import secrets
from pathlib import Path
from typing import Final

import click

from softman.adapters.redis_rights import CACHE_ROLES, acl_file
from softman.cli.session import Session, common_options, pass_session
from softman.errors import InvalidInput
from softman.tasks.rights import RIGHTS, definitions, user_name

ROLES: Final = (
    "admin",
    "stratum0",
    "commit",
    "connector",
    "publisher",
    "events",
    "beat",
    "dashboard",
    "flower",
    "client",
)
"""Roles with a file of settings."""
_BYTES: Final = 32


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--broker", default="rabbitmq:5672", show_default=True, metavar="HOST:PORT", help="RabbitMQ, as all reach it."
)
@click.option("--cache", default="redis:6379", show_default=True, metavar="HOST:PORT", help="Redis, as all reach it.")
@click.option("--tls/--plain", default=False, help="Reach both with TLS; plain text is for a network that is private.")
@common_options
@pass_session
def site(session: Session, folder: Path, broker: str, cache: str, *, tls: bool) -> None:
    """Make the secrets of a new site in FOLDER: users of RabbitMQ and Redis, and a settings file for each role.

    FOLDER must not be there yet, or be empty: what a site uses is never replaced. Files are readable by their owner
    alone. Vault's credentials are added to the files of stratum0, commit, publisher, dashboard and admin afterwards:
    see compose/README.md.
    """
    if folder.is_dir() and any(folder.iterdir()):
        msg = f"{folder} is not empty: the secrets of a site are made once"
        raise InvalidInput(msg)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    made = _files(broker, cache, tls=tls)
    for name, text in made.items():
        _write(folder / name, text)
    if session.as_json:
        session.output.record({"folder": str(folder), "files": sorted(made)})
    else:
        session.output.line(f"{len(made)} files in {folder}, readable by their owner alone")


def _files(broker: str, cache: str, *, tls: bool) -> dict[str, str]:
    at_broker = {role: secrets.token_urlsafe(_BYTES) for role in RIGHTS}
    at_cache = {role: secrets.token_urlsafe(_BYTES) for role in CACHE_ROLES}
    made = {
        "definitions.json": json.dumps(definitions(at_broker), indent=1) + "\n",
        "users.acl": acl_file(at_cache),
    }
    amqp, redis = ("amqps", "rediss") if tls else ("amqp", "redis")
    push = f"{amqp}://{user_name('rgw')}:{at_broker['rgw']}@{broker}"
    for role in ROLES:
        lines = [f'broker_url = "{amqp}://{user_name(role)}:{at_broker[role]}@{broker}//"']
        if role in at_cache:
            lines.append(f'redis_url = "{redis}://{user_name(role)}:{at_cache[role]}@{cache}/0"')
        if role in {"connector", "admin"}:
            lines += ["", "[s3]", f'push_endpoint = "{push}"']
        made[f"{role}.toml"] = "\n".join(lines) + "\n"
    return made


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
