"""A repository in a bucket of the real object store, as the official tools see it, straight from there."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from softman.cvmfs.format.keys import generate_keys
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.http import HttpStore
from softman.cvmfs.transaction import Transaction
from softman.standalone.stack import Stack
from tests.compat.conftest import StockClient, Swissknife
from tests.support.bucket_storage import BucketStorage

NAME = "bucket.example.org"
BIG = bytes(range(256)) * 4096


def now() -> datetime:
    return datetime.now(UTC)


class Site:
    """A repository in a bucket with two revisions of content; publishers and stratum 0 have a credential each."""

    def __init__(self, storage: BucketStorage, work: Path) -> None:
        keys = generate_keys(NAME, now())
        self.url = f"{storage.url}/{NAME}"
        self.public_key = work / f"{NAME}.pub"
        self.public_key.write_bytes(keys.public_key)
        self.reader = RepositoryReader(HttpStore([self.url]), NAME, [keys.public_key], now=now)
        self._repository = Repository(storage.store(NAME, work / "lock"), NAME, keys, now=now)
        self._publishers = storage.publisher_store(NAME)
        self._repository.create(ttl=60, whitelist_days=30)
        for revision in (b"first", b"second"):
            self._publish(revision)

    def _publish(self, text: bytes) -> None:
        staging = Staging(self._publishers.new_area(), published=self._publishers.is_stored)
        with self.reader.snapshot() as base, Transaction(base, staging, now=now) as tx:
            tx.add_file("/text", staging.write_file([text]), 0o644, 1700000000)
            tx.add_file("/same", staging.write_file([b"same"]), 0o644, 1700000000)
            tx.add_file("/big", staging.write_file([BIG] * 5, threshold=2**20, chunk_size=2**21), 0o444, 1)
            tx.add_file("/folder/empty", staging.write_file([]), 0o600, 0)
            candidate = tx.seal()
            assert candidate is not None
            self._repository.commit(
                candidate.root_hash,
                base_revision=candidate.base_revision,
                base_root_hash=candidate.base_root_hash,
                transaction=staging.transaction,
            )


@pytest.fixture(params=["acl", "policy"])
def site(request: pytest.FixtureRequest, stack: Stack, unique: str, tmp_path: Path) -> Site:
    return Site(BucketStorage.prepare(stack, unique, by_acl=request.param == "acl"), tmp_path)


@pytest.mark.compat
def test_the_stock_check_finds_no_problem(site: Site, swissknife: Swissknife) -> None:
    result = swissknife.check(site.url, site.public_key, NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no problems found" in result.stdout + result.stderr


@pytest.mark.compat
def test_the_stock_client_mounts_it(site: Site, stock_client: StockClient) -> None:
    with stock_client.mounted(site.url, site.public_key, NAME) as mount_point:
        files = {path.name: path.read_bytes() for path in mount_point.rglob("*") if path.is_file()}
    assert files == {"text": b"second", "same": b"same", "big": BIG * 5, "empty": b""}
