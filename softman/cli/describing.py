"""``softman openapi``: the description of the dashboard's REST API."""

import subprocess
import sys

import click

from softman.cli.session import Session, common_options, pass_session
from softman.errors import PermanentError


@click.command()
@common_options
@pass_session
def openapi(session: Session) -> None:
    """Print the OpenAPI description of the REST API, JSON: softman openapi > openapi.json.

    A running dashboard gives the same at /api/v1/openapi.json.
    """
    # Another process: commands and dashboard are neighbours that do not import each other.
    described = subprocess.run(
        [sys.executable, "-m", "softman.dashboard.openapi"], capture_output=True, text=True, check=False
    )
    if described.returncode:
        msg = f"the dashboard cannot be described: {described.stderr.strip().rpartition(chr(10))[2]}"
        raise PermanentError(msg)
    session.output.line(described.stdout.rstrip("\n"))
