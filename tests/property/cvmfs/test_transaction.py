"""A transaction against a model, a dictionary of paths.

Whatever is done, the sealed catalogs show the model's tree, there is one wherever a marker says so, and everything that
``check`` recomputes is right in each of them. The markers that balancing sets are left out of the comparison.
"""

import shutil
import sqlite3
import tempfile
from collections import Counter
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

from softman.cvmfs.errors import PathError
from softman.cvmfs.format.catalog import NestedCatalog
from softman.cvmfs.format.catalog_writer import create_catalog, root_entry
from softman.cvmfs.format.entry import Chunk, Compression, Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject, staged_name
from softman.cvmfs.transaction import Balance, Transaction
from tests.support.catalogs import Catalogs, read_catalogs

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
TIME = int(NOW.timestamp())


MARKERS = frozenset({b".cvmfscatalog", b".cvmfsautocatalog"})


@dataclass(frozen=True)
class Snapshot:
    manifest: Manifest
    catalog_path: Path
    databases: dict[ContentHash, bytes]

    def copy_catalog(self, wanted: NestedCatalog, target: Path) -> None:
        assert len(self.databases[wanted.hash]) == wanted.size
        target.write_bytes(self.databases[wanted.hash])

    def read_entry(self, entry: Entry) -> Iterator[bytes]:
        raise AssertionError(entry)


NAMES = st.sampled_from([b"a", b"b", b"c", b"a-b", b"\xe9", b" "])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: b"/" + b"/".join(names))
FILES = st.tuples(PATHS, st.sampled_from([b"", b"", b"/.cvmfscatalog"])).map(b"".join)
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
        self.links: dict[bytes, int] = {}
        self.last_link = 0
        self.vague = False
        self.directory = Path(tempfile.mkdtemp())
        self.databases: dict[ContentHash, bytes] = {}
        self.catalogs = Catalogs()
        self.revision = 1

    @initialize(balance=st.sampled_from([None, Balance(8, 3), Balance(12, 4)]))
    def open(self, balance: Balance | None) -> None:
        self.balance = balance
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
        self.transaction = Transaction(
            Snapshot(manifest, catalog, self.databases), self.staging, now=lambda: NOW, balance=self.balance
        )

    def teardown(self) -> None:
        if hasattr(self, "transaction"):
            self.transaction.close()
        shutil.rmtree(self.directory)

    @staticmethod
    def parents(path: bytes) -> Iterator[bytes]:
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
            self.links.pop(other, None)

    def set_by_balancing(self, path: bytes) -> bool:
        """Whether this is one of the markers that the model does not know."""
        directory, _, name = path.rpartition(b"/")
        return name in MARKERS and self.transaction.lookup(directory + b"/.cvmfsautocatalog") is not None

    @rule(path=FILES, stored=PLAIN | CHUNKED, xattrs=XATTRS)
    def add_file(self, path: bytes, stored: StoredObject | ChunkedContent, xattrs: dict[bytes, bytes]) -> None:
        if self.blocked(path):
            with pytest.raises(PathError):
                self.transaction.add_file(path, stored, 0o644, 5, xattrs=xattrs)
            return
        if self.set_by_balancing(path):
            return
        self.transaction.add_file(path, stored, 0o644, 5, xattrs=xattrs)
        content = stored.hash if isinstance(stored, StoredObject) else stored.chunks
        self.model_add(path, ("file", content, stored.size, xattrs))
        self.links.pop(path, None)

    @rule(path=FILES, mode=st.sampled_from([0o755, 0o700]), xattrs=XATTRS)
    def add_directory(self, path: bytes, mode: int, xattrs: dict[bytes, bytes]) -> None:
        if self.blocked(path) or path.endswith(b".cvmfscatalog"):
            with pytest.raises(PathError):
                self.transaction.add_directory(path, mode, TIME, xattrs)
            return
        self.transaction.add_directory(path, mode, TIME, xattrs)
        self.model_add(path, ("dir", mode, xattrs))
        self.links.pop(path, None)

    @rule(path=FILES, xattrs=XATTRS)
    def add_symlink(self, path: bytes, xattrs: dict[bytes, bytes]) -> None:
        if self.blocked(path) or path.endswith(b".cvmfscatalog"):
            with pytest.raises(PathError):
                self.transaction.add_symlink(path, b"$(WHERE:-there)", 5, xattrs)
            return
        self.transaction.add_symlink(path, b"$(WHERE:-there)", 5, xattrs)
        self.model_add(path, ("link", b"$(WHERE:-there)", xattrs))
        self.links.pop(path, None)

    @precondition(lambda self: any(value[0] != "dir" for value in self.tree.values()))
    @rule(data=st.data(), name=NAMES)
    def add_hardlink(self, data: st.DataObject, name: bytes) -> None:
        target = data.draw(st.sampled_from(sorted(path for path, value in self.tree.items() if value[0] != "dir")))
        path = target.rpartition(b"/")[0] + b"/" + name
        if self.tree.get(path, (None,))[0] == "dir":
            with pytest.raises(PathError):
                self.transaction.add_hardlink(path, target)
            return
        self.transaction.add_hardlink(path, target)
        self.vague = True
        if path != target:
            self.last_link += 1
            token = self.links.setdefault(target, self.last_link)
            self.tree[path], self.links[path] = self.tree[target], token

    @precondition(lambda self: self.tree)
    @rule(data=st.data(), place=PATHS)
    def rename(self, data: st.DataObject, place: bytes) -> None:
        path = data.draw(st.sampled_from(sorted(self.tree)))
        there, moved = self.tree.get(place), self.tree[path]
        inside = place.startswith(path + b"/")
        taken = there is not None and "dir" in {there[0], moved[0]}
        if path != place and (self.blocked(place) or inside or taken):
            with pytest.raises(PathError):
                self.transaction.rename(path, place)
            return
        self.transaction.rename(path, place)
        if path == place:
            return
        token = self.links.get(path)
        if (
            token is not None
            and self.links.get(place) == token
            and path.rpartition(b"/")[0] == place.rpartition(b"/")[0]
        ):
            self.model_remove(path)
            return
        moving = {p: v for p, v in self.tree.items() if p == path or p.startswith(path + b"/")}
        linked = {p: self.links[p] for p in moving if p in self.links}
        self.model_remove(path)
        self.model_add(place, moved)
        self.links.pop(place, None)
        for old, value in moving.items():
            self.tree[place + old[len(path) :]] = value
            if old in linked and (old != path or path.rpartition(b"/")[0] == place.rpartition(b"/")[0]):
                self.links[place + old[len(path) :]] = linked[old]

    @rule(path=FILES)
    def remove(self, path: bytes) -> None:
        if self.set_by_balancing(path):
            return
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
        self.links.pop(path, None)

    @rule()
    def seal(self) -> None:
        candidate = self.transaction.seal()
        if candidate is None:
            assert self.tree == self.sealed_tree
            return
        assert self.vague or self.tree != self.sealed_tree
        self.transaction.close()
        self.revision += 1
        for content, database in self.staged_catalogs():
            self.databases[content] = database
        catalogs = read_catalogs(candidate.root_hash, self.databases.__getitem__)
        assert catalogs.problems == []
        assert len(self.databases[candidate.root_hash]) == candidate.root_size
        self.check_history(catalogs)
        self.check_balance(catalogs)
        markers = {p.rpartition(b"/")[0] for p in catalogs.entries if p.endswith(b"/.cvmfscatalog")}
        assert catalogs.paths == markers | {b""}
        self.vague = bool(self.links) or any(p.endswith(b"/.cvmfsautocatalog") for p in catalogs.entries)
        self.catalogs, self.sealed_tree = catalogs, dict(self.tree)
        path = self.directory / f"{self.revision}.db"
        path.write_bytes(self.databases[candidate.root_hash])
        self.begin(path, candidate.root_hash)

    def staged_catalogs(self) -> Iterator[tuple[ContentHash, bytes]]:
        for staged in self.staging.directory.glob("*" + ObjectKind.CATALOG.value):
            stored = staged.read_bytes()
            content = hash_bytes(stored)
            assert staged.name == staged_name(content, ObjectKind.CATALOG)
            yield content, decompress(stored, max_size=2**28)

    def check_history(self, catalogs: Catalogs) -> None:
        for path, content in catalogs.hashes.items():
            before, properties = self.catalogs.hashes.get(path), catalogs.properties[path]
            if content == before:
                continue
            follows = (before, self.catalogs.properties[path].revision + 1) if before else (None, 1)
            if path:
                assert (properties.previous_revision, properties.revision) in {follows, (None, 1)}
            else:
                assert properties.revision == self.revision

    def check_balance(self, catalogs: Catalogs) -> None:
        if self.balance is None:
            return
        for path in catalogs.paths:
            if catalogs.hashes[path] == self.catalogs.hashes.get(path):
                continue
            entries = catalogs.counters[path].own.entries
            if path + b"/.cvmfsautocatalog" in catalogs.entries:
                assert entries >= self.balance.min_weight
            if entries > self.balance.max_weight:
                assert all(2 + w < self.balance.min_weight for w in directory_weights(catalogs, path).values())

    @invariant()
    def shows_the_model(self) -> None:
        if not hasattr(self, "transaction"):
            return
        found = list(self.transaction.walk())
        automatic = {entry.parent for entry in found if entry.name == b".cvmfsautocatalog"}
        own = [entry for entry in found if not (entry.parent in automatic and entry.name in MARKERS)]
        tree = {
            p: v
            for p, v in self.tree.items()
            if p.rpartition(b"/")[0] not in automatic or p.rpartition(b"/")[2] not in MARKERS
        }
        assert {entry.path: shown(entry) for entry in own} == tree
        # Depth first, children in the order of their names' bytes: the order of the paths' components.
        assert [entry.path for entry in own] == sorted(tree, key=lambda path: path.split(b"/"))
        counts = Counter((path.rpartition(b"/")[0], token) for path, token in self.links.items())
        for entry in own:
            token = self.links.get(entry.path)
            expected = 1 if token is None else counts[entry.parent, token]
            assert entry.is_dir or entry.linkcount == expected
            assert (entry.hardlink_group != 0) == (not entry.is_dir and expected > 1)


def directory_weights(catalogs: Catalogs, catalog: bytes) -> dict[bytes, int]:
    """How many entries of the same catalog lie in each of its directories, the directory included."""
    weights: dict[bytes, int] = {}
    for path in catalogs.entries:
        parents = [path, *TransactionMachine.parents(path)]
        if next((p for p in parents[1:] if p in catalogs.paths), b"") != catalog:
            continue
        for parent in parents:
            if parent in catalogs.paths:
                break
            if catalogs.entries[parent].is_dir:
                weights[parent] = weights.get(parent, 0) + 1
    return weights


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
