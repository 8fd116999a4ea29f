"""Fixtures of the service tests: worlds in memory."""

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import pytest

from softman.cvmfs.format.keys import generate_gateway_key, generate_keys
from tests.support.world import World


@pytest.fixture(scope="session")
def material() -> dict[str, str]:
    """Key material made once: making RSA keys takes longer than the tests."""
    keys = generate_keys("alice.example.org", datetime(2026, 11, 22, tzinfo=UTC))
    return {
        "masterKey": keys.master_key.decode(),
        "publicKey": keys.public_key.decode(),
        "privateKey": keys.private_key.decode(),
        "certificate": keys.certificate.decode(),
        "gatewayKey": generate_gateway_key().to_text(),
    }


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
