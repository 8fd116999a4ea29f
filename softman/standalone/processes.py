"""Our own processes: which there are, how each is started, when it is ready."""

import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from kombu.exceptions import OperationalError

from softman.errors import ServiceUnavailable
from softman.standalone.identity_provider import DISCOVERY, identity_provider_arguments
from softman.standalone.listeners import Dashboard, Flower
from softman.standalone.ports import LOOPBACK
from softman.standalone.process import python_environment, tail, wait_until
from softman.standalone.roles import Site, environment, settings
from softman.tasks.catalogue import BULK, PUBLISHER
from softman.tasks.client import client_app

_PING_SECONDS = 0.5
_SHOWN_LOGS = 2
WORKERS = "worker-"
"""Names of our own processes in the process table begin so."""

BEATS = ("beat", "beat-too")


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process of ours.

    Attributes:
        name: short and unique; a worker's Celery name is ``<name>@<host>``.
        role: whose settings it gets; none when empty.
        arguments: of ``python -m``.
        answers: whether it answers Celery's ping.
        stage: those of stage 0 are stopped first, for they bring work to those of stage 1.
    """

    name: str
    role: str
    arguments: tuple[str, ...]
    answers: bool = True
    stage: int = 0

    @property
    def process(self) -> str:
        """Its name in the process table."""
        return WORKERS + self.name


def _worker(name: str, role: str, *options: str, module: str | None = None, stage: int = 0) -> ProcessSpec:
    """The worker of ``workers.<name>``; without the second that workers take to get to know each other."""
    quick = ("--without-mingle", "--without-gossip")
    arguments = ("celery", "-A", f"workers.{module or name}", "worker", "-n", f"{name}@%h", *quick, *options)
    return ProcessSpec(name, role, arguments, stage=stage)


def process_specs(flower: Flower | None, dashboard: Dashboard | None = None) -> tuple[ProcessSpec, ...]:
    """All processes of a small site: one worker per pool, two beats with one schedule; Flower and dashboard if wanted.

    Full syncs have a worker of their own, or some of them would keep all slots from the interactive work.
    """
    specs = [
        *(ProcessSpec(name, "beat", ("celery", "-A", "workers.app", "beat"), answers=False) for name in BEATS),
        _worker("events", "events"),
        _worker("publisher", "publisher", "-Q", PUBLISHER),
        _worker("bulk", "publisher", "-Q", BULK, module="publisher"),
        _worker("connector", "connector"),
        _worker("stratum0", "stratum0", stage=1),
        _worker("commit", "commit", stage=1),
    ]
    if flower is not None:
        arguments = ("celery", "-A", "softman.app", "flower", f"--address={LOOPBACK}", f"--port={flower.port}")
        specs.append(ProcessSpec("flower", "flower", arguments, answers=False))
    if dashboard is not None:
        specs.append(ProcessSpec("dashboard", "dashboard", ("softman.dashboard.main",), answers=False))
    if dashboard is not None and dashboard.provider_port:
        provider = identity_provider_arguments(dashboard.provider_port)
        specs.append(ProcessSpec("identity-provider", "", provider, answers=False))
    return tuple(specs)


def command(spec: ProcessSpec) -> list[str]:
    """Program and arguments."""
    return [sys.executable, "-m", *spec.arguments]


def scratch_directory(site: Site) -> Path:
    """Where our processes keep temporary files; what a killed one leaves goes with the stack."""
    return site.directory / "state" / "tmp"


def child_environment(site: Site, spec: ProcessSpec, flower: Flower | None) -> dict[str, str]:
    """The whole environment of a process: its role's settings, and where Python finds us when it works elsewhere."""
    variables = {
        **python_environment(),
        **(environment(site, spec.role) if spec.role else {}),
        "HOME": str(site.directory / "state"),
        "TMPDIR": str(scratch_directory(site)),
        "PYTHONUNBUFFERED": "1",
    }
    if spec.name == "flower" and flower is not None:
        variables["FLOWER_BASIC_AUTH"] = f"softman:{flower.password}"
    return variables


def wait_ready(site: Site, specs: Iterable[ProcessSpec], pages: Mapping[str, str], *, seconds: float) -> None:
    """Wait until every worker answers a ping and every page is there.

    Args:
        site: whose processes these are.
        specs: all of them.
        pages: the address of one page each of those that are no workers.
        seconds: how long that may take.

    Raises:
        ServiceUnavailable: not in time; the message names those that are missing, with the end of their logs.
    """
    missing = {spec.name for spec in specs if spec.answers}
    waited_for = ""

    def all_answer() -> bool:
        missing.difference_update(_ping(site))
        return not missing

    try:
        wait_until(all_answer, "all workers answer", seconds=seconds)
        for name, url in pages.items():
            waited_for = name
            wait_until(partial(_page_answers, url), f"{name} answers", seconds=seconds)
    except ServiceUnavailable as exc:
        names = sorted(missing) or [waited_for]
        ends = [f"{name}.log ends: {tail(site.directory / 'log' / f'{name}.log', 3)}" for name in names[:_SHOWN_LOGS]]
        msg = f"{', '.join(names)} did not get ready within {seconds:g} s\n" + "\n".join(ends)
        raise ServiceUnavailable(msg) from exc


def pages_of(flower: Flower | None, dashboard: Dashboard | None) -> dict[str, str]:
    """Pages that answer when Flower, the identity provider and the dashboard are ready."""
    pages = {} if flower is None else {"flower": f"{flower.url}/healthcheck"}
    if dashboard is not None:
        pages["dashboard"] = f"{dashboard.url}/healthz"
    if dashboard is not None and dashboard.issuer:
        pages["identity-provider"] = dashboard.issuer + DISCOVERY
    return pages


def _ping(site: Site) -> set[str]:
    app: Any = client_app(settings(site, "admin"))
    try:
        answers = app.control.ping(timeout=_PING_SECONDS)
    except OperationalError:
        return set()
    finally:
        app.close()
    return {node.partition("@")[0] for answer in answers for node in answer}


def _page_answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return int(answer.status) == HTTPStatus.OK
    except urllib.error.HTTPError as exc:
        return exc.code == HTTPStatus.UNAUTHORIZED
