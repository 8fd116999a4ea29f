"""A process that publishes or makes a repository is killed at everything it does to the storage (decision 21)."""

import bisect
import hashlib
import os
import pickle
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from softman.cvmfs.format.hashes import HashAlgorithm, hash_bytes
from softman.cvmfs.integrity import Extent, check_repository
from softman.cvmfs.problems import Problem
from softman.cvmfs.reader import RepositoryReader
from tests.support.killing import COMMITS, Killer, killer
from tests.support.writing import Workshop, add, keys

pytestmark = pytest.mark.slow

MAX_STEPS = 400
AT_LEAST = {"publish": 40, "publish on top": 10, "commit": 20, "publish by processes": 20, "lose workers": 4}
KEYS = {".masterkey", ".pub", ".key", ".crt", ".gw"}
NEVER = timedelta(days=-36500)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    workshop = Workshop(tmp_path_factory.mktemp("base") / "repository")
    workshop.create()
    for number in (2, 3):
        workshop.time += timedelta(minutes=1)
        workshop.publish(add("/f", b"%d" % number))
    workshop.time += timedelta(minutes=1)
    return workshop


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("source")
    (top / "nested").mkdir()
    (top / "nested" / ".cvmfscatalog").touch()
    (top / "nested" / "file").write_bytes(b"content")
    (top / "large").write_bytes(random.Random(8).randbytes(5000))
    for path in sorted(top.rglob("*")):
        os.utime(path, ns=(0, 10**18))
    return top


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killer]:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_bytes(pickle.dumps(keys()))
    with killer(file) as started:
        yield started


@dataclass(frozen=True)
class Pristine:
    """The files of a repository, to be put back in place: quicker than another copy of its 256 directories."""

    files: dict[Path, bytes]
    workshop: Workshop

    @classmethod
    def copy(cls, base: Workshop, root: Path) -> "Pristine":
        shutil.copytree(base.root, root)
        workshop = Workshop(root, time=base.time)
        return cls({path: path.read_bytes() for path in _files(root)}, workshop)

    def restore(self) -> Workshop:
        for path in _files(self.workshop.root):
            if path not in self.files:
                path.unlink()
        for path, data in self.files.items():
            if not path.exists() or path.read_bytes() != data:
                path.write_bytes(data)
        for area in (self.workshop.root / "data" / "txn").iterdir():
            area.rmdir()
        return self.workshop


def _files(root: Path) -> list[Path]:
    return [Path(folder, name) for folder, _, names in os.walk(root) for name in names]


def shown(workshop: Workshop) -> tuple[dict[bytes, bytes], tuple[str, ...]]:
    """All files and the tags, through the verifying reader."""
    reader = RepositoryReader(workshop.store, workshop.name, [workshop.keys.public_key], now=workshop.now)
    with reader.snapshot() as snapshot:
        files = {e.path: b"".join(snapshot.read_entry(e)) for e in snapshot.walk() if e.is_file}
    return files, tuple(tag.name for tag in reader.history().tags)


def problems(workshop: Workshop) -> list[Problem]:
    key, extent = workshop.keys.public_key, Extent(content=True, tags=True)
    return list(check_repository(workshop.store, workshop.name, [key], now=workshop.now, extent=extent))


def check_objects(workshop: Workshop) -> None:
    """Whatever has the name of an object is that object, whole."""
    for name in workshop.store.names("data/"):
        data = (workshop.root / name).read_bytes()
        assert hash_bytes(data, HashAlgorithm.SHA1).digest.hex() == name[5:].replace("/", "")[:40], name


def check_leftovers(workshop: Workshop) -> None:
    """Sweeping leaves nothing but the files of a repository."""
    workshop.repository.sweep_staging(NEVER)
    assert list((workshop.root / "data" / "txn").iterdir()) == []
    assert {path.name for path in workshop.root.iterdir()} == {
        *("data", ".cvmfspublished", ".cvmfswhitelist", ".cvmfsreflog", ".cvmfs_master_replica"),
        ".cvmfs_softman.lock",
    }


class Look(NamedTuple):
    """What readers see, and what a check of everything finds."""

    shown: tuple[dict[bytes, bytes], tuple[str, ...]]
    problems: tuple[Problem, ...]


class Looker:
    """Looks at repositories; at those with the same files, temporary ones aside, only once."""

    def __init__(self) -> None:
        self._known: dict[bytes, Look] = {}

    def __call__(self, workshop: Workshop) -> Look:
        hasher = hashlib.sha256()
        for path in sorted(_files(workshop.root)):
            if "txn" not in path.parts and not path.name.startswith(".tmp-"):
                hasher.update(b"%b %b" % (os.fsencode(path), hashlib.sha256(path.read_bytes()).digest()))
        key = hasher.digest()
        if key not in self._known:
            check_objects(workshop)
            self._known[key] = Look(shown(workshop), tuple(problems(workshop)))
        return self._known[key]

    @property
    def count(self) -> int:
        """How many different repositories there were."""
        return len(self._known)


@pytest.mark.parametrize("operation", COMMITS)
def test_killed_at_everything_it_does(
    base: Workshop, source: Path, process: Killer, tmp_path: Path, operation: str
) -> None:
    look, pristine = Looker(), Pristine.copy(base, tmp_path / "repository")
    workshop = pristine.workshop
    states = [shown(workshop)]
    assert not process.run(operation, workshop, source, 10**9)
    states.append(shown(workshop))
    if operation == "publish on top":
        states[0] = ({**states[0][0], b"/early": b"early"}, states[0][1])
    for steps in range(MAX_STEPS):
        if not process.run(operation, pristine.restore(), source, steps):
            break
        before = look.count
        seen = look(workshop)
        assert seen.shown in states, steps
        assert [str(problem) for problem in seen.problems if not problem.is_harmless] == [], steps
        if look.count > before:
            workshop.create()  # the next opening
            assert look(workshop).problems == ()
            if seen.shown == states[0]:
                process.run(operation, workshop, source, 10**9)
            assert look(workshop) == Look(states[1], ())
        check_leftovers(workshop)
    assert AT_LEAST[operation] < steps < MAX_STEPS


def test_making_a_repository_goes_on_wherever_it_was_killed(process: Killer, tmp_path: Path) -> None:
    top = Workshop(tmp_path / "top")
    made = Workshop(top.root / "srv")

    def create(steps: int) -> bool:
        return process.run("create", top, tmp_path, steps)

    def begin() -> None:
        if top.root.exists():
            shutil.rmtree(top.root)
        top.root.mkdir()

    def whole(steps: int) -> bool:
        begin()
        return not create(steps)

    count = bisect.bisect_left(range(1000), True, key=whole)
    assert 300 < count < 1000  # 256 directories, and the files
    begin()
    assert not create(count)
    complete = shown(made)
    for steps in {*range(30), *range(30, count, 50), *range(count - 35, count)}:
        begin()
        assert create(steps)
        if (made.root / ".cvmfspublished").exists():
            assert shown(made) == complete
        assert not create(count + 100), steps
        assert (shown(made), problems(made)) == (complete, [])
        check_objects(made)
        assert {path.name for path in (top.root / "keys").iterdir()} == {f"{made.name}{suffix}" for suffix in KEYS}
