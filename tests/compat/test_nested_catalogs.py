"""Nested catalogs that softman writes, as the official tools see them; and repositories of theirs, continued by us."""

import gzip
import json
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from softman.cvmfs.format.keys import RepositoryKeys, generate_keys
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Balance, Transaction
from tests.compat.conftest import StockClient, Swissknife
from tests.support.catalogs import stored_catalogs
from tests.support.serving import served

DATA = Path(__file__).parents[1] / "data" / "cvmfs"
NAME = "nested.example.org"
BIG = bytes(range(256)) * 4096


class Site:
    """One repository in a folder, and changes to it."""

    def __init__(self, root: Path, name: str, keys: RepositoryKeys, now: Callable[[], datetime]) -> None:
        self.name = name
        self.storage = root / "srv" / name
        self.public_key = root / f"{name}.pub"
        self.public_key.write_bytes(keys.public_key)
        self.now = now
        self.store = LocalStore(self.storage)
        self.repository = Repository(self.store, name, keys, now=now)
        self.reader = RepositoryReader(self.store, name, [keys.public_key], now=now)

    @contextmanager
    def change(self, balance: Balance | None = None) -> Iterator[tuple[Transaction, Staging]]:
        """A transaction, committed at the end."""
        staging = Staging.create(self.storage)
        with self.reader.snapshot() as base, Transaction(base, staging, now=self.now, balance=balance) as transaction:
            yield transaction, staging
            candidate = transaction.seal()
            assert candidate is not None
            self.repository.commit(
                candidate.root_hash,
                base_revision=candidate.base_revision,
                base_root_hash=candidate.base_root_hash,
                transaction=staging.transaction,
            )

    def catalogs(self) -> set[bytes]:
        """Where the catalogs are; all of them were checked by us, too."""
        found = stored_catalogs(self.repository.manifest().root_hash, self.store)
        assert found.problems == []
        return found.paths

    def check(self, swissknife: Swissknife) -> None:
        """The stock check, with signatures."""
        self.repository.resign_whitelist(30)
        with served(self.storage.parent) as url:
            result = swissknife.check(f"{url}/{self.name}", self.public_key, self.name)
        assert result.returncode == 0, result.stdout + result.stderr


def real_now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def keys() -> RepositoryKeys:
    return generate_keys(NAME, real_now())


@pytest.fixture
def site(tmp_path: Path, keys: RepositoryKeys) -> Site:
    site = Site(tmp_path, NAME, keys, real_now)
    site.repository.create(ttl=60, whitelist_days=30)
    return site


@pytest.fixture(params=["basic", "autocatalog"])
def stock_site(request: pytest.FixtureRequest, tmp_path: Path) -> Site:
    """A repository that the stock tools made."""
    folder = DATA / request.param
    truth = json.loads(gzip.decompress((folder / "truth.json.gz").read_bytes()))
    with tarfile.open(folder / "keys" / "test-keys.tar.gz") as tar:
        private = {Path(m.name).suffix: file.read() for m in tar if (file := tar.extractfile(m))}
    stock_keys = RepositoryKeys(
        master_key=private[".masterkey"],
        public_key=next((folder / "keys").glob("*.pub")).read_bytes(),
        private_key=private[".key"],
        certificate=next((folder / "keys").glob("*.crt")).read_bytes(),
    )
    with tarfile.open(folder / "repo.tar.gz") as archive:
        archive.extractall(tmp_path / "srv", filter="data")
    return Site(tmp_path, truth["repository"], stock_keys, real_now)


def fill(site: Site) -> None:
    """Catalogs by markers, by rules and by balancing; then splits, merges, moves, links and grafts."""
    with site.change() as (tx, staging):
        empty = staging.write_file([])
        tx.set_dirtab(b"# rules\n/sw/*/*\n! */skip\n", 7)
        for app in ("gcc", "clang"):
            for version in ("1", "2", "skip"):
                for number in range(20):
                    stored = staging.write_file([b"%d" % number])
                    tx.add_file(f"/sw/{app}/{version}/bin/f{number}", stored, 0o755, 9, mtime_ns=number + 1)
        tx.add_file("/own/.cvmfscatalog", empty, 0o644, 5)
        tx.add_file("/own/in/ner/.cvmfscatalog", empty, 0o644, 5)
        stored = staging.write_file([BIG] * 3, threshold=2**20, chunk_size=2**21)
        tx.add_file("/own/in/big", stored, 0o444, 1, xattrs={b"user.a": b"b"})
        tx.add_hardlink("/own/in/big-too", "/own/in/big")
        tx.add_symlink("/own/in/ner/link", "$(NOT_SET:-../big)", 3)
        tx.add_directory("/own/in/ner/hollow/deep", 0o700, 3, {b"user.c": b"d"})
        for number in range(400):
            tx.add_file(f"/many/{number % 5}/{number % 11}/{number}", empty, 0o644, number)
    with site.change(Balance(100, 10)) as (tx, _):
        tx.add_file("/many/3/more", empty, 0o644, 5)
        tx.rename("/own/in", "/moved/in")
        tx.remove("/sw/gcc/1")
        tx.rename("/sw/clang/2", "/sw/clang/3")
        tx.add_hardlink("/moved/in/big-three", "/moved/in/big")
        big = tx.lookup("/moved/in/big")
        assert big is not None
        tx.graft("/graft", big.chunks, big.size, 0o644, 8)
    with site.change(Balance(100, 10)) as (tx, _):
        for entry in list(tx.listdir("/many/1")):
            if entry.is_dir:
                tx.remove(entry.path)
        tx.remove("/moved/in/big")
        tx.remove("/moved/in/ner/.cvmfscatalog")
        tx.add_directory("/sw/gcc/2", 0o750, 77)
        tx.add_directory("/sw/gcc/2/more/directories")


@pytest.mark.compat
def test_the_stock_check_agrees(site: Site, swissknife: Swissknife) -> None:
    fill(site)
    catalogs = site.catalogs()
    assert {b"", b"/own", b"/sw/gcc/2", b"/sw/clang/1", b"/sw/clang/3"} <= catalogs
    assert any(path.startswith(b"/many/") for path in catalogs)
    assert not {b"/own/in/ner", b"/moved/in/ner", b"/sw/clang/skip", b"/sw/clang/2"} & catalogs
    site.check(swissknife)


@pytest.mark.compat
def test_the_stock_check_would_notice(site: Site, swissknife: Swissknife) -> None:
    fill(site)
    with site.reader.snapshot() as snapshot:
        nested = next(snapshot.catalog.nested())
    (site.storage / f"data/{str(nested.hash)[:2]}/{str(nested.hash)[2:]}C").unlink()
    with pytest.raises(AssertionError):
        site.check(swissknife)


def assert_shown(snapshot: Snapshot, mount_point: Path) -> None:
    """The mounted tree is what our reader reads."""
    shown = {os.fsencode(path.relative_to(mount_point)) for path in mount_point.rglob("*")}
    assert shown == {entry.path[1:] for entry in snapshot.walk()}
    inodes: dict[tuple[bytes, int], set[int]] = {}
    for entry in snapshot.walk():
        path = os.fsencode(mount_point) + entry.path
        status = os.lstat(path)
        assert (status.st_mode, status.st_nlink) == (entry.mode, entry.linkcount)
        assert status.st_mtime_ns == entry.mtime * 10**9 + (entry.mtime_ns or 0)
        for key, value in entry.xattrs.items():
            if key.startswith(b"user."):
                assert os.getxattr(path, key) == value
        if entry.hardlink_group:
            inodes.setdefault((entry.parent, entry.hardlink_group), set()).add(status.st_ino)
        if stat.S_ISREG(status.st_mode):
            assert Path(os.fsdecode(path)).read_bytes() == b"".join(snapshot.read_entry(entry))
    assert all(len(numbers) == 1 for numbers in inodes.values())


@pytest.mark.compat
def test_the_stock_client_shows_what_our_reader_shows(site: Site, stock_client: StockClient) -> None:
    fill(site)
    with (
        served(site.storage.parent) as url,
        stock_client.mounted(f"{url}/{NAME}", site.public_key, NAME) as mount_point,
        site.reader.snapshot() as snapshot,
    ):
        assert_shown(snapshot, mount_point)
        assert (mount_point / "moved/in/ner/link").readlink() == Path("../big")


@pytest.mark.compat
def test_stock_repositories_are_continued(stock_site: Site, swissknife: Swissknife) -> None:
    """Deep changes, splits, merges and moves on what ``cvmfs_server`` made."""
    stock_site.repository.resign_whitelist(30)
    before = stock_site.catalogs()
    # In /soft the rules of the repository's dirtab bring removed markers back.
    deepest = max((p for p in before if not p.startswith(b"/soft")), key=lambda path: path.count(b"/"))
    with stock_site.change() as (tx, staging):
        tx.add_file(deepest + b"/deep/change", staging.write_file([b"changed"]), 0o644, 5)
    assert stock_site.catalogs() == before
    stock_site.check(swissknife)
    with stock_site.change(Balance(200, 20)) as (tx, staging):
        empty = staging.write_file([])
        for number in range(500):
            tx.add_file(deepest + b"/deep/%d/%d" % (number % 7, number), empty, 0o644, number)
        tx.add_file("/new/.cvmfscatalog", empty, 0o644, 5)
        tx.add_file("/new/file", empty, 0o644, 5)
    after = stock_site.catalogs()
    assert before | {b"/new"} <= after
    stock_site.check(swissknife)
    with stock_site.change() as (tx, _):
        tx.remove(deepest + b"/.cvmfscatalog")
        tx.rename("/new", deepest + b"/was-new")
        nested = min(before - {b"", deepest}, key=lambda path: (deepest.startswith(path), path))
        tx.remove(nested)
    gone = stock_site.catalogs()
    assert deepest not in gone
    assert deepest + b"/was-new" in gone
    assert nested not in gone
    stock_site.check(swissknife)
