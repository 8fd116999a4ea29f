"""``softman run`` and ``softman alive``: each process of a site by its name, for containers and service managers."""

import os
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Final

import click

from softman.cli.exitcodes import UNHEALTHY
from softman.cli.session import Session, common_options, pass_session
from softman.tasks.catalogue import BULK, PUBLISHER

if TYPE_CHECKING:
    from collections.abc import Callable

    from softman.settings import Settings


def _worker(name: str, module: str, *options: str) -> tuple[str, ...]:
    return ("celery", "-A", f"workers.{module}", "worker", "-n", f"{name}@%h", *options)


PROCESSES: Final[dict[str, tuple[str, ...]]] = {
    "events": _worker("events", "events"),
    "publisher": _worker("publisher", "publisher", "-Q", PUBLISHER),
    "bulk": _worker("bulk", "publisher", "-Q", BULK),
    "connector": _worker("connector", "connector"),
    "stratum0": _worker("stratum0", "stratum0"),
    "commit": _worker("commit", "commit"),
    "beat": ("celery", "-A", "workers.app", "beat"),
    "dashboard": ("softman.dashboard.main",),
    "exporter": ("softman", "exporter"),
    "flower": ("celery", "-A", "softman.app", "flower"),
}
"""What ``python -m`` is given for each."""
_WORKERS: Final = ("events", "publisher", "bulk", "connector", "stratum0", "commit")


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("process", type=click.Choice(list(PROCESSES)), metavar="PROCESS")
@click.argument("more", nargs=-1, type=click.UNPROCESSED)
@common_options
@pass_session
def run(session: Session, process: str, more: tuple[str, ...]) -> None:
    """Become one PROCESS of a site; MORE is handed to its program, such as "-c 4" for a worker.

    PROCESS is one of events, publisher, bulk, connector, stratum0, commit, beat, dashboard, exporter, flower. Settings
    come from SOFTMAN_* variables and the file that SOFTMAN_CONFIG names: those of its role.
    """
    _ = session.backend.settings  # what is wrong with them is said here, in one line
    arguments = [sys.executable, "-m", *PROCESSES[process], *more]
    sys.stdout.flush()
    os.execv(sys.executable, arguments)  # noqa: S606 - our own programs, no shell


@click.command()
@click.argument("process", type=click.Choice(list(PROCESSES)), metavar="PROCESS")
@common_options
@pass_session
def alive(session: Session, process: str) -> None:
    """Say whether PROCESS of this host is well; the exit code is 6 when it is not.

    A worker is well while it reaches the broker, beat while it looks at its schedule, the others while they answer.
    """
    problem = _problem(session.backend.settings, process)
    if session.as_json:
        session.output.record({"process": process, "alive": not problem, "problem": problem})
    else:
        session.output.line(problem or f"{process} is well")
    if problem:
        click.get_current_context().exit(UNHEALTHY)


def _problem(settings: "Settings", process: str) -> str:
    if process in _WORKERS or process == "beat":
        return _silence(settings, process)
    pages: dict[str, Callable[[], str]] = {
        "dashboard": lambda: f"{settings.dashboard.listen_port}/healthz",
        "exporter": lambda: f"{settings.metrics.listen_port}/metrics",
        "flower": lambda: "5555/healthcheck",
    }
    return _no_answer(f"http://127.0.0.1:{pages[process]()}")


def _silence(settings: "Settings", process: str) -> str:
    from softman.adapters.signs import STALE_SECONDS, age_of_sign  # noqa: PLC0415 - only here

    age = age_of_sign(settings.state_dir, process)
    if age is None:
        return f"{process} has given no sign of life yet in {settings.state_dir}"
    return f"{process} gave its last sign of life {age:.0f} s ago" if age > STALE_SECONDS else ""


def _no_answer(url: str) -> str:
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5):
            return ""
    except (urllib.error.URLError, OSError) as exc:
        return f"{url} does not answer: {exc}"
