"""Tags, roll-backs, garbage collection and other keys, as the official tools see them."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from softman.cvmfs.format.keys import RepositoryKeys, generate_keys, renew_master_key, renew_signing_key
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository, Retention, Tagging
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Transaction
from tests.compat.conftest import StockClient, Swissknife
from tests.compat.test_written_repositories import now
from tests.support.serving import served

NAME = "history.example.org"
NOTHING = Retention(revisions=0, age=None)

pytestmark = pytest.mark.compat


class Site:
    """A repository with tagged revisions: ``/f`` says which revision it is."""

    def __init__(self, root: Path, keys: RepositoryKeys) -> None:
        self.storage = root / "srv" / NAME
        self.public_key = root / f"{NAME}.pub"
        self.public_key.write_bytes(keys.public_key)
        self.keys = keys
        self.store = LocalStore(self.storage)
        self.repository = Repository(self.store, NAME, keys, now=now)
        self.repository.create(ttl=60, whitelist_days=30)
        for number in range(2, 6):
            self.publish(number, Tagging(f"v{number}", f"revision {number}") if number % 2 else Tagging(generic=True))

    def publish(self, number: int, tagging: Tagging | None = None) -> None:
        reader = RepositoryReader(self.store, NAME, [self.public_key.read_bytes()], now=now)
        staging = Staging.create(self.storage)
        with reader.snapshot() as base, Transaction(base, staging, now=now) as transaction:
            transaction.add_file("/f", staging.write_file([b"%d" % number]), 0o644, number)
            big = staging.write_file([b"%d" % number * 1000], threshold=400, chunk_size=300)
            transaction.add_file(f"/d/{number}", big, 0o644, number)
            candidate = transaction.seal()
        assert candidate is not None
        self.repository.commit(
            candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=staging.transaction,
            tagging=tagging,
        )


@pytest.fixture(scope="module")
def keys() -> RepositoryKeys:
    return generate_keys(NAME, now())


@pytest.fixture
def site(tmp_path: Path, keys: RepositoryKeys) -> Site:
    return Site(tmp_path, keys)


@pytest.fixture
def spool() -> Iterator[None]:
    """The stock collector insists on a place for its statistics."""
    if os.geteuid() != 0:
        pytest.skip("the official garbage collection needs root, for /var/spool/cvmfs")
    folder = Path("/var/spool/cvmfs") / NAME
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        shutil.rmtree(folder)
        for path in missing[1:]:
            path.rmdir()


def passes(swissknife: Swissknife, site: Site) -> None:
    with served(site.storage.parent) as url:
        result = swissknife.check(f"{url}/{NAME}", site.public_key, NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no problems found" in result.stdout + result.stderr


def test_every_operation_passes_the_stock_check(site: Site, swissknife: Swissknife) -> None:
    repository = site.repository
    passes(swissknife, site)
    repository.add_tag("first", description="with 'quotes' and ümläuts", revision=1)
    passes(swissknife, site)
    repository.add_tag("first", revision=2, move=True)
    repository.remove_tags(["v3"])
    passes(swissknife, site)
    repository.rollback(revision=4)
    passes(swissknife, site)
    repository.undo()
    passes(swissknife, site)
    repository.rollback(tag="first")
    passes(swissknife, site)
    site.publish(20)
    assert repository.collect_garbage(NOTHING).objects > 0
    passes(swissknife, site)
    site.publish(21)
    passes(swissknife, site)
    scrubbed = swissknife.scrub(site.storage)
    assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr


def test_the_stock_tools_list_our_tags(site: Site, swissknife: Swissknife) -> None:
    site.repository.add_tag("first", description="of all", revision=1)
    with served(site.storage.parent) as url:
        listed = {row[0]: row[1:] for row in swissknife.tags(f"{url}/{NAME}", site.public_key, NAME)}
    ours = site.repository.history()
    assert listed == {
        tag.name: [
            *(str(value) for value in (tag.root_hash, tag.size, tag.revision, tag.timestamp)),
            "(default)",
            *tag.description.split(),
        ]
        for tag in ours.tags
    }
    assert len(listed) == 7


def test_the_stock_client_mounts_by_tag(site: Site, stock_client: StockClient) -> None:
    site.repository.add_tag("first", revision=2)
    with served(site.storage.parent) as url:
        for tag, content, revision in (
            ("first", "2", 2),
            ("v3", "3", 3),
            ("trunk-previous", "4", 4),
            ("trunk", "5", 5),
        ):
            with stock_client.mounted(f"{url}/{NAME}", site.public_key, NAME, CVMFS_REPOSITORY_TAG=tag) as mount_point:
                assert (mount_point / "f").read_text() == content
                assert os.getxattr(mount_point, "user.revision") == str(revision).encode()


def test_what_is_left_after_our_collection_is_whole(
    site: Site, stock_client: StockClient, swissknife: Swissknife
) -> None:
    assert site.repository.collect_garbage(NOTHING).kept == (5, 4, 3, 2)
    site.repository.remove_tags([tag.name for tag in site.repository.history().tags if tag.name.startswith("generic")])
    assert site.repository.collect_garbage(NOTHING).kept == (5, 4, 3)
    passes(swissknife, site)
    with (
        served(site.storage.parent) as url,
        stock_client.mounted(f"{url}/{NAME}", site.public_key, NAME, CVMFS_REPOSITORY_TAG="v3") as mount_point,
    ):
        assert (mount_point / "d" / "3").read_bytes() == b"3" * 1000
        assert sorted(path.name for path in (mount_point / "d").iterdir()) == ["2", "3"]


@pytest.mark.usefixtures("spool")
def test_stock_and_our_collection_remove_the_same(site: Site, swissknife: Swissknife, tmp_path: Path) -> None:
    generic = [tag.name for tag in site.repository.history().tags if tag.name.startswith("generic")]
    site.repository.remove_tags(generic)
    ours: list[str] = []
    site.repository.collect_garbage(NOTHING, dry_run=True, on_object=lambda file: ours.append(file.name))
    before = set(site.store.names("data/"))
    (tmp_path / "reflog.chksum").write_text(str(site.repository.manifest().reflog))
    with served(site.storage.parent) as url:
        result = swissknife.collect(f"{url}/{NAME}", site.storage, site.public_key, NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    gone = before - set(site.store.names("data/"))
    assert len(gone) >= 3
    # The stock collector keeps the auxiliary objects of the second in which the head was published, as we do.
    assert {name for name in gone if not name.endswith("H")} == {name for name in ours if not name.endswith("H")}
    # It leaves a manifest behind that names the reflog before: the next opening signs it again.
    site.repository.create(ttl=60, whitelist_days=30)
    passes(swissknife, site)
    site.publish(30)
    passes(swissknife, site)


def test_other_keys(site: Site, swissknife: Swissknife, stock_client: StockClient) -> None:
    renewed = renew_signing_key(NAME, site.keys, now())
    site.repository.resign_whitelist(30, also=[renewed.certificate])
    passes(swissknife, site)
    site.repository.rotate_signing_key(renewed, days=30, keep_old=True)
    passes(swissknife, site)
    site.publish(40)
    fresh = renew_master_key(renewed)
    site.repository.rotate_master_key(fresh, days=30)
    with served(site.storage.parent) as url:
        refused = swissknife.check(f"{url}/{NAME}", site.public_key, NAME)
        assert refused.returncode != 0
    site.public_key.write_bytes(fresh.public_key)
    passes(swissknife, site)
    with (
        served(site.storage.parent) as url,
        stock_client.mounted(f"{url}/{NAME}", site.public_key, NAME) as mount_point,
    ):
        assert (mount_point / "f").read_text() == "40"
