"""Pool ``stratum0``: the work that needs the signing keys, but for commits."""

from typing import Any

from celery import current_task

from softman import wiring
from softman.errors import InvalidInput, TransientError
from softman.log import get_logger
from softman.model import Link
from softman.names import Kind, RepositoryName
from softman.services.rotation import Rotatable
from softman.services.whitelists import Unsigned
from softman.tasks.catalogue import (
    CREATE_REPOSITORY,
    LOCK,
    PROVISION,
    PROVISIONING_CHAIN,
    PUBLISH_KEYS,
    REPORT_DEAD_LETTERS,
    RESIGN,
    RESUME_PROVISIONING,
    ROTATE,
    STRATUM0,
    SWEEP_STAGING,
    UNLOCK,
)
from softman.tasks.deadletters import BrokerDeadLetters
from workers import lifecycle, upkeep  # noqa: F401 - their tasks belong to this pool, too
from workers.auditing import Outcome, audited, record, requester
from workers.base import sender, settings, task, worker_application
from workers.chains import links_of, start_chain, stopped
from workers.pool import WorkerApp

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
    label = owner if group is None else group
    with audited("provision", label, owner=owner, subject=subject, kind=kind.value) as outcome:
        record = wiring.stratum0(settings()).request(owner, subject, kind, group)
        outcome.detail = str(record.repository)
    return {"repository": str(record.repository), "chain": start_chain(PROVISIONING_CHAIN, record.repository, Link)}


@task(CREATE_REPOSITORY, link=Link.CREATE_REPOSITORY, chained=True, retries=30, keep_result=True)
def create_repository(repository: RepositoryName) -> str:
    """Keys, certificate, whitelist, empty root catalog, signed revision 1."""
    with audited("create repository", repository) as outcome:
        outcome.detail = wiring.stratum0(settings()).create_repository(repository)
    return outcome.detail


@task(PUBLISH_KEYS, link=Link.PUBLISH_KEYS, chained=True, retries=30, keep_result=True)
def publish_keys(repository: RepositoryName) -> str:
    """The owner's keys into the owner's part of the vault."""
    with audited("publish keys", repository) as outcome:
        outcome.detail = wiring.stratum0(settings()).publish_keys(repository)
    return outcome.detail


@task(LOCK, retries=3, keep_result=True)
def lock(repository: RepositoryName) -> str:
    """Stop commits of a repository."""
    with audited("lock", repository) as outcome:
        outcome.detail = wiring.lifecycle(settings()).lock(repository)
    return outcome.detail


@task(UNLOCK, retries=3, keep_result=True)
def unlock(repository: RepositoryName) -> str:
    """Let commits of a repository go on."""
    with audited("unlock", repository) as outcome:
        outcome.detail = wiring.lifecycle(settings()).unlock(repository)
    return outcome.detail


@task(ROTATE, retries=30, keep_result=True)
def rotate(
    repository: RepositoryName, what: str, rotation: str = "", switch: bool = False, revoke: bool = False
) -> str:
    """Replace a key; what needs time goes on by itself.

    Args:
        repository: whose.
        what: see ``Rotatable``.
        rotation: its id; that of the task when empty, which is the same when the task runs again.
        switch: with a master key: sign with the one that was announced.
        revoke: with a certificate: allow the old one no longer.
    """
    rotation = rotation or str(current_task.request.id)
    with audited(f"rotate {what}", repository, rotation=rotation) as outcome:
        if what not in set(Rotatable):
            msg = f"there is no {what[:80]!r} to replace; there are {', '.join(Rotatable)}"
            raise InvalidInput(msg)
        rotations = wiring.rotations(settings())
        if what == Rotatable.GATEWAY_KEY:
            done = rotations.gateway_key(repository, rotation)
        elif what == Rotatable.CERTIFICATE:
            done = rotations.certificate(repository, rotation, revoke=revoke)
        else:
            done = rotations.master_key(repository, rotation, switch=switch)
        outcome.detail = done.message
        if done.again_in is not None:
            outcome.outcome = "begun"
    if done.again_in is not None:
        sender().send(
            ROTATE, str(repository), what, rotation, switch, revoke, countdown=done.again_in, requested_by=requester()
        )
    return done.message


@task(RESUME_PROVISIONING, retries=0, dead_letter=False)
def resume_provisioning() -> None:
    """Start the chain again where it stopped half way and nothing moves any more."""
    for name in wiring.stratum0(settings()).unfinished():
        if stopped(links_of(name, Link)):
            _log.info("provisioning is resumed", repository=str(name))
            start_chain(PROVISIONING_CHAIN, name, Link)


@task(RESIGN)
def resign() -> None:
    """Sign whitelists anew well before they expire. What cannot be signed is told: as an alarm when it is urgent."""
    done, failed = wiring.whitelists(settings()).sign_all()
    _log.info("whitelists are signed", count=done)
    for each in failed:
        _report(each)
    again = next((each.error for each in failed if isinstance(each.error, TransientError)), None)
    if again is not None:
        raise again


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


def _report(unsigned: Unsigned) -> None:
    expires = "already, or it is not valid" if unsigned.expires is None else f"{unsigned.expires:%F %H:%M} UTC"
    fields = {"repository": str(unsigned.repository), "expires": expires, "error": str(unsigned.error)}
    if unsigned.alarm:
        _log.error("whitelist expires soon and cannot be signed", **fields)
        record("sign whitelist", unsigned.repository, Outcome("failed", str(unsigned.error), {"expires": expires}))
    else:
        _log.warning("whitelist cannot be signed", **fields)


app = WorkerApp(STRATUM0)
