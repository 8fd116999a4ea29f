"""The repositories in ``tests/data/cvmfs``, which the stock tools wrote, as fixtures."""

import gzip
import json
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import compress, decompress
from softman.cvmfs.format.signature import sign_manifest
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store import LocalStore, MemoryStore, ReadableStore
from tests.support.archives import unpack

DATA = Path(__file__).parents[2] / "data" / "cvmfs"


@dataclass(frozen=True)
class FixtureRepository:
    """A repository of the stock tools, its truth and its keys."""

    folder: Path
    name: str
    truth: dict[str, Any]
    keys: RepositoryKeys
    now: datetime

    @property
    def files(self) -> dict[str, bytes]:
        """All files by their names in a store; a copy."""
        return dict(_files(self.folder / "repo.tar.gz"))

    def manifest(self, step: dict[str, Any]) -> bytes:
        return self.folder.joinpath(step["manifest_file"]).read_bytes()

    def unpack(self, directory: Path) -> LocalStore:
        """The repository as the stock tools left it, in ``directory``."""
        unpack(self.folder / "repo.tar.gz", directory)
        return LocalStore(directory / self.name)

    def publish(self, files: dict[str, bytes], **changes: Any) -> None:
        """Sign the manifest in ``files`` anew, with other values in some of its fields."""
        manifest = replace(Manifest.from_bytes(files[".cvmfspublished"]).manifest, **changes)
        algorithm = manifest.root_hash.algorithm
        files[".cvmfspublished"] = sign_manifest(manifest.to_text(), self.keys.private_key, algorithm)

    def publish_catalog(self, files: dict[str, bytes], database: bytes) -> None:
        """Make ``database``, whatever it is, the root catalog, all hashes and signatures in order."""
        stored = compress(database)
        files[hash_bytes(stored).object_path(ObjectKind.CATALOG)] = stored
        self.publish(files, root_hash=hash_bytes(stored), root_size=len(database))

    def change_catalog(self, files: dict[str, bytes], sql: str) -> None:
        """Run ``sql`` in the root catalog and publish the result."""
        manifest = Manifest.from_bytes(files[".cvmfspublished"]).manifest
        stored = files[manifest.root_hash.object_path(ObjectKind.CATALOG)]
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(decompress(stored, max_size=manifest.root_size))
            connection.executescript(sql)
            database = connection.serialize()
        self.publish_catalog(files, database)

    def reader(self, store: ReadableStore, work_dir: Path | None = None) -> RepositoryReader:
        return RepositoryReader(store, self.name, [self.keys.public_key], now=lambda: self.now, work_dir=work_dir)


@cache
def _files(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        members = [member for member in tar if member.isfile()]
        return {m.name.partition("/")[2]: file.read() for m in members if (file := tar.extractfile(m))}


@cache
def _load(folder: Path) -> FixtureRepository:
    truth = json.loads(gzip.decompress((folder / "truth.json.gz").read_bytes()))
    with tarfile.open(folder / "keys" / "test-keys.tar.gz") as tar:
        private = {Path(m.name).suffix: file.read() for m in tar if (file := tar.extractfile(m))}
    keys = RepositoryKeys(
        master_key=private[".masterkey"],
        public_key=next((folder / "keys").glob("*.pub")).read_bytes(),
        private_key=private[".key"],
        certificate=next((folder / "keys").glob("*.crt")).read_bytes(),
    )
    now = datetime.fromtimestamp(truth["clock"]["now_epoch"], UTC)
    return FixtureRepository(folder, truth["repository"], truth, keys, now)


@pytest.fixture(scope="session")
def load_repository() -> Callable[[str], FixtureRepository]:
    """Gives the repository in a folder of ``tests/data/cvmfs``."""
    return lambda folder: _load(DATA / folder)


@pytest.fixture(params=["basic", "autocatalog", "rmd160", "shake128", "none", "mixed"])
def any_repository(request: pytest.FixtureRequest) -> FixtureRepository:
    """Each of the repositories in turn."""
    return _load(DATA / request.param)


@pytest.fixture
def basic_repository() -> FixtureRepository:
    """The one with a bit of everything."""
    return _load(DATA / "basic")


@pytest.fixture
def basic_store(basic_repository: FixtureRepository) -> MemoryStore:
    """Its files, in memory, to be changed at will."""
    return MemoryStore(basic_repository.files)
