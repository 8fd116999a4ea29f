"""Tasks with known behaviour on the real queues. They write down each run, one line each."""

import os
import signal
import time
from pathlib import Path

from softman.errors import InvalidInput, Outage, ServiceUnavailable
from softman.services.keeper import LeaseKeeper
from softman.tasks.catalogue import PUBLISHER, STRATUM0, TaskSpec
from workers.base import task
from workers.pool import WorkerApp


class NoLease:
    """A lease that nobody else wants."""

    token = ""

    def renew(self) -> bool:
        """Always."""
        return True


def note(label: str, name: str) -> int:
    """Write the run down; how often this one ran by now."""
    path = Path(os.environ["PROBE_DIR"]) / "notes"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(f"{label} {name}\n")
    return path.read_text(encoding="utf-8").splitlines().count(f"{label} {name}")


@task(TaskSpec("probe.flaky", STRATUM0), chained=True, keep_result=True, longest_delay=1.0)
def flaky(name: str) -> str:
    """Succeeds at the sixth attempt."""
    runs = note("flaky", name)
    if runs <= 5:
        msg = f"not yet, run {runs}"
        raise ServiceUnavailable(msg)
    return f"run {runs}"


@task(TaskSpec("probe.second", PUBLISHER), chained=True, keep_result=True, longest_delay=1.0)
def second(name: str) -> str:
    """Succeeds at the third attempt, in another pool."""
    runs = note("second", name)
    if runs <= 2:
        msg = f"not yet, run {runs}"
        raise ServiceUnavailable(msg)
    return f"run {runs}"


@task(TaskSpec("probe.wrong", STRATUM0), keep_result=True)
def wrong(name: str) -> str:
    """Fails for good."""
    note("wrong", name)
    msg = f"{name} cannot work"
    raise InvalidInput(msg)


@task(TaskSpec("probe.hopeless", STRATUM0), keep_result=True, retries=1, longest_delay=1.0)
def hopeless(name: str) -> str:
    """Never succeeds."""
    note("hopeless", name)
    msg = "nobody answers"
    raise ServiceUnavailable(msg)


@task(TaskSpec("probe.waiting", STRATUM0), keep_result=True, retries=1, longest_delay=1.0)
def waiting(name: str) -> str:
    """Finds a service dead four times, more often than it may be retried."""
    runs = note("waiting", name)
    if runs <= 4:
        msg = "the vault does not answer"
        raise Outage(msg)
    return f"run {runs}"


@task(TaskSpec("probe.defect", STRATUM0), keep_result=True)
def defect(name: str) -> str:
    """Has a bug."""
    note("defect", name)
    raise KeyError(name)


@task(TaskSpec("probe.mortal", STRATUM0), keep_result=True)
def mortal(name: str) -> str:
    """Is killed in its first two runs."""
    runs = note("mortal", name)
    if runs <= 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"run {runs}"


@task(TaskSpec("probe.where", STRATUM0), keep_result=True)
def where(name: str) -> str:
    """Which process this is."""
    note("where", name)
    return str(os.getpid())


@task(TaskSpec("probe.long", STRATUM0), keep_result=True, longest_delay=1.0)
def long(name: str) -> str:
    """A slice of a turn that takes longer than anybody waits."""
    runs = note("long", name)
    if runs > 1:
        return f"run {runs}"
    with LeaseKeeper(NoLease(), 60.0) as keeper:
        while True:
            keeper.check()
            time.sleep(0.05)


@task(TaskSpec("probe.patient", STRATUM0), keep_result=True)
def patient(name: str) -> str:
    """Waits for the file ``go``."""
    runs = note("patient", name)
    while not (Path(os.environ["PROBE_DIR"]) / "go").exists():
        time.sleep(0.05)
    return f"run {runs}"


stratum0 = WorkerApp(STRATUM0)
publisher = WorkerApp(PUBLISHER)
