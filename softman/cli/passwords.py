"""The option that reads passwords by role from a file, so that none stands on a command line."""

import json
from collections.abc import Iterable
from pathlib import Path

import click

from softman.errors import InvalidInput

passwords_option = click.option(
    "--passwords",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help='JSON, {"publisher": "...", ...}; only hashes are printed.',
)


def read_passwords(path: Path | None, roles: Iterable[str]) -> dict[str, str]:
    """The passwords by role in a JSON file; none without a file.

    Raises:
        InvalidInput: it is no JSON object of texts by role; the message never has its content.
    """
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
    known = list(roles)
    strange = sorted(found.keys() - set(known))
    if strange:
        msg = f"{path} names {', '.join(strange)}; the roles are {', '.join(known)}"
        raise InvalidInput(msg)
    return found
