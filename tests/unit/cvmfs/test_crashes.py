"""The power goes at every single write of every operation: readers see the state before or after it, whole."""

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from softman.cvmfs.check import catalog_problems
from softman.cvmfs.errors import RevisionMissing
from softman.cvmfs.format.hashes import hash_bytes
from softman.cvmfs.format.keys import RepositoryKeys, renew_signing_key
from softman.cvmfs.format.reflog import REFLOG_NAME, Reflog
from softman.cvmfs.ingest import IngestOptions
from softman.cvmfs.objectset import object_of
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository, Retention, Tagging
from tests.support.crashing import Crash, FailingStore
from tests.support.writing import NAME, START, Workshop, add, keys

pytestmark = pytest.mark.slow

NOTHING = Retention(revisions=0, age=None)
RENEWED = renew_signing_key(NAME, keys(), START)


@dataclass(frozen=True)
class State:
    """What a reader sees."""

    revision: int
    files: dict[str, bytes]
    tags: tuple[tuple[str, int], ...]


def seen(workshop: Workshop) -> State:
    """Through the verifying reader, from the master key down; tagged revisions must be whole, too."""
    reader = RepositoryReader(workshop.store, workshop.name, [workshop.keys.public_key], now=workshop.now)
    history = reader.history()
    states = []
    for tag in (None, *(tag.name for tag in history.tags)):
        with reader.snapshot(tag=tag) as snapshot:
            assert list(catalog_problems(snapshot.catalog)) == []
            files = {os.fsdecode(e.path): b"".join(snapshot.read_entry(e)) for e in snapshot.walk() if e.is_file}
            states.append((snapshot.manifest.revision, files))
    return State(*states[0], tuple((tag.name, tag.revision) for tag in history.tags))


def consistent(workshop: Workshop, repository: Repository) -> None:
    """The reflog is the one that the manifest names, and has what the manifest names."""
    manifest = repository.manifest()
    data = (workshop.root / REFLOG_NAME).read_bytes()
    assert manifest.reflog == hash_bytes(data)
    with Reflog.parse(data, workshop.name) as reflog:
        for content in (manifest.root_hash, manifest.certificate, manifest.history, manifest.metainfo):
            assert content is None or content in reflog


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """Four revisions, one of them tagged."""
    workshop = Workshop(tmp_path_factory.mktemp("base") / "repository")
    workshop.create()
    for number in (2, 3, 4):
        workshop.time += timedelta(minutes=1)
        workshop.publish(add("/f", b"%d" % number))
    workshop.repository.add_tag("two", revision=2)
    workshop.repository.add_tag("three", revision=3)
    return workshop


OPERATIONS: dict[str, tuple[Callable[[Repository], object], RepositoryKeys]] = {
    "add a tag": (lambda repository: repository.add_tag("new", revision=4, move=True), keys()),
    "move a tag": (lambda repository: repository.add_tag("two", revision=4, move=True), keys()),
    "remove tags": (lambda repository: repository.remove_tags(["two", "three"]), keys()),
    "roll back to a revision": (lambda repository: repository.rollback(revision=2), keys()),
    "roll back to a tag": (lambda repository: repository.rollback(tag="three"), keys()),
    "undo": (lambda repository: repository.undo(), keys()),
    "collect garbage": (lambda repository: repository.collect_garbage(NOTHING), keys()),
    "another key": (lambda repository: repository.rotate_signing_key(RENEWED, days=30), RENEWED),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_power_goes_at_every_write(base: Workshop, tmp_path: Path, name: str) -> None:
    operation, keys_after = OPERATIONS[name]

    def fresh(folder: str) -> Workshop:
        workshop = Workshop(tmp_path / folder, time=base.time + timedelta(minutes=1))
        shutil.copytree(base.root, workshop.root)
        if name == "collect garbage":
            workshop.repository.remove_tags(["two"])
        return workshop

    whole = fresh("whole")
    before = seen(whole)
    operation(whole.repository)
    after = seen(whole)
    crashes = 0
    for steps in range(60):
        workshop = fresh(str(steps))
        store = FailingStore(workshop.root, steps)
        try:
            operation(Repository(store, workshop.name, workshop.keys, now=workshop.now))
        except Crash:
            crashes += 1
            assert seen(workshop) in (before, after)
            operation_again(workshop, name, before)
            assert seen(workshop) == after
            end = Repository(workshop.store, workshop.name, keys_after, now=workshop.now)
            end.create(ttl=60, whitelist_days=30)  # the next opening
            consistent(workshop, end)
            assert seen(workshop) == after
        else:
            break
    assert store.left >= 0
    assert crashes >= 3


def test_the_power_goes_at_every_write_of_a_transaction(base: Workshop, tmp_path: Path) -> None:
    """Nothing half-written has the name of an object, and what is left over goes with the next sweep."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, content in (("small", b"small"), ("other", b"other"), ("large", b"large" * 5000)):
        (tree / name).write_bytes(content)

    def operation(repository: Repository) -> None:
        with repository.transaction(tagging=Tagging("new")) as tx:
            tx.add_tree("/tree", tree, options=IngestOptions(chunks=10_000))
            tx.add_bytes("/tree/nested/.cvmfscatalog", b"")
            tx.add_bytes("/f", b"changed", mtime=1)

    def fresh(folder: str) -> Workshop:
        workshop = Workshop(tmp_path / folder, time=base.time + timedelta(minutes=1))
        shutil.copytree(base.root, workshop.root)
        return workshop

    whole = fresh("whole")
    before = seen(whole)
    operation(whole.repository)
    after = seen(whole)
    for steps in range(60):
        workshop = fresh(str(steps))
        store = FailingStore(workshop.root, steps)
        with suppress(Crash):
            operation(Repository(store, workshop.name, workshop.keys, now=workshop.now))
            assert steps > 10
            return
        assert seen(workshop) in (before, after)
        for file in workshop.store.listing("data/"):
            found = object_of(file)
            assert found is not None
            assert hash_bytes((workshop.root / file.name).read_bytes()) == found[0]
        if seen(workshop) == before:
            operation(workshop.repository)
        assert seen(workshop) == after
        workshop.repository.create(ttl=60, whitelist_days=30)  # the next opening
        consistent(workshop, workshop.repository)
        workshop.time = datetime.now(UTC) + timedelta(days=1)  # areas are as old as the file system says
        workshop.repository.sweep_staging(timedelta(hours=1))
        assert list((workshop.root / "data" / "txn").iterdir()) == []
    pytest.fail("never came to an end")


def operation_again(workshop: Workshop, name: str, before: State) -> None:
    """What an administrator does after a crash: the same again, unless it was done."""
    if seen(workshop) == before:
        with suppress(RevisionMissing):
            OPERATIONS[name][0](workshop.repository)


def test_an_interrupted_collection_is_completed(base: Workshop, tmp_path: Path) -> None:
    """Whenever it stops, the next one leaves the same objects as one that was never interrupted."""

    def objects(workshop: Workshop) -> list[str]:
        return [name for name in workshop.store.names("data/") if not name.endswith(("H", "X", "M"))]

    whole = Workshop(tmp_path / "whole", time=base.time)
    shutil.copytree(base.root, whole.root)
    whole.repository.remove_tags(["two", "three"])
    whole.repository.collect_garbage(NOTHING)
    for steps in range(60):
        workshop = Workshop(tmp_path / str(steps), time=base.time)
        shutil.copytree(base.root, workshop.root)
        workshop.repository.remove_tags(["two", "three"])
        with suppress(Crash):
            Repository(FailingStore(workshop.root, steps), NAME, keys(), now=workshop.now).collect_garbage(NOTHING)
            assert steps > 5
            return
        workshop.repository.collect_garbage(NOTHING)
        assert objects(workshop) == objects(whole)
        consistent(workshop, workshop.repository)
    pytest.fail("never came to an end")
