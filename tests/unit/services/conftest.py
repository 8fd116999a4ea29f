"""Fixtures of the service tests: worlds in memory."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from tests.support.world import World, make_material


@pytest.fixture(scope="session")
def material() -> dict[str, str]:
    """Key material made once: making RSA keys takes longer than the tests."""
    return make_material()


@pytest.fixture
def world(tmp_path: Path, material: dict[str, str]) -> World:
    return World(tmp_path, material)


@pytest.fixture
def make_world(tmp_path: Path, material: dict[str, str]) -> Callable[[], World]:
    """As many worlds as wanted, each in a folder of its own."""
    numbers = count()

    def make() -> World:
        root = tmp_path / f"world{next(numbers)}"
        root.mkdir()
        return World(root, material)

    return make
