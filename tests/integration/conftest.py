"""The running site: one embedded stack with workers for all tests of the main job."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from softman.standalone.stack import Stack
from tests.support.site import Site


@pytest.fixture(scope="session")
def site(stack_packages: None) -> Iterator[Site]:  # noqa: ARG001 - the packages come first
    """Servers of its own, so that tests that work on bare queues do not meet workers."""
    directory = Path(tempfile.mkdtemp(prefix="softman-site-"))  # not tmp_path: paths of sockets must be short
    with Stack.start(directory, workers=True) as running:
        site = Site(running)
        site.wake_topic()
        yield site
