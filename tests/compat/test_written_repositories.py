"""What softman writes, as the official tools see it: the stock check, the stock client."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm
from softman.cvmfs.format.keys import RepositoryKeys, generate_keys
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Transaction
from tests.compat.conftest import StockClient, Swissknife
from tests.support.serving import served

NAME = "compat.example.org"
XATTR = b"user.softman.source"


def now() -> datetime:
    return datetime.now(UTC)


class Site:
    """One repository in a folder, and changes to it."""

    def __init__(self, root: Path, keys: RepositoryKeys, algorithm: HashAlgorithm = HashAlgorithm.SHA1) -> None:
        self.algorithm = algorithm
        self.storage = root / "srv" / NAME
        self.public_key = root / f"{NAME}.pub"
        self.public_key.write_bytes(keys.public_key)
        self.store = LocalStore(self.storage)
        self.repository = Repository(self.store, NAME, keys, now=now)
        self.repository.create(ttl=60, whitelist_days=30, algorithm=algorithm)
        self.reader = RepositoryReader(self.store, NAME, [keys.public_key], now=now)

    @contextmanager
    def change(self) -> Iterator[tuple[Transaction, Staging]]:
        """A transaction, committed at the end."""
        staging = Staging.create(self.storage, algorithm=self.algorithm)
        with self.reader.snapshot() as base, Transaction(base, staging, now=now) as transaction:
            yield transaction, staging
            candidate = transaction.seal()
            assert candidate is not None
            self.repository.commit(
                candidate.root_hash,
                base_revision=candidate.base_revision,
                base_root_hash=ContentHash.parse(str(candidate.base_root_hash)),
                transaction=staging.transaction,
            )


@pytest.fixture(scope="module")
def keys() -> RepositoryKeys:
    return generate_keys(NAME, now())


@pytest.fixture
def site(tmp_path: Path, keys: RepositoryKeys) -> Site:
    return Site(tmp_path, keys)


@pytest.fixture(params=list(HashAlgorithm), ids=lambda algorithm: algorithm.name.lower())
def any_site(request: pytest.FixtureRequest, tmp_path: Path, keys: RepositoryKeys) -> Site:
    """One for each algorithm that names objects."""
    return Site(tmp_path, keys, request.param)


def fill(site: Site) -> None:
    """A tree with a bit of everything that softman writes, then a change, a removal and an addition."""
    with site.change() as (tx, staging):
        for name in ("a", "with space", "ü\u0301", "x" * 255, "-dash", "quote'\"", "back\\slash"):
            tx.add_file(
                f"/names/{name}", staging.write_file([name.encode()]), 0o644, 1700000000, xattrs={XATTR: b"1 e 2"}
            )
        tx.add_file("/bin/tool", staging.write_file([b"#!/bin/sh\n"]), 0o755, 1600000000, mtime_ns=123456789)
        tx.add_file("/empty", staging.write_file([]), 0o600, 0)
        tx.add_file("/old", staging.write_file([b"old"]), 0o644, -5)
        big = bytes(range(256)) * 4096
        tx.add_file("/big", staging.write_file([big] * 5, threshold=2**20, chunk_size=2**21), 0o444, 1)
        tx.add_directory("/hollow/deep", 0o711, 1500000000, {XATTR: b"1 d 4"})
        tx.add_symlink("/bin/link", "tool", 1400000000)
        for number in range(300):
            tx.add_file(f"/many/d{number % 9}/f{number}", staging.write_file([b"%d" % number]), 0o644, number)
    with site.change() as (tx, staging):
        tx.add_file("/old", staging.write_file([b"new content"]), 0o644, 1700000001)
        tx.remove("/many/d3")
        tx.remove("/names/a")
        tx.add_file("/many/new/file", staging.write_file([b"added"]), 0o644, 7)


@pytest.mark.compat
def test_an_empty_repository_passes_the_stock_check(site: Site, swissknife: Swissknife) -> None:
    with served(site.storage.parent) as url:
        result = swissknife.check(f"{url}/{NAME}", site.public_key, NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no problems found" in result.stdout + result.stderr


@pytest.mark.compat
def test_a_full_repository_passes_the_stock_check(any_site: Site, swissknife: Swissknife) -> None:
    fill(any_site)
    with served(any_site.storage.parent) as url:
        result = swissknife.check(f"{url}/{NAME}", any_site.public_key, NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    scrubbed = swissknife.scrub(any_site.storage)
    assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr


@pytest.mark.compat
def test_the_stock_check_would_notice(site: Site, swissknife: Swissknife) -> None:
    """The two tests above can fail: a lost object is found."""
    fill(site)
    with site.reader.snapshot() as snapshot:
        lost, kind = snapshot.lookup("/bin/tool").objects()[0]
    (site.storage / lost.object_path(kind)).unlink()
    with served(site.storage.parent) as url:
        assert swissknife.check(f"{url}/{NAME}", site.public_key, NAME).returncode != 0


@pytest.mark.compat
def test_the_stock_client_shows_what_our_reader_shows(any_site: Site, stock_client: StockClient) -> None:
    site = any_site
    fill(site)
    assert site.repository.manifest().root_hash.algorithm is site.algorithm
    with (
        served(site.storage.parent) as url,
        stock_client.mounted(f"{url}/{NAME}", site.public_key, NAME) as mount_point,
        site.reader.snapshot() as snapshot,
    ):
        assert os.getxattr(mount_point, "user.revision") == str(snapshot.manifest.revision).encode()
        shown = {os.fsencode(path.relative_to(mount_point)) for path in mount_point.rglob("*")}
        assert shown == {entry.path[1:] for entry in snapshot.walk()}
        for entry in snapshot.walk():
            path = os.fsencode(mount_point) + entry.path
            status = os.lstat(path)
            assert (status.st_mode, status.st_nlink) == (entry.mode, entry.linkcount)
            assert status.st_mtime_ns == entry.mtime * 10**9 + (entry.mtime_ns or 0)
            if XATTR in entry.xattrs:
                assert os.getxattr(path, XATTR) == entry.xattrs[XATTR]
            if stat.S_ISREG(status.st_mode):
                assert status.st_size == entry.size
                assert Path(os.fsdecode(path)).read_bytes() == b"".join(snapshot.read_entry(entry))
            elif stat.S_ISLNK(status.st_mode):
                assert os.fsencode(Path(os.fsdecode(path)).readlink()) == entry.symlink
