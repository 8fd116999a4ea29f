"""The repositories: what clients would read of each, whitelists, what stopped half way, and whether beat runs."""

import time
from collections.abc import Iterator

from softman import wiring
from softman.doctor.finding import Finding, broken, fine, unknown, warning
from softman.errors import Forbidden, SoftmanError
from softman.model import LinkState, RepositoryStatus, State
from softman.settings import Settings

AREA = "repositories"
MOST = 200
"""Repositories that are read; of a site with more, these are a sample."""


def check_repositories(settings: Settings) -> Iterator[Finding]:
    """Read repositories as clients do, with the role of the dashboard."""
    if not settings.vault.dashboard.role_id:
        yield unknown(AREA, "the AppRole dashboard is not set here", "set SOFTMAN_VAULT__DASHBOARD__ROLE_ID")
        return
    status = wiring.status(settings)
    try:
        for concern in status.concerns():
            yield broken(
                AREA, concern, "start one: celery -A workers.app beat" if "beat" in concern else "see it there"
            )
        found = status.repositories()
    except Forbidden as exc:
        yield broken(AREA, str(exc), "softman vault setup; softman cache users")
        return
    except SoftmanError as exc:
        yield unknown(AREA, f"they could not be listed: {exc}", "repair the services above first")
        return
    sound = 0
    for described in found[:MOST]:
        problems = list(_one(settings, described, status.in_full(described.name).whitelist_expires))
        sound += not problems
        yield from problems
    if len(found) > MOST:
        yield unknown(AREA, f"{len(found) - MOST:,} of {len(found):,} repositories were not read")
    yield fine(AREA, f"{sound:,} of {min(len(found), MOST):,} repositories are as they should be")


def _one(settings: Settings, described: RepositoryStatus, expires: float | None) -> Iterator[Finding]:
    name, label = described.name, described.name.label
    for link in described.links:
        if link.state is LinkState.FAILED:
            yield broken(
                AREA, f"{name} stopped at {link.link.value}: {link.detail}", f"repair that; softman request {label}"
            )
    if described.state not in {State.ACTIVE, State.LOCKED}:
        return
    if described.revision is None:
        yield broken(
            AREA,
            f"{name} cannot be read at {described.url}",
            "does the web server run, does it serve the storage, and is SOFTMAN_CVMFS__URL right?",
        )
        return
    if described.failure is not None:
        yield broken(
            AREA, f"{name} is not published: {described.failure.reason}", f"repair that; softman resync {label}"
        )
    if expires is None:
        yield broken(AREA, f"the whitelist of {name} cannot be read", f"softman key {label}; softman repo check")
        return
    days = (expires - time.time()) / 86400
    if days < settings.cvmfs.whitelist_alarm_days:
        gone = "has expired" if days < 0 else f"expires in {days:.1f} days"
        judge = broken if days < 0 else warning
        yield judge(
            AREA,
            f"the whitelist of {name} {gone}: clients refuse the repository then",
            "does beat run, and a worker of stratum0? softman call resign signs it anew",
        )
