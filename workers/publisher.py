"""Pools ``publisher`` and ``publisher.bulk``: what buckets hold becomes what repositories show."""

from typing import Any

from softman import wiring
from softman.adapters.ports import CommitDoor
from softman.errors import SoftmanError
from softman.log import get_logger
from softman.model import PUBLISHED_PREFIX, Link, LinkState, Part, RetirementLink, Turn
from softman.names import RepositoryName
from softman.services.publisher import Publisher
from softman.services.turns import Turns
from softman.tasks.catalogue import (
    ATTACH_PUBLISHER,
    BULK,
    CONNECT_BUCKET,
    DISCONNECT_BUCKET,
    DRAIN,
    FIRST_SYNC,
    FORGET_PENDING,
    PLAN,
    PUBLISH_CHANGES,
    PUBLISHER,
    RECONCILE,
    RECONCILE_REPOSITORY,
    RESYNC,
)
from softman.tasks.client import CeleryCommitDoor
from workers.answers import plan_to_json, turn_in_words, turn_to_json
from workers.base import message_queue, sender, set_link, settings, task, worker_application
from workers.metering import count_turn
from workers.pool import WorkerApp

CROWDED_SECONDS = 3.0
"""How soon an owner with too many turns is looked at again."""
_log = get_logger(__name__)


def _publisher() -> Publisher:
    return wiring.publisher(settings(), _door())


def _open_turns() -> Turns:
    """For a message from the interactive queue those that leave full syncs to the bulk queue.

    Raises:
        Outage: stratum 0 does not take commits at present, so a turn would read in vain.
    """
    wiring.commit_circuit(settings()).check()
    return _turns()


def _turns() -> Turns:
    return wiring.turns(settings(), _door(), interactive=message_queue() == PUBLISHER)


def _door() -> CommitDoor:
    sync = settings().sync
    return CeleryCommitDoor(
        worker_application(),
        sync.commit_timeout,
        patience=sync.commit_start_timeout,
        circuit=wiring.commit_circuit(settings()),
    )


@task(ATTACH_PUBLISHER, link=Link.ATTACH_PUBLISHER, chained=True, retries=30, keep_result=True)
def attach_publisher(repository: RepositoryName) -> str:
    """The gateway key works and the repository can be read."""
    return _publisher().attach(repository)


@task(FIRST_SYNC, link=Link.FIRST_SYNC, chained=True, retries=30, keep_result=True)
def first_sync(repository: RepositoryName) -> str | None:
    """Publish what the bucket already holds; a large one takes several tasks, and the last of them ends the link."""
    turn = _open_turns().sync_everything(repository, anew=False)
    _follow_up(repository, turn)
    return None if turn.again else turn_in_words(turn)


@task(PUBLISH_CHANGES)
def publish_changes(repository: RepositoryName) -> None:
    """Publish the pending keys."""
    turn = _open_turns().publish_changes(repository)
    _follow_up(repository, turn)
    if turn.revision is not None and not turn.again:
        _end_first_sync(repository, turn)


@task(RESYNC, keep_result=True, retries=60)
def resync(
    repository: RepositoryName, prefix: str | None = None, verify: bool = False, after: str | None = None
) -> dict[str, Any]:
    """The difference between bucket and repository, now: all of it, of a prefix, or of content, too.

    What is left of a part when the turn is over goes on in a task of its own, which the result names.
    """
    part = Part(prefix or PUBLISHED_PREFIX, after or "", verify)
    if part == Part():
        _publisher().forget_refusals(repository)
        turn = _open_turns().sync_everything(repository)
    else:
        turn = _open_turns().sync_part(repository, part)
    return turn_to_json(repository, turn, _follow_up(repository, turn))


@task(PLAN, keep_result=True, retries=3, dead_letter=False)
def plan(
    repository: RepositoryName, prefix: str | None = None, verify: bool = False, limit: int = 100
) -> dict[str, Any]:
    """What ``resync`` would do; nothing is changed."""
    steps = _publisher().plan(repository, Part(prefix or PUBLISHED_PREFIX, verify=verify))
    return plan_to_json(repository, steps, limit)


@task(RECONCILE, retries=0, dead_letter=False)
def reconcile() -> None:
    """Queue a ``reconcile_repository`` for every repository, spread evenly over the period.

    Each is dropped unseen when it is a whole period late: the next round asks for it again.
    """
    period = settings().reconcile_seconds
    names = _publisher().repositories()
    send = sender()
    for place, name in enumerate(names):
        countdown = period * place / len(names)
        send.send(RECONCILE_REPOSITORY, str(name), countdown=countdown, expires=countdown + period)


@task(RECONCILE_REPOSITORY, retries=3)
def reconcile_repository(repository: RepositoryName) -> None:
    """The full difference, whether or not any event came; the bucket is connected; links that stopped are redone.

    What has not begun when the next round asks for it is dropped, or a long outage of a service would pile it up.
    """
    send = sender()
    unfinished = _unfinished_links(repository)
    period = settings().reconcile_seconds
    if Link.ATTACH_PUBLISHER in unfinished:
        send.send(ATTACH_PUBLISHER, str(repository), expires=period)
    send.send(CONNECT_BUCKET, str(repository), expires=period)
    if Link.FIRST_SYNC in unfinished:
        send.send(FIRST_SYNC, str(repository))
        return
    _follow_up(repository, _open_turns().sync_everything(repository, anew=False))


@task(FORGET_PENDING, link=RetirementLink.FORGET_PENDING, chained=True, retries=30)
def forget_pending(repository: RepositoryName) -> str:
    """Forget what a retired repository was to publish."""
    return _turns().forget(repository)


@task(DRAIN, retries=0, dead_letter=False)
def drain() -> None:
    """Queue ``publish_changes`` where keys are pending and nobody holds the lease."""
    names = _turns().waiting()
    send = sender()
    for name in names:
        send.send(PUBLISH_CHANGES, str(name))
    if names:
        _log.info("pending keys found without a publisher", repositories=len(names))


def _follow_up(repository: RepositoryName, turn: Turn) -> str | None:
    """Queue the rest of the work; a full sync goes behind the interactive work, a crowded owner's a little later.

    Returns:
        The id of the task that goes on with a part of the bucket.
    """
    count_turn(turn, interactive=message_queue() == PUBLISHER)
    later = CROWDED_SECONDS if turn.crowded else 0.0
    if turn.connected:  # by what was queued before it was retired
        sender().send(DISCONNECT_BUCKET, str(repository))
    if turn.rest is not None:
        rest = turn.rest
        arguments = (str(repository), rest.prefix, rest.verify, rest.after)
        return sender().send(RESYNC, *arguments, countdown=later, keep_result=True)
    if turn.again:
        sender().send(PUBLISH_CHANGES, str(repository), queue=BULK if turn.bulk else None, countdown=later)
    return None


def _unfinished_links(repository: RepositoryName) -> set[Link]:
    """Links that are not known to be done: they stopped, or Redis lost what was recorded.

    What stratum 0 did is recorded anew: only repositories that are through with that are reconciled.
    """
    try:
        states = {progress.link: progress.state for progress in wiring.records(settings()).links(repository)}
    except SoftmanError:
        return set()
    for link in {Link.CREATE_REPOSITORY, Link.PUBLISH_KEYS} - states.keys():
        set_link(repository, link, LinkState.DONE, "done before")
    return {link for link in Link if states.get(link) is not LinkState.DONE}


def _end_first_sync(repository: RepositoryName, turn: Turn) -> None:
    """Record the end of a first sync that took several tasks."""
    try:
        links = {progress.link: progress for progress in wiring.records(settings()).links(repository)}
    except SoftmanError:
        return
    if Link.FIRST_SYNC in links and links[Link.FIRST_SYNC].state is LinkState.RUNNING:
        set_link(repository, Link.FIRST_SYNC, LinkState.DONE, turn_in_words(turn))


app = WorkerApp(PUBLISHER, BULK)
