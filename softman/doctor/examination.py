"""All that the doctor looks at, in the order in which faults explain each other."""

from collections.abc import Callable, Collection, Iterator
from typing import Final

from softman.doctor import broker, buckets, cache, host, repositories, vault, workers
from softman.doctor.finding import Finding, Health, broken
from softman.errors import InvalidInput, SoftmanError
from softman.settings import Settings

AREAS: Final[dict[str, Callable[[Settings], Iterator[Finding]]]] = {
    host.AREA: host.check_host,
    broker.AREA: broker.check_broker,
    cache.AREA: cache.check_cache,
    vault.AREA: vault.check_vault,
    buckets.AREA: buckets.check_buckets,
    workers.AREA: workers.check_workers,
    repositories.AREA: repositories.check_repositories,
}
"""What looks at each part of the service."""


def examine(settings: Settings, areas: Collection[str] = ()) -> Iterator[Finding]:
    """Look at every part of the service that this process has settings for. Changes nothing.

    Args:
        settings: what this process would work with.
        areas: only these; all when empty.

    Yields:
        What was found, in order. A part that cannot be reached is a finding, not an error.

    Raises:
        InvalidInput: there is no such area.
    """
    strange = set(areas) - set(AREAS)
    if strange:
        msg = f"there is nothing called {', '.join(sorted(strange))} to look at; there are {', '.join(AREAS)}"
        raise InvalidInput(msg)
    for area, check in AREAS.items():
        if areas and area not in areas:
            continue
        try:
            yield from check(settings)
        except SoftmanError as exc:
            yield broken(area, str(exc), "repair that, then look again")


def worst(findings: Collection[Finding]) -> Health:
    """How the worst of them stands; fine when there are none."""
    order = list(Health)
    return max((finding.health for finding in findings), key=order.index, default=Health.FINE)
