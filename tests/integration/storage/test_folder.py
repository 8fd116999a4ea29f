"""Repositories in a folder, under all workers."""

from tests.support.journey import journey
from tests.support.site import Site


def test_the_journey(site: Site) -> None:
    journey(site, "in-a-folder")
