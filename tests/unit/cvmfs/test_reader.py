"""What a reader remembers and what it asks for; what it believes is in ``test_hostile`` and ``test_verify``."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs.errors import FormatError, ManifestOutdated, WrongRepository
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store import MemoryStore, Readable

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository


class Recording:
    """A store that remembers what was asked for."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.asked: list[str] = []

    def open(self, name: str) -> AbstractContextManager[Readable]:
        self.asked.append(name)
        return self._store.open(name)

    def get(self, name: str, *, max_size: int) -> bytes:
        self.asked.append(name)
        return self._store.get(name, max_size=max_size)

    def exists(self, name: str) -> bool:
        self.asked.append(name)
        return self._store.exists(name)


def test_every_manifest_is_fetched_and_verified_anew(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    reader = basic_repository.reader(basic_store)
    for step in basic_repository.truth["steps"]:
        basic_store.files[".cvmfspublished"] = basic_repository.manifest(step)
        assert reader.manifest().revision == step["revision"]


def test_nothing_is_fetched_on_the_word_of_the_wrong_manifest(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    store = Recording(basic_store)
    key = basic_repository.keys.public_key
    with pytest.raises(WrongRepository):
        RepositoryReader(store, "other.example.org", [key], now=lambda: basic_repository.now).manifest()
    assert store.asked == [".cvmfspublished"]


def test_an_older_manifest_does_not_replace_the_newer_one_in_memory(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    reader = basic_repository.reader(basic_store)
    newest = reader.manifest()
    old = basic_repository.manifest(basic_repository.truth["steps"][2])
    basic_store.files[".cvmfspublished"] = old
    for _ in range(2):
        with pytest.raises(ManifestOutdated):
            reader.manifest()
    assert Manifest.from_bytes(old).manifest.revision < newest.revision


def test_a_snapshot_stays_as_it_was(basic_repository: "FixtureRepository", basic_store: MemoryStore) -> None:
    steps = basic_repository.truth["steps"]
    basic_store.files[".cvmfspublished"] = basic_repository.manifest(steps[2])
    reader = basic_repository.reader(basic_store)
    with reader.snapshot() as before:
        basic_store.files[".cvmfspublished"] = basic_repository.manifest(steps[-1])
        with reader.snapshot() as after:
            assert (before.manifest.revision, after.manifest.revision) == (3, 21)
            assert before.catalog.properties.revision == 3
            assert after.catalog.properties.revision == 21


def test_a_reader_needs_a_repository_name(basic_store: MemoryStore, basic_repository: "FixtureRepository") -> None:
    with pytest.raises(FormatError, match="not a repository name"):
        RepositoryReader(basic_store, "../basic", [], now=lambda: basic_repository.now)
