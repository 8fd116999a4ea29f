"""``softman audit``: who asked for what, when, and what came of it."""

import json
from datetime import UTC, datetime
from typing import Any

import click

from softman.cli.output import Output, printable
from softman.cli.session import Session, common_options, pass_session

_COLUMNS = ("at", "action", "repository", "requested_by", "origin", "outcome", "detail")


@click.command()
@click.option("--repository", "repo", help="Of this repository only.")
@click.option("--user", help="Asked for by, or for, this user only.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M"]), help="From then on (UTC)."
)
@common_options
@pass_session
def audit(session: Session, *, repo: str | None, user: str | None, since: datetime | None) -> None:
    """Show the audit log, oldest first. On the host of stratum 0, whose files it reads."""
    name = None if repo is None else str(session.repository(repo))
    found = session.backend.audit_log().events(since and since.replace(tzinfo=UTC))
    chosen = (event for event in found if _is_of(event, name) and (user is None or user in _users(event)))
    output = session.output
    if output.as_json:
        for event in chosen:
            output.record(event)
    else:
        _show(output, list(chosen))


def _show(output: Output, events: list[dict[str, Any]]) -> None:
    if events or not output.on_terminal:
        output.table(_COLUMNS, [tuple(_text(event.get(column, "")) for column in _COLUMNS) for event in events])
    else:
        output.line("nothing is recorded")


def _text(value: object) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value))


def _is_of(event: dict[str, Any], name: str | None) -> bool:
    return name is None or name in {event.get("repository"), event.get("detail")}


def _users(event: dict[str, Any]) -> set[object]:
    return {event.get("requested_by"), event.get("owner")}
