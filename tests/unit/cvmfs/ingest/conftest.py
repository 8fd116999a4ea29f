"""A repository in a folder, and publishing into it."""

import os
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import pytest

from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.keys import RepositoryKeys, generate_keys
from softman.cvmfs.ingest import IngestOptions, Publication, Workers, open_source, publish
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.store import LocalStore

NAME = "ingest.example.org"
START = datetime(2026, 11, 22, 12, tzinfo=UTC)


@dataclass
class Clock:
    """Every look at it is a second later."""

    time: datetime = START
    step: timedelta = field(default=timedelta(seconds=1))

    def __call__(self) -> datetime:
        self.time += self.step
        return self.time


@dataclass
class Site:
    """One repository, and what it shows."""

    root: Path
    store: LocalStore
    repository: Repository
    keys: RepositoryKeys
    workers: Workers
    clock: Clock

    def publish(
        self, source: Path, *, to: str = "", options: IngestOptions | None = None, xattrs: bool = False
    ) -> Publication:
        with open_source(source, with_xattrs=xattrs) as opened:
            return publish(self.repository, opened, self.workers, to=to, options=options)

    @property
    def reader(self) -> RepositoryReader:
        return RepositoryReader(self.store, NAME, [self.keys.public_key], now=self.clock)

    def entries(self) -> dict[bytes, Entry]:
        with self.reader.snapshot() as snapshot:
            return {entry.path: entry for entry in snapshot.walk()}

    def content(self, path: str | bytes) -> bytes:
        with self.reader.snapshot() as snapshot:
            return b"".join(snapshot.read_file(path))

    def staged(self) -> list[Path]:
        return list((self.root / "data" / "txn").iterdir())


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whoever publishes is slow: pytest asks this for the tests of this folder only."""
    if isinstance(item, pytest.Function) and "site" in item.fixturenames:
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def keys() -> RepositoryKeys:
    return generate_keys(NAME, START)


@pytest.fixture
def site(tmp_path: Path, keys: RepositoryKeys) -> Iterator[Site]:
    root, clock = tmp_path / "srv" / NAME, Clock()
    store = LocalStore(root)
    repository = Repository(store, NAME, keys, now=clock)
    repository.create(ttl=60, whitelist_days=30)
    with Workers(processes=False, count=2) as workers:
        yield Site(root, store, repository, keys, workers, clock)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small tree with a bit of everything that can be published."""
    top = tmp_path / "tree"
    (top / "bin").mkdir(parents=True)
    (top / "bin" / "tool").write_bytes(b"#!/bin/sh\n")
    (top / "bin" / "tool").chmod(0o755)
    (top / "bin" / "link").symlink_to("../$(ARCH)/tool")
    (top / "empty").write_bytes(b"")
    (top / "hollow").mkdir(mode=0o711)
    (top / "text").write_bytes(b"some text\n" * 1000)
    (top / "text").chmod(0o640)
    Path(os.fsdecode(os.fsencode(top) + b"/odd-\xff\n")).write_bytes(b"odd")
    os.utime(top / "text", ns=(0, 1_600_000_000_123_456_789))
    os.utime(top / "hollow", ns=(0, 1_500_000_000_000_000_001))
    os.utime(top / "bin" / "link", ns=(0, 1_400_000_000_000_000_000), follow_symlinks=False)
    return top


MakeTar = Callable[..., Path]


@pytest.fixture
def make_tar(tmp_path: Path) -> MakeTar:
    """Make an archive of members that may be as wrong as one likes."""

    def make(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w", format: int = tarfile.PAX_FORMAT) -> Path:  # noqa: A002
        path = tmp_path / f"made{len(list(tmp_path.glob('made*')))}.tar"
        with tarfile.open(path, mode, format=format) as archive:  # type: ignore[call-overload]
            for info, data in members:
                if info.isreg() and not info.size:
                    info.size = len(data)
                archive.addfile(info, BytesIO(data))
        return path

    return make
