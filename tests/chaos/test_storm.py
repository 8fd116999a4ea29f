"""Nothing is lost and everything heals by itself, whatever fails, under a steady load."""

import os
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.support.chaos.faults import FAULTS
from tests.support.chaos.scene import borrowed, own_scene
from tests.support.chaos.storm import Report, Storm
from tests.support.site import Site

pytestmark = pytest.mark.stack
SEED = "SOFTMAN_CHAOS_SEED"
SHORT = 8
"""Faults in the short form."""


@pytest.fixture
def seed() -> int:
    """From the environment, to repeat a run; otherwise another one each time."""
    return int(os.environ.get(SEED) or random.SystemRandom().randrange(1_000_000))


def tell(text: str) -> None:
    """What happens, into the captured output: shown when a test fails, or with ``-s``."""
    print(f"{datetime.now(UTC):%H:%M:%S} {text}", file=sys.stderr, flush=True)  # noqa: T201


@pytest.fixture
def told(seed: int, request: pytest.FixtureRequest) -> Iterator[list[Report]]:
    """Reports put here are printed, whether pytest captures or not; the seed comes first."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{SEED}={seed}", flush=True)  # noqa: T201
    reports: list[Report] = []
    yield reports
    with capture.global_and_fixture_disabled():
        for report in reports:
            print(f"\n{report.table()}", flush=True)  # noqa: T201


def test_a_short_storm(site: Site, seed: int, told: list[Report]) -> None:
    scene = borrowed(site, seed)
    scene.add_targets([f"squall-{number}" for number in range(3)], seed, pause=0.5)
    storm = Storm(scene, seed, say=tell)
    told.append(storm.report)
    faults = scene.random.sample(storm.possible(FAULTS), SHORT)
    assert storm.run(faults).wrong == [], storm.report.table()


@pytest.mark.skipif(SEED not in os.environ, reason=f"takes a quarter of an hour: make chaos, or set {SEED}")
@pytest.mark.usefixtures("stack_packages")
def test_a_whole_storm(seed: int, told: list[Report]) -> None:
    """Every kind of fault once, and as many again by chance, on a site of its own."""
    with own_scene(seed) as scene:
        scene.add_targets([f"storm-{number}" for number in range(6)], seed, pause=1.0)
        storm = Storm(scene, seed, say=tell)
        told.append(storm.report)
        possible = storm.possible(FAULTS)
        faults = scene.random.sample(possible, len(possible)) + scene.random.choices(possible, k=len(possible))
        assert storm.run(faults).wrong == [], storm.report.table()
