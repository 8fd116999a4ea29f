"""The command that serves the dashboard."""

import os
import sys

import click

from softman.cli.session import common_options


@click.command()
@common_options
def dashboard() -> None:
    """Serve the dashboard: REST API and web pages.

    Settings come from SOFTMAN_*; see docs/login.md. It runs until it gets a signal.
    """
    os.execv(sys.executable, [sys.executable, "-m", "softman.dashboard.main"])  # noqa: S606 - this process becomes it
