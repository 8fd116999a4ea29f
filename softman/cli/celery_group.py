"""``celery -A softman.app softman ...``: our commands inside Celery's command line, by its own extension point.

Celery finds the group by the entry point ``celery.commands`` of the package.
"""

from typing import Any

import click

from softman.cli.lazy import LazyGroup
from softman.cli.main import COMMANDS, guarded
from softman.cli.session import Session

_ELSEWHERE = {"up", "down", "env", "demo", "repo", "completion", "exporter", "run", "alive", "site", "dashboard"}
"""What has nothing to do with a service that runs."""


class _Guarded(LazyGroup):
    """A group whose errors end as those of ``softman`` do: one line, and an exit code of their own."""

    def invoke(self, ctx: click.Context) -> Any:
        session = Session()
        ctx.obj = session
        code = guarded(session, lambda: super(_Guarded, self).invoke(ctx))
        ctx.exit(code)


@click.group(
    cls=_Guarded,
    places={name: place for name, place in COMMANDS.items() if name not in _ELSEWHERE},
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
def softman() -> None:
    """Repositories: status, resync, reconcile, resign, gc, check, dead letters, and the rest of "softman".

    The service is found as "softman" finds it: by SOFTMAN_* variables, else the embedded stack that runs.
    """
