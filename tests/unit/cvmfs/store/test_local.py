"""What only a store on disk promises."""

import ctypes
import errno
import os
import stat
import time
from pathlib import Path

import pytest

from softman.cvmfs.errors import FormatError, HashMismatch, ObjectMissing, StoreError, StoreUnavailable
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.store import LocalStore, open_store
from softman.cvmfs.store.posix import boot_time

CONTENT = b"content of an object" * 1000
OBJECT = hash_bytes(CONTENT)
NAME = OBJECT.object_path(ObjectKind.FILE)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    created = LocalStore(tmp_path / "repository")
    created.ensure_directories()
    return created


@pytest.fixture
def staged(store: LocalStore) -> Path:
    directory = store.staging_root / "transaction"
    directory.mkdir()
    file = directory / "object"
    file.write_bytes(CONTENT)
    return file


def files_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def test_the_layout_is_that_of_the_stock_tools(store: LocalStore) -> None:
    store.ensure_directories()  # again is fine
    assert len(list((store.root / "data").iterdir())) == 257
    assert (store.root / "data" / "ff").is_dir()
    assert store.staging_root == store.root / "data" / "txn"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_are_as_readable_as_the_umask_lets_them(store: LocalStore, staged: Path, umask: int) -> None:
    staged.chmod(0o4700)
    before = os.umask(umask)
    try:
        store.put(".cvmfspublished", b"manifest")
        store.promote(staged, OBJECT, ObjectKind.FILE)
    finally:
        os.umask(before)
    for name in (".cvmfspublished", NAME):
        assert stat.S_IMODE((store.root / name).stat().st_mode) == 0o666 & ~umask


def test_nothing_is_left_of_a_file_that_could_not_be_written(store: LocalStore) -> None:
    def broken() -> list[bytes]:
        raise OSError(errno.EIO, "the source broke")

    before = files_below(store.root)
    with pytest.raises(StoreUnavailable):
        store.put(NAME, (piece for _ in range(2) for piece in broken()))
    assert files_below(store.root) == before


def test_a_reader_sees_the_old_file_until_the_new_one_is_complete(store: LocalStore) -> None:
    store.put(".cvmfspublished", b"old")

    def pieces() -> "list[bytes]":
        assert store.get(".cvmfspublished", max_size=10) == b"old"
        return [b"new"]

    with store.open(".cvmfspublished") as reading:
        store.put(".cvmfspublished", (piece for _ in range(1) for piece in pieces()))
        assert reading.read(10) == b"old"
    assert store.get(".cvmfspublished", max_size=10) == b"new"


def test_a_durable_file_and_its_directory_are_synchronised(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    synchronised: list[str] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        synchronised.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    store.put(NAME, CONTENT)
    assert synchronised == []
    store.put(".cvmfspublished", b"manifest", durable=True)
    assert len(synchronised) == 2
    assert synchronised[0].startswith(".tmp-")
    assert synchronised[1] == store.root.name


def test_our_own_staged_file_is_moved_not_copied(store: LocalStore, staged: Path) -> None:
    inode = staged.stat().st_ino
    store.promote(staged, OBJECT, ObjectKind.FILE)
    assert (store.root / NAME).stat().st_ino == inode
    assert not staged.exists()


def test_a_staged_file_with_a_second_name_is_copied(store: LocalStore, staged: Path) -> None:
    second = staged.with_name("second")
    second.hardlink_to(staged)
    store.promote(staged, OBJECT, ObjectKind.FILE)
    second.write_bytes(b"changed later by whoever kept the name")
    assert (store.root / NAME).read_bytes() == CONTENT


def test_a_staged_file_of_somebody_else_is_copied(
    store: LocalStore, staged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: staged.stat().st_uid + 1)
    with staged.open("r+b") as held_open:
        store.promote(staged, OBJECT, ObjectKind.FILE)
        held_open.write(b"changed after the check")
    assert (store.root / NAME).read_bytes() == CONTENT
    assert files_below(store.staging_root) == ["transaction/object"]


def test_a_refused_copy_leaves_nothing(store: LocalStore, staged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: staged.stat().st_uid + 1)
    with pytest.raises(HashMismatch):
        store.promote(staged, hash_bytes(b"other"), ObjectKind.FILE)
    assert files_below(store.root) == ["data/txn/transaction/object"]


def test_an_object_cut_short_by_a_crash_is_replaced(store: LocalStore, staged: Path) -> None:
    (store.root / NAME).write_bytes(b"")
    store.promote(staged, OBJECT, ObjectKind.FILE)
    assert (store.root / NAME).read_bytes() == CONTENT


def test_what_is_older_than_the_start_of_the_host_is_hashed_once(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(NAME, CONTENT[:-1])
    path, start = store.root / NAME, time.time() - 3600
    monkeypatch.setattr("softman.cvmfs.store.local.boot_time", lambda: start)
    assert store.is_stored(OBJECT, ObjectKind.FILE)  # nothing cut it since
    assert not store.is_stored(OBJECT, ObjectKind.FILE, size=len(CONTENT))
    os.utime(path, (start - 60, start - 60))
    assert not store.is_stored(OBJECT, ObjectKind.FILE)
    assert path.stat().st_mtime < start
    path.write_bytes(CONTENT)
    os.utime(path, (start - 60, start - 60))
    assert store.is_stored(OBJECT, ObjectKind.FILE)
    assert path.stat().st_mtime > start


def test_the_start_of_the_host_is_in_the_past() -> None:
    assert 0 < boot_time() < time.time()


def test_a_link_in_place_of_an_object_is_none(store: LocalStore, staged: Path) -> None:
    (store.root / NAME).symlink_to(staged)
    assert not store.is_stored(OBJECT, ObjectKind.FILE)
    assert list(store.names()) == []


def test_the_lock_file_is_no_file_of_the_repository(store: LocalStore) -> None:
    with store.lock("test.example.org"):
        assert (store.root / ".cvmfs_softman.lock").exists()
        assert list(store.names()) == []


def test_an_object_that_is_there_becomes_young_again(store: LocalStore, staged: Path) -> None:
    store.put(NAME, CONTENT)
    os.utime(store.root / NAME, (0, 0))
    store.promote(staged, OBJECT, ObjectKind.FILE)
    assert (store.root / NAME).stat().st_mtime > 0


def test_no_link_below_the_staging_area_is_followed(store: LocalStore, staged: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "object").write_bytes(CONTENT)
    (store.staging_root / "linked").symlink_to(outside)
    os.mkfifo(staged.with_name("fifo"))
    for path in (
        store.staging_root / "linked" / "object",
        staged.with_name("fifo"),
        store.staging_root / "transaction" / ".." / "transaction" / "object",
        store.staging_root,
    ):
        with pytest.raises(ObjectMissing):
            store.promote(path, OBJECT, ObjectKind.FILE)
    assert not store.exists(NAME)


def test_only_plain_files_are_read(store: LocalStore) -> None:
    (store.root / ".cvmfsreflog").mkdir()
    assert not store.exists(".cvmfsreflog")
    with pytest.raises(StoreError):
        store.get(".cvmfsreflog", max_size=10)


def test_a_lock_path_can_be_handed_in(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "test.example.org"
    first, second = (LocalStore(tmp_path / name, lock_path=path) for name in ("a", "b"))
    with first.lock("test.example.org"), pytest.raises(StoreUnavailable), second.lock("test.example.org", timeout=0.05):
        pass
    assert path.exists()


def test_without_syncfs_everything_is_synchronised(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    class OtherLibrary:
        def __init__(self, *_args: object, **_options: object) -> None: ...

    calls: list[bool] = []
    monkeypatch.setattr(ctypes, "CDLL", OtherLibrary)
    monkeypatch.setattr(os, "sync", lambda: calls.append(True))
    store.sync()
    assert calls == [True]


def test_a_store_is_opened_by_its_address(tmp_path: Path) -> None:
    directory = tmp_path / "with space"
    LocalStore(directory).ensure_directories()
    LocalStore(directory).put(".cvmfspublished", b"manifest")
    assert open_store(directory.as_uri()).get(".cvmfspublished", max_size=10) == b"manifest"
    for url in ("ftp://example.org/x", "/srv/cvmfs", "file://host/x", "file:relative", "http://", "http://h/x?y"):
        with pytest.raises(FormatError):
            open_store(url)
