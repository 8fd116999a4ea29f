"""Tasks of pool ``stratum0`` about the life of a repository: back, given up and restored, quotas, upkeep."""

import time
from dataclasses import asdict
from typing import Any

from softman import wiring
from softman.log import get_logger
from softman.model import Link, RetirementLink
from softman.names import RepositoryName
from softman.tasks.catalogue import (
    DROP_RETIRED,
    PROVISIONING_CHAIN,
    RESTORE,
    RESUME,
    RESUME_RETIREMENT,
    RESYNC,
    RETIRE,
    RETIREMENT_CHAIN,
    REVOKE_KEYS,
    ROLLBACK,
    SET_QUOTAS,
)
from workers.auditing import audited, requester
from workers.base import sender, settings, task
from workers.chains import ended, links_of, start_chain, stopped

SCHEMA = 1
_log = get_logger(__name__)


@task(ROLLBACK, retries=12, keep_result=True)
def rollback(repository: RepositoryName, revision: int) -> dict[str, Any]:
    """Show the tree of an earlier revision, and publish nothing from the bucket until somebody resumes it."""
    with audited("roll back", repository, to=revision) as outcome:
        done = wiring.rollbacks(settings()).roll_back(repository, revision)
        outcome.detail = f"revision {done.revision} shows revision {done.shows}"
        outcome.more["revision"] = done.revision
    message = f"{repository} shows revision {done.shows} again, as revision {done.revision}; its bucket waits"
    return _answer(repository, message, revision=done.revision, shows=done.shows)


@task(RESUME, retries=12, keep_result=True)
def resume(repository: RepositoryName) -> dict[str, Any]:
    """End the pause after a roll-back, and publish what the bucket says."""
    with audited("resume", repository) as outcome:
        was_paused = wiring.lifecycle(settings()).resume(repository)
        outcome.detail = "publishing goes on" if was_paused else "it was not paused"
    following = sender().send(RESYNC, str(repository), keep_result=True, requested_by=requester())
    return _answer(repository, f"{repository} is published again from its bucket", next=following)


@task(RETIRE, retries=12, keep_result=True)
def retire(repository: RepositoryName, keep_content: bool = True) -> dict[str, Any]:
    """Give a repository up, and start the chain that lets go of its bucket; it can be restored for a while."""
    with audited("retire", repository, keep_content=int(keep_content)) as outcome:
        record = wiring.lifecycle(settings()).retire(repository, keep_content=keep_content)
        outcome.detail = f"{repository} is {record.state}"
    retirement = record.retirement
    chain = start_chain(RETIREMENT_CHAIN, repository, RetirementLink)
    return _answer(
        repository,
        f"{repository} is retired",
        state=record.state.value,
        until=0.0 if retirement is None else retirement.until,
        keep_content=True if retirement is None else retirement.keep_content,
        chain=chain,
    )


@task(REVOKE_KEYS, link=RetirementLink.REVOKE_KEYS, chained=True, retries=30)
def revoke_keys(repository: RepositoryName) -> str:
    """Make the gateway key of a retired repository void."""
    with audited("revoke keys", repository) as outcome:
        outcome.detail = wiring.retirements(settings()).revoke_keys(repository)
    return outcome.detail


@task(RESUME_RETIREMENT, retries=0, dead_letter=False)
def resume_retirement() -> None:
    """Start the chain again where it stopped half way and nothing moves any more."""
    for name in wiring.retirements(settings()).retired():
        links = links_of(name, RetirementLink)
        if not ended(links, RetirementLink) and stopped(links):
            _log.info("retirement is resumed", repository=str(name))
            start_chain(RETIREMENT_CHAIN, name, RetirementLink)


@task(DROP_RETIRED, retries=3, dead_letter=False)
def drop_retired() -> None:
    """Remove content and keys of what was given up to be dropped, as much as one turn allows."""
    retirements = wiring.retirements(settings())
    end = time.monotonic() + settings().lifecycle.turn_seconds
    for name in retirements.due():
        with audited("drop", repository=name) as outcome:
            if not retirements.drop(name, lambda: time.monotonic() >= end):
                outcome.outcome = "begun"
        if time.monotonic() >= end:
            sender().send(DROP_RETIRED, countdown=1)
            return


@task(RESTORE, retries=12, keep_result=True)
def restore(repository: RepositoryName) -> dict[str, Any]:
    """Take a retirement back, and provision the repository again."""
    with audited("restore", repository) as outcome:
        outcome.detail = f"{repository} is {wiring.lifecycle(settings()).restore(repository).state}"
    chain = start_chain(PROVISIONING_CHAIN, repository, Link)
    return _answer(repository, f"{repository} is restored, and shows its bucket soon", chain=chain)


@task(SET_QUOTAS, retries=12, keep_result=True)
def set_quotas(repository: RepositoryName, quotas: dict[str, Any]) -> dict[str, Any]:
    """Change what a repository may hold."""
    with audited("set quotas", repository) as outcome:
        present = asdict(wiring.lifecycle(settings()).set_quotas(repository, quotas))
        outcome.detail = ", ".join(f"{name} {value}" for name, value in present.items())
        outcome.more |= present
    return _answer(repository, f"quotas of {repository}: {outcome.detail}", quotas=present)


def _answer(repository: RepositoryName, message: str, **more: Any) -> dict[str, Any]:
    return {"schema": SCHEMA, "repository": str(repository), "message": message, **more}
