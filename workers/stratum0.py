"""Pool ``stratum0``: the work that needs the signing keys, but for commits."""

import time
from typing import Any

from softman import wiring
from softman.errors import SoftmanError
from softman.log import get_logger
from softman.model import Link, LinkProgress, LinkState
from softman.names import Kind, RepositoryName
from softman.tasks.catalogue import (
    CREATE_REPOSITORY,
    LOCK,
    PROVISION,
    PUBLISH_KEYS,
    REPORT_DEAD_LETTERS,
    RESIGN,
    RESUME_PROVISIONING,
    STRATUM0,
    SWEEP_STAGING,
    UNLOCK,
)
from softman.tasks.deadletters import BrokerDeadLetters
from workers.base import sender, set_link, settings, task, worker_application
from workers.pool import WorkerApp

QUIET_SECONDS = 900.0
"""A chain that recorded progress more recently is left alone: it runs, or waits for a retry."""
QUIET_AFTER_FAILURE_SECONDS = 3600.0

_log = get_logger(__name__)


@task(PROVISION, keep_result=True)
def provision(owner: str, subject: str, kind: Kind = Kind.PERSONAL, group: str | None = None) -> dict[str, Any]:
    """Register the repository of a user or a group and start the chain that makes it.

    Args:
        owner: the user's name.
        subject: the user's ``sub`` claim.
        kind: ``personal`` or ``group``.
        group: the group's name, for a group repository.

    Returns:
        ``repository`` and ``chain``, the ids of the tasks of the links.
    """
    record = wiring.stratum0(settings()).request(owner, subject, kind, group)
    return {"repository": str(record.repository), "chain": _start_chain(record.repository)}


@task(CREATE_REPOSITORY, link=Link.CREATE_REPOSITORY, chained=True, retries=30, keep_result=True)
def create_repository(repository: RepositoryName) -> str:
    """Keys, certificate, whitelist, empty root catalog, signed revision 1."""
    return wiring.stratum0(settings()).create_repository(repository)


@task(PUBLISH_KEYS, link=Link.PUBLISH_KEYS, chained=True, retries=30, keep_result=True)
def publish_keys(repository: RepositoryName) -> str:
    """The owner's keys into the owner's part of the vault."""
    return wiring.stratum0(settings()).publish_keys(repository)


@task(LOCK, retries=3, keep_result=True)
def lock(repository: RepositoryName) -> str:
    """Stop commits of a repository."""
    return wiring.lifecycle(settings()).lock(repository)


@task(UNLOCK, retries=3, keep_result=True)
def unlock(repository: RepositoryName) -> str:
    """Let commits of a repository go on."""
    return wiring.lifecycle(settings()).unlock(repository)


@task(RESUME_PROVISIONING, retries=0, dead_letter=False)
def resume_provisioning() -> None:
    """Start the chain again where it stopped half way and nothing moves any more."""
    for name in wiring.stratum0(settings()).unfinished():
        if stopped(_links(name), time.time()):
            _log.info("provisioning is resumed", repository=str(name))
            _start_chain(name)


@task(RESIGN)
def resign() -> None:
    """Sign whitelists anew well before they expire."""
    _log.info("whitelists are signed", count=wiring.stratum0(settings()).resign_whitelists())


@task(SWEEP_STAGING, retries=3)
def sweep_staging() -> None:
    """Remove staged objects of transactions that never came to a commit."""
    _log.info("staging areas are swept", count=wiring.stratum0(settings()).sweep_staging())


@task(REPORT_DEAD_LETTERS, retries=0, dead_letter=False)
def report_dead_letters() -> None:
    """Say how many dead letters there are. They are counted, not read: nobody else sees them while they are read."""
    count = BrokerDeadLetters(worker_application()).count()
    if count:
        _log.error("dead letters wait for somebody to look: softman dead list", count=count)


def stopped(links: list[LinkProgress], now: float) -> bool:
    """Whether a chain with this progress is at a standstill. No progress at all (Redis was flushed) is one."""
    if not links:
        return True
    failed = any(progress.state is LinkState.FAILED for progress in links)
    return now - max(progress.at for progress in links) > (QUIET_AFTER_FAILURE_SECONDS if failed else QUIET_SECONDS)


def _links(name: RepositoryName) -> list[LinkProgress]:
    try:
        return wiring.records(settings()).links(name)
    except SoftmanError:
        return []


def _start_chain(name: RepositoryName) -> list[str]:
    for link in Link:
        set_link(name, link, LinkState.WAITING)
    return sender().send_provisioning_chain(name)


app = WorkerApp(STRATUM0)
