"""Revisions of a repository in memory, made and read without any signature: for tests of what catalogs become."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from softman.cvmfs.areas import staged_name
from softman.cvmfs.format.catalog_writer import create_catalog, root_entry
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import compress
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.store import MemoryStore
from softman.cvmfs.transaction import Balance, Candidate, Transaction

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TIME = int(NOW.timestamp())

Change = Callable[[Transaction, Staging], object]


class Revisions:
    """Any revision may be built on any other. ``directory`` is for scratch files."""

    def __init__(self, directory: Path, *, balance: Balance | None = None) -> None:
        self.store = MemoryStore()
        self.balance = balance
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.empty = self._make_empty()

    def close(self) -> None:
        shutil.rmtree(self.directory)

    def open(self, manifest: Manifest) -> Snapshot:
        return Snapshot(self.store, manifest, work_dir=self.directory)

    def staging(self) -> Staging:
        return Staging(self.store.new_area(), published=self.store.is_stored)

    def build(self, base: Manifest, change: Change) -> Manifest:
        """The revision that ``change`` makes of ``base``; ``base`` when it changes nothing."""
        staging = self.staging()
        with (
            self.open(base) as snapshot,
            Transaction(
                snapshot, staging, now=lambda: NOW, work_dir=self.directory, balance=self.balance
            ) as transaction,
        ):
            change(transaction, staging)
            candidate = transaction.seal()
        return base if candidate is None else self.accept(base, candidate, staging)

    def accept(self, base: Manifest, candidate: Candidate, staging: Staging) -> Manifest:
        """Publish a candidate without looking at it."""
        area = self.store.staged[staging.transaction]
        for name, data in area.items():
            found = hash_bytes(data)
            kind = ObjectKind(name[40:])
            assert name == staged_name(found, kind)
            self.store.files[found.object_path(kind)] = data
        staging.discard()
        return self.following(base, candidate)

    def following(self, base: Manifest, candidate: Candidate) -> Manifest:
        return replace(base, root_hash=candidate.root_hash, root_size=candidate.root_size, revision=base.revision + 1)

    def entries(self, manifest: Manifest) -> dict[bytes, Entry]:
        with self.open(manifest) as snapshot:
            return {entry.path: entry for entry in snapshot.walk(hidden=True)}

    def content(self, manifest: Manifest, path: str) -> bytes:
        with self.open(manifest) as snapshot:
            return b"".join(snapshot.read_file(path))

    def _make_empty(self) -> Manifest:
        path = self.directory / "empty.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            create_catalog(db, root_entry(TIME)).finish(revision=1, last_modified=TIME, previous=None, ttl=60)
        database = path.read_bytes()
        path.unlink()
        stored = compress(database)
        root: ContentHash = hash_bytes(stored)
        self.store.files[root.object_path(ObjectKind.CATALOG)] = stored
        return Manifest(
            root_hash=root,
            root_size=len(database),
            ttl=60,
            revision=1,
            repository="a.example.org",
            certificate=hash_bytes(b""),
            published_at=TIME,
        )
