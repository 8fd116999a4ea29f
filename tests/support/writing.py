"""A repository of our own on disk, with a publisher's and stratum 0's hands on it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.keys import RepositoryKeys, generate_keys
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Limits, Repository
from softman.cvmfs.staging import Staging, StoredObject, staged_name
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Candidate, Transaction

NAME = "test.example.org"
START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@cache
def keys(number: int = 0) -> RepositoryKeys:
    """Keys for tests; another ``number``, other keys."""
    return generate_keys(NAME, START + timedelta(days=number))


@dataclass
class Workshop:
    """Storage in ``root``, and a clock that tests turn."""

    root: Path
    name: str = NAME
    keys: RepositoryKeys = field(default_factory=keys)
    time: datetime = START

    def __post_init__(self) -> None:
        self.store = LocalStore(self.root)
        self.repository = Repository(self.store, self.name, self.keys, now=self.now)

    def now(self) -> datetime:
        return self.time

    def create(self) -> Manifest:
        return self.repository.create(ttl=60, whitelist_days=30)

    def reader(self) -> RepositoryReader:
        return RepositoryReader(self.store, self.name, [self.keys.public_key], now=self.now)

    def staging(self) -> Staging:
        return Staging.create(self.root, published=self.store.is_stored)

    def candidate(self, change: Callable[[Transaction, Staging], None]) -> tuple[Candidate, Staging]:
        """What a publisher makes of ``change``, staged."""
        staging = self.staging()
        with self.reader().snapshot() as snapshot, Transaction(snapshot, staging, now=self.now) as transaction:
            change(transaction, staging)
            candidate = transaction.seal()
        assert candidate is not None
        return candidate, staging

    def commit(self, candidate: Candidate, staging: Staging, limits: Limits | None = None) -> Manifest:
        return self.repository.commit(
            candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=staging.transaction,
            limits=limits,
        )

    def publish(self, change: Callable[[Transaction, Staging], None]) -> Manifest:
        return self.commit(*self.candidate(change))

    def forge(self, candidate: Candidate, staging: Staging, *sql: str) -> Candidate:
        """Another candidate: ``candidate`` after some SQL, hash in order, in the same staging area."""
        staged = staging.directory / staged_name(candidate.root_hash, ObjectKind.CATALOG)
        path = staging.directory.parent / "forged.db"
        path.write_bytes(decompress(staged.read_bytes(), max_size=2**30))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for statement in sql:
                connection.execute(statement)
        return self.replace_catalog(candidate, staging, path.read_bytes())

    def replace_catalog(self, candidate: Candidate, staging: Staging, database: bytes) -> Candidate:
        """Another candidate: whatever ``database`` is."""
        stored = staging.write_object([database], ObjectKind.CATALOG)
        return Candidate(candidate.base_revision, candidate.base_root_hash, stored.hash, len(database))


def add(path: str, content: bytes = b"content") -> Callable[[Transaction, Staging], None]:
    """A change that adds one file."""

    def change(transaction: Transaction, staging: Staging) -> None:
        transaction.add_file(path, staging.write_file([content]), 0o644, 1_700_000_000)

    return change


def stored(content: bytes, staging: Staging) -> StoredObject:
    """Small content, staged."""
    return staging.write_object([content])


def object_file(root: Path, content: ContentHash, kind: ObjectKind = ObjectKind.FILE) -> Path:
    """Where an object lies."""
    return root / content.object_path(kind)


def forge_nested(
    workshop: Workshop, candidate: Candidate, staging: Staging, path: str, *sql: str, registered: str = ""
) -> Candidate:
    """Another candidate: SQL in its nested catalog at ``path``, hashes and sizes above it put right.

    ``registered`` is SQL for the root catalog, run last.
    """
    chain = [""]  # the catalogs from the root to that one
    hashes = [candidate.root_hash]
    while chain[-1] != path:
        with closing(staged_catalog(workshop, staging, hashes[-1])) as connection:
            rows = connection.execute("SELECT path, sha1 FROM nested_catalogs").fetchall()
        below, text = next((p, h) for p, h in rows if (path + "/").startswith(p + "/"))
        chain.append(below)
        hashes.append(ContentHash.parse(text))
    statements: tuple[str, ...] = sql
    forged = candidate.root_hash
    for place, content in zip(reversed(chain), reversed(hashes), strict=True):
        with closing(staged_catalog(workshop, staging, content)) as connection:
            for statement in (*statements, registered) if not place and registered else statements:
                connection.execute(statement)
            database = connection.serialize()
        forged = staging.write_object([database], ObjectKind.CATALOG).hash
        statements = (f"UPDATE nested_catalogs SET sha1='{forged}', size={len(database)} WHERE path='{place}'",)
    return Candidate(candidate.base_revision, candidate.base_root_hash, forged, len(database))


def staged_catalog(workshop: Workshop, staging: Staging, content: ContentHash) -> sqlite3.Connection:
    """A copy of a catalog, staged or stored, in memory."""
    staged = staging.directory / staged_name(content, ObjectKind.CATALOG)
    place = staged if staged.exists() else workshop.root / content.object_path(ObjectKind.CATALOG)
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.deserialize(decompress(place.read_bytes(), max_size=2**30))
    return connection
