"""A transaction against a model, a dictionary of paths.

Whatever is done, the sealed catalog shows the model's tree, and everything that ``check`` recomputes is right.
"""

import shutil
import sqlite3
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from softman.cvmfs.check import catalog_problems
from softman.cvmfs.errors import PathError
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.catalog_writer import create_catalog, root_entry
from softman.cvmfs.format.entry import Chunk, Compression, Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject, staged_name
from softman.cvmfs.transaction import Transaction

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
TIME = int(NOW.timestamp())


@dataclass(frozen=True)
class Snapshot:
    manifest: Manifest
    catalog_path: Path


NAMES = st.sampled_from([b"a", b"b", b"c", b"a-b", b"\xe9", b" "])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: b"/" + b"/".join(names))
XATTRS = st.dictionaries(st.sampled_from([b"user.a", b"user.b"]), st.binary(max_size=4), max_size=2)
PLAIN = st.binary(max_size=3).map(lambda data: StoredObject(hash_bytes(data), len(data), len(data), Compression.NONE))
CHUNKED = st.tuples(st.integers(2, 4), st.integers(0, 1)).map(
    lambda of: ChunkedContent(
        tuple(Chunk(i * 10, 10, hash_bytes(bytes([i, of[1]]))) for i in range(of[0])), of[0] * 10, 5
    )
)


def shown(entry: Entry) -> tuple[object, ...]:
    """What the model keeps of an entry."""
    content = entry.chunks or entry.hash
    if entry.is_dir:
        return ("dir", entry.permissions, entry.xattrs)
    return ("link", entry.symlink, entry.xattrs) if entry.is_symlink else ("file", content, entry.size, entry.xattrs)


class TransactionMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.tree: dict[bytes, tuple[object, ...]] = {}
        self.sealed_tree: dict[bytes, tuple[object, ...]] = {}
        self.directory = Path(tempfile.mkdtemp())
        self.revision = 1

    @initialize()
    def open(self) -> None:
        path = self.directory / "1.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            writer = create_catalog(db, root_entry(TIME))
            writer.finish(revision=1, last_modified=0, previous=None, ttl=60)
        self.begin(path, hash_bytes(b"1"))

    def begin(self, catalog: Path, root: ContentHash) -> None:
        manifest = Manifest(
            root_hash=root,
            root_size=0,
            ttl=60,
            revision=self.revision,
            repository="a.example.org",
            certificate=hash_bytes(b""),
            published_at=0,
        )
        self.staging = Staging(self.directory / f"{self.revision:032x}")
        self.transaction = Transaction(Snapshot(manifest, catalog), self.staging, now=lambda: NOW)

    def teardown(self) -> None:
        if hasattr(self, "transaction"):
            self.transaction.close()
        shutil.rmtree(self.directory)

    def parents(self, path: bytes) -> Iterator[bytes]:
        while path := path.rpartition(b"/")[0]:
            yield path

    def blocked(self, path: bytes) -> bool:
        return any(self.tree.get(parent, ("dir",))[0] != "dir" for parent in self.parents(path))

    def model_add(self, path: bytes, value: tuple[object, ...]) -> None:
        for parent in self.parents(path):
            self.tree.setdefault(parent, ("dir", 0o755, {}))
        if value[0] != "dir":
            self.model_remove(path)
        self.tree[path] = value

    def model_remove(self, path: bytes) -> None:
        for other in [p for p in self.tree if p == path or p.startswith(path + b"/")]:
            del self.tree[other]

    @rule(path=PATHS, stored=PLAIN | CHUNKED, xattrs=XATTRS)
    def add_file(self, path: bytes, stored: StoredObject | ChunkedContent, xattrs: dict[bytes, bytes]) -> None:
        if self.blocked(path):
            with pytest.raises(PathError):
                self.transaction.add_file(path, stored, 0o644, 5, xattrs=xattrs)
            return
        self.transaction.add_file(path, stored, 0o644, 5, xattrs=xattrs)
        content = stored.hash if isinstance(stored, StoredObject) else stored.chunks
        self.model_add(path, ("file", content, stored.size, xattrs))

    @rule(path=PATHS, mode=st.sampled_from([0o755, 0o700]), xattrs=XATTRS)
    def add_directory(self, path: bytes, mode: int, xattrs: dict[bytes, bytes]) -> None:
        if self.blocked(path):
            with pytest.raises(PathError):
                self.transaction.add_directory(path, mode, TIME, xattrs)
            return
        self.transaction.add_directory(path, mode, TIME, xattrs)
        self.model_add(path, ("dir", mode, xattrs))

    @rule(path=PATHS, xattrs=XATTRS)
    def add_symlink(self, path: bytes, xattrs: dict[bytes, bytes]) -> None:
        if self.blocked(path):
            with pytest.raises(PathError):
                self.transaction.add_symlink(path, b"there", 5, xattrs)
            return
        self.transaction.add_symlink(path, b"there", 5, xattrs)
        self.model_add(path, ("link", b"there", xattrs))

    @rule(path=PATHS)
    def remove(self, path: bytes) -> None:
        if path not in self.tree:
            with pytest.raises(PathError):
                self.transaction.remove(path)
            return
        self.transaction.remove(path)
        self.model_remove(path)

    @rule(path=PATHS)
    def remove_empty_parents(self, path: bytes) -> None:
        self.transaction.remove_empty_parents(path, lambda entry: entry.permissions == 0o700)
        for parent in self.parents(path):
            if parent not in self.tree:
                continue
            empty = not any(p.startswith(parent + b"/") for p in self.tree)
            if not empty or self.tree[parent][:2] != ("dir", 0o755):
                break
            del self.tree[parent]

    @precondition(lambda self: self.tree)
    @rule(data=st.data(), xattrs=XATTRS)
    def set_xattrs(self, data: st.DataObject, xattrs: dict[bytes, bytes]) -> None:
        path = data.draw(st.sampled_from(sorted(self.tree)))
        self.transaction.set_xattrs(path, xattrs)
        self.tree[path] = (*self.tree[path][:-1], xattrs)

    @rule()
    def seal(self) -> None:
        candidate = self.transaction.seal()
        assert (candidate is None) == (self.tree == self.sealed_tree)
        if candidate is None:
            return
        self.transaction.close()
        stored = (self.staging.directory / staged_name(candidate.root_hash, ObjectKind.CATALOG)).read_bytes()
        assert hash_bytes(stored) == candidate.root_hash
        self.revision += 1
        path = self.directory / f"{self.revision}.db"
        path.write_bytes(zlib.decompress(stored))
        assert path.stat().st_size == candidate.root_size
        with closing(sqlite3.connect(path)) as db:
            catalog = CatalogReader(db)
            assert list(catalog_problems(catalog)) == []
            assert catalog.properties.revision == self.revision
            assert catalog.properties.previous_revision == candidate.base_root_hash
            highest, rows = db.execute("SELECT max(rowid), count(*) FROM catalog").fetchone()
            assert highest <= rows * 4 / 3 + 1
            assert not db.execute(
                "SELECT 1 FROM chunks LEFT JOIN catalog USING (md5path_1, md5path_2) WHERE name IS NULL"
            ).fetchall()
        self.sealed_tree = dict(self.tree)
        self.begin(path, candidate.root_hash)

    @invariant()
    def shows_the_model(self) -> None:
        if not hasattr(self, "transaction"):
            return
        found = list(self.transaction.walk())
        assert {entry.path: shown(entry) for entry in found} == self.tree
        # Depth first, children in the order of their names' bytes: the order of the paths' components.
        assert [entry.path for entry in found] == sorted(self.tree, key=lambda path: path.split(b"/"))


def test_transaction_behaves_like_a_dictionary_of_paths() -> None:
    run_state_machine_as_test(
        TransactionMachine,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
