"""Everything that happens by the clock: entry, task, cadence, and why. Data only; read by ``workers.app``.

Nothing is here for what forgets itself: results, progress, reports, refusals and claims in Redis have a time to live.
"""

from collections.abc import Callable
from dataclasses import dataclass

from softman.settings import Settings
from softman.tasks.catalogue import (
    DRAIN,
    DROP_RETIRED,
    RECONCILE,
    REPORT_DEAD_LETTERS,
    RESIGN,
    RESUME_PROVISIONING,
    RESUME_RETIREMENT,
    SWEEP_STAGING,
    UPKEEP,
    TaskSpec,
)

MINUTE = 60.0
HOUR = 60 * MINUTE


@dataclass(frozen=True, slots=True)
class Periodic:
    """One periodic task."""

    entry: str
    task: TaskSpec
    seconds: Callable[[Settings], float]
    """The cadence, from the settings."""
    why: str


SCHEDULE = (
    Periodic(
        "reconcile",
        RECONCILE,
        lambda settings: settings.reconcile_seconds,
        "Events get lost, and some changes never make one (expiry, multipart aborts, an administrator's removal): "
        "every repository is compared with its bucket in full, spread over the period. On the way its bucket "
        "is connected again, which finds a bucket that came back, one that lost its notification or changed hands, and "
        "a topic or a notification that still points to an old address of the broker.",
    ),
    Periodic(
        "drain",
        DRAIN,
        lambda settings: settings.drain_seconds,
        "A publisher that died, or a flushed Redis, leaves pending keys without a task: somebody must ask for one. So "
        "does a repository whose turns failed for good, when its time has come.",
    ),
    Periodic(
        "resume provisioning",
        RESUME_PROVISIONING,
        lambda _settings: 5 * MINUTE,
        "A chain whose message ended in the dead letters, or whose cause of failure was repaired, goes on by itself.",
    ),
    Periodic(
        "resume retirement",
        RESUME_RETIREMENT,
        lambda _settings: 5 * MINUTE,
        "A retirement that stopped half way leaves a bucket that notifies us, or a gateway key that is not void yet.",
    ),
    Periodic(
        "drop retired",
        DROP_RETIRED,
        lambda _settings: HOUR,
        "Content and keys of repositories that were given up to be dropped go when they cannot be restored any more.",
    ),
    Periodic(
        "upkeep",
        UPKEEP,
        lambda settings: settings.lifecycle.upkeep_seconds,
        "Revisions that nobody keeps take up space, and storage decays unseen: garbage is collected, and every object "
        "is read once in a while, one repository after the other, for a bounded time.",
    ),
    Periodic(
        "resign",
        RESIGN,
        lambda _settings: 6 * HOUR,
        "Clients refuse a repository whose whitelist has expired; each is signed anew after half of its validity.",
    ),
    Periodic(
        "sweep staging",
        SWEEP_STAGING,
        lambda _settings: HOUR,
        "Objects of transactions that never came to a commit take up space: their publisher died, or was refused.",
    ),
    Periodic(
        "report dead letters",
        REPORT_DEAD_LETTERS,
        lambda _settings: 10 * MINUTE,
        "What nobody could work on waits for a person, who has to hear of it: its data is published by reconciliation, "
        "but its cause may last.",
    ),
)
