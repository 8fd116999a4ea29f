"""The stores of the contract: on disk, in memory, and in a bucket of the embedded stack's object store."""

from pathlib import Path

import pytest

from softman.cvmfs.store import LocalStore, MemoryStore, StagedStore
from softman.standalone.stack import Stack
from tests.support.bucket_storage import BucketStorage

NAME = "test.example.org"
Sides = tuple[StagedStore, StagedStore]


def _in_bucket(stack: Stack, bucket: str, lock_path: Path) -> Sides:
    storage = BucketStorage.prepare(stack, bucket)
    storage.store("other.example.org", lock_path).put(".cvmfspublished", b"of another repository")
    return storage.store(NAME, lock_path), storage.publisher_store(NAME)


@pytest.fixture(params=["local", "memory", pytest.param("s3", marks=pytest.mark.stack)])
def sides(request: pytest.FixtureRequest, tmp_path: Path, unique: str) -> Sides:
    """One repository's storage as stratum 0 has it, and as publishers have it."""
    if request.param == "s3":
        return _in_bucket(request.getfixturevalue("stack"), unique, tmp_path / "lock")
    store: StagedStore = LocalStore(tmp_path / "repository") if request.param == "local" else MemoryStore()
    store.ensure_directories()
    return store, store


@pytest.fixture
def store(sides: Sides) -> StagedStore:
    """The side of stratum 0."""
    return sides[0]


@pytest.fixture
def publishers(sides: Sides) -> StagedStore:
    """The side of publishers."""
    return sides[1]
