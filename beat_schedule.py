"""Everything that happens by the clock: entry, task, cadence, and why. Data only; read by ``workers.app``."""

from collections.abc import Callable
from dataclasses import dataclass

from softman.settings import Settings
from softman.tasks.catalogue import DRAIN, RECONCILE, RESIGN, RESUME_PROVISIONING, SWEEP_STAGING, TaskSpec

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
        "every repository is compared with its bucket in full, spread over the period.",
    ),
    Periodic(
        "drain",
        DRAIN,
        lambda settings: settings.drain_seconds,
        "A publisher that died, or a flushed Redis, leaves pending keys without a task: somebody must ask for one.",
    ),
    Periodic(
        "resume provisioning",
        RESUME_PROVISIONING,
        lambda _settings: 5 * MINUTE,
        "A chain whose message ended in the dead letters, or whose cause of failure was repaired, goes on by itself.",
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
        "Objects of transactions that never came to a commit take up space.",
    ),
)
