"""Starting chains of tasks, and noticing that one stopped half way."""

import time
from collections.abc import Sequence

from softman import wiring
from softman.errors import SoftmanError
from softman.model import AnyLink, LinkProgress, LinkState
from softman.names import RepositoryName
from softman.tasks.catalogue import TaskSpec
from workers.auditing import requester
from workers.base import sender, set_link, settings

QUIET_SECONDS = 900.0
"""A chain that recorded progress more recently is left alone: it runs, or waits for a retry."""
QUIET_AFTER_FAILURE_SECONDS = 3600.0


def start_chain(tasks: Sequence[TaskSpec], name: RepositoryName, links: type[AnyLink]) -> list[str]:
    """Send the first task of a chain, and say that all its links wait.

    Args:
        tasks: those of the chain.
        name: the repository.
        links: what its progress is recorded as.

    Returns:
        The ids of the tasks.
    """
    for link in links:
        set_link(name, link, LinkState.WAITING)
    return sender().send_chain(tasks, name, requested_by=requester())


def links_of(name: RepositoryName, links: type[AnyLink]) -> list[LinkProgress]:
    """How a chain stands; empty when nothing is recorded, or cannot be read."""
    try:
        return wiring.records(settings()).links(name, links)
    except SoftmanError:
        return []


def stopped(links: list[LinkProgress], now: float | None = None) -> bool:
    """Whether a chain with this progress is at a standstill. No progress at all (Redis was flushed) is one.

    Args:
        links: its progress.
        now: Unix time; the present when None.
    """
    if not links:
        return True
    failed = any(progress.state is LinkState.FAILED for progress in links)
    quiet = (time.time() if now is None else now) - max(progress.at for progress in links)
    return quiet > (QUIET_AFTER_FAILURE_SECONDS if failed else QUIET_SECONDS)


def ended(links: list[LinkProgress], chain: type[AnyLink]) -> bool:
    """Whether every link of a chain is done."""
    return [progress.link for progress in links if progress.state is LinkState.DONE] == list(chain)
