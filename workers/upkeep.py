"""Tasks of pool ``stratum0`` that look after what is stored: garbage, and objects that decay."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from softman import wiring
from softman.cvmfs.repository import Collection
from softman.errors import Busy, SoftmanError
from softman.log import get_logger
from softman.names import RepositoryName
from softman.services.upkeep import Checked
from softman.tasks.catalogue import CHECK, COLLECT_GARBAGE, RESYNC, UPKEEP
from workers.auditing import Outcome, audited, record, requester
from workers.base import sender, settings, task

SCHEMA = 1
MAX_ASKED = 20
"""Syncs that one turn asks for, to repair what is damaged."""
_log = get_logger(__name__)


@task(COLLECT_GARBAGE, retries=30, keep_result=True, dead_letter=False)
def collect_garbage(repository: RepositoryName, dry_run: bool = False) -> dict[str, Any]:
    """Remove what no kept revision refers to; what is left when the turn is over goes on in a task of its own."""
    with audited("collect garbage", repository, dry_run=int(dry_run)) as outcome:
        done = wiring.upkeep(settings()).collect_garbage(repository, dry_run=dry_run, over=_turn())
        _note_collection(done, outcome)
    following = None
    if not done.complete:
        following = sender().send(
            COLLECT_GARBAGE, str(repository), dry_run, countdown=1, keep_result=True, requested_by=requester()
        )
    return {
        "schema": SCHEMA,
        "repository": str(repository),
        "message": f"{repository}: {outcome.detail}",
        "dry_run": dry_run,
        "kept": list(done.kept),
        "revisions": done.revisions,
        "objects": done.objects,
        "bytes": done.bytes,
        "young": done.young,
        "complete": done.complete,
        "next": following,
    }


@task(CHECK, retries=30, keep_result=True, dead_letter=False)
def check(repository: RepositoryName, after: str = "") -> dict[str, Any]:
    """Read what is stored of a repository, from a hash on; what is left goes on in a task of its own."""
    with audited("check", repository) as outcome:
        done = wiring.upkeep(settings()).check(repository, _turn(), after=after)
        _note_check(repository, done, outcome)
    following = None
    if done.after:
        following = sender().send(
            CHECK, str(repository), done.after, countdown=1, keep_result=True, requested_by=requester()
        )
    problems = [
        {"kind": "object" if each.object else "tree", "path": each.path or each.object, "message": each.message}
        for each in done.faults
    ]
    return {
        "schema": SCHEMA,
        "repository": str(repository),
        "message": f"{repository}: {outcome.detail}",
        "objects": done.objects,
        "bytes": done.bytes,
        "problems": problems,
        "repaired": [asdict(each) for each in done.repaired],
        "complete": not done.after,
        "next": following,
    }


@task(UPKEEP, retries=0, dead_letter=False)
def upkeep() -> None:
    """Collect garbage and check, one repository after the other, until the turn is over. One that fails waits."""
    service, over = wiring.upkeep(settings()), _turn()
    for name in service.to_collect():
        if over():
            return
        with _logged("collect garbage", name), audited("collect garbage", name) as outcome:
            _note_collection(service.collect_garbage(name, over=over), outcome)
    for name in service.to_check():
        if over():
            return
        with _logged("check", name):
            outcome = Outcome()
            _note_check(name, service.check_share(name, over), outcome)
            if outcome.outcome != "done" or "repaired" in outcome.more:
                record("check", name, outcome)


def _turn() -> Callable[[], bool]:
    end = time.monotonic() + settings().lifecycle.turn_seconds
    return lambda: time.monotonic() >= end


def _note_collection(done: Collection, outcome: Outcome) -> None:
    verb = "would go" if done.dry_run else "went"
    outcome.detail = f"{done.revisions} revisions and {done.objects} objects with {done.bytes} bytes {verb}"
    outcome.outcome = "done" if done.complete else "begun"
    outcome.more |= {"revisions": done.revisions, "objects": done.objects, "bytes": done.bytes}


def _note_check(repository: RepositoryName, done: Checked, outcome: Outcome) -> None:
    """Say what was found, and ask publishers to make it anew."""
    outcome.detail = f"{done.objects} objects read, {len(done.faults) or 'none'} missing or damaged"
    outcome.more |= {"objects": done.objects, "bytes": done.bytes}
    if done.repaired:
        outcome.more["repaired"] = len(done.repaired)
        _log.info("damaged objects are repaired", repository=str(repository), count=len(done.repaired))
    if not done.faults:
        return
    first = done.faults[0]
    outcome.outcome = "failed"
    outcome.detail += f", such as {first.object} of {first.path or 'no file in force'}: {first.message}"
    outcome.more["faults"] = len(done.faults)
    _log.error(
        "what is stored is damaged", repository=str(repository), faults=len(done.faults), first=first.object,
        path=first.path, error=first.message, asked=len(done.keys[:MAX_ASKED]),
    )  # fmt: skip
    for key in done.keys[:MAX_ASKED]:
        sender().send(RESYNC, str(repository), key, True)


@contextmanager
def _logged(action: str, name: RepositoryName) -> Iterator[None]:
    """Whatever is wrong with one repository keeps no other from being looked after."""
    try:
        yield
    except Busy as exc:
        _log.info("upkeep waits", action=action, repository=str(name), reason=str(exc))
    except SoftmanError as exc:
        _log.error("upkeep failed", action=action, repository=str(name), error=str(exc))
