"""What every store promises: on disk, in memory, in a bucket, and, for reading, behind a web server."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from softman.cvmfs.errors import FormatError, HashMismatch, ObjectMissing, StoreUnavailable, TooLarge
from softman.cvmfs.format.hashes import HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.store import LocalStore, MemoryStore, ReadableStore, Store
from softman.cvmfs.store.http import HttpStore
from tests.support.bucket_storage import BucketStorage
from tests.support.serving import served

CONTENT = bytes(range(256)) * 5000
OBJECT = hash_bytes(CONTENT)
NAME = OBJECT.object_path(ObjectKind.FILE)
MISSING = hash_bytes(b"missing").object_path(ObjectKind.CHUNK)

OpenReader = Callable[[dict[str, bytes]], ReadableStore]


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    """A staged file where stores on disk expect it."""
    directory = tmp_path / "repository" / "data" / "txn" / "0123456789abcdef0123456789abcdef"
    directory.mkdir(parents=True)
    file = directory / str(OBJECT)
    file.write_bytes(CONTENT)
    return file


@pytest.fixture(params=["local", "memory", "http", pytest.param("s3", marks=pytest.mark.stack)])
def open_reader(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenReader]:
    """Gives a store for reading that holds some files."""
    local = LocalStore(tmp_path)
    local.ensure_directories()

    def fill(files: dict[str, bytes]) -> LocalStore:
        for name, data in files.items():
            local.put(name, data)
        return local

    if request.param == "local":
        yield fill
    elif request.param == "memory":
        yield MemoryStore
    elif request.param == "s3":
        storage = BucketStorage.prepare(request.getfixturevalue("stack"), request.getfixturevalue("unique"))

        def upload(files: dict[str, bytes]) -> ReadableStore:
            store = storage.store("test.example.org", tmp_path / "lock")
            for name, data in files.items():
                store.put(name, data)
            return store

        yield upload
    else:

        def serve(files: dict[str, bytes]) -> HttpStore:
            fill(files)
            return HttpStore([f"{url}/"])

        with served(tmp_path) as url:
            yield serve


def test_a_file_is_read_whole_and_in_pieces(open_reader: OpenReader) -> None:
    store = open_reader({NAME: CONTENT, ".cvmfspublished": b"manifest", ".cvmfswhitelist": b""})
    assert store.get(NAME, max_size=len(CONTENT)) == CONTENT
    assert store.get(".cvmfspublished", max_size=100) == b"manifest"
    assert store.get(".cvmfswhitelist", max_size=0) == b""
    with store.open(NAME) as file:
        first = file.read(100)
        rest = b"".join(iter(lambda: file.read(65536), b""))
        assert (len(first), first + rest, file.read(1)) == (100, CONTENT, b"")


def test_no_more_than_allowed_is_read(open_reader: OpenReader) -> None:
    store = open_reader({NAME: CONTENT})
    with pytest.raises(TooLarge, match="has more than 1000 bytes"):
        store.get(NAME, max_size=1000)
    with pytest.raises(TooLarge):
        store.get(NAME, max_size=len(CONTENT) - 1)


def test_a_file_that_is_not_there_is_missed(open_reader: OpenReader) -> None:
    store = open_reader({NAME: CONTENT})
    assert store.exists(NAME)
    assert not store.exists(MISSING)
    with pytest.raises(ObjectMissing):
        store.get(MISSING, max_size=10)
    with pytest.raises(ObjectMissing), store.open(MISSING):
        pass


def test_a_file_can_be_left_half_read(open_reader: OpenReader) -> None:
    store = open_reader({NAME: CONTENT})
    for _ in range(20):
        with store.open(NAME) as file:
            assert len(file.read(10)) == 10


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "../x",
        "data/../../x",
        "data/ab",
        "data/txn/x",
        ".cvmfs/../x",
        "data/ab/" + "c" * 38 + "Z",
        ".htaccess",
    ],
)
def test_only_names_of_a_repository_are_taken(open_reader: OpenReader, name: str) -> None:
    store = open_reader({})
    with pytest.raises(FormatError, match="not the name of a file"):
        store.get(name, max_size=10)
    with pytest.raises(FormatError):
        store.exists(name)


def test_what_was_put_is_there_and_can_be_replaced(store: Store) -> None:
    store.put(".cvmfspublished", b"one", durable=True)
    store.put(".cvmfspublished", b"two", durable=True)
    store.put(NAME, (CONTENT[i : i + 1000] for i in range(0, len(CONTENT), 1000)))
    store.sync()
    assert store.get(".cvmfspublished", max_size=10) == b"two"
    assert store.get(NAME, max_size=len(CONTENT)) == CONTENT
    with pytest.raises(FormatError):
        store.put("../outside", b"")


def test_a_staged_file_becomes_an_object(store: Store, staged: Path) -> None:
    store.promote(staged, OBJECT, ObjectKind.FILE)
    assert store.get(NAME, max_size=len(CONTENT)) == CONTENT


def test_promoting_what_is_there_already_changes_nothing(store: Store, staged: Path) -> None:
    store.put(NAME, CONTENT)
    store.promote(staged, OBJECT, ObjectKind.FILE)
    assert store.get(NAME, max_size=len(CONTENT)) == CONTENT


@pytest.mark.parametrize("algorithm", HashAlgorithm)
def test_a_staged_file_with_another_hash_is_refused(store: Store, staged: Path, algorithm: HashAlgorithm) -> None:
    claimed = hash_bytes(b"something else", algorithm)
    with pytest.raises(HashMismatch):
        store.promote(staged, claimed, ObjectKind.CATALOG)
    assert not store.exists(claimed.object_path(ObjectKind.CATALOG))


def test_a_staged_file_that_is_missing_or_a_link_is_refused(store: Store, staged: Path) -> None:
    link = staged.with_name("link")
    link.symlink_to(staged)
    for path in (link, staged.with_name("missing"), staged.parent):
        with pytest.raises(ObjectMissing):
            store.promote(path, OBJECT, ObjectKind.FILE)
    assert not store.exists(NAME)


def test_an_object_counts_as_stored_when_it_is_there_in_full(store: Store) -> None:
    assert not store.is_stored(OBJECT, ObjectKind.FILE)
    store.put(NAME, CONTENT)
    assert store.is_stored(OBJECT, ObjectKind.FILE)
    assert store.is_stored(OBJECT, ObjectKind.FILE, size=len(CONTENT))
    assert not store.is_stored(OBJECT, ObjectKind.FILE, size=len(CONTENT) - 1)
    assert not store.is_stored(OBJECT, ObjectKind.CHUNK)


def test_files_are_listed_by_the_beginning_of_their_names(store: Store) -> None:
    objects = sorted(hash_bytes(b"%d" % i).object_path(ObjectKind.CHUNK) for i in range(40))
    for name in [*objects, ".cvmfspublished", ".cvmfsreflog"]:
        store.put(name, b"content")
    assert list(store.names()) == [".cvmfspublished", ".cvmfsreflog", *objects]
    for prefix in ("data/", "data/1", objects[7][:7], objects[7], ".cvmfsp", "d", "nothing", "data/ab/zz", "data/txn/"):
        assert list(store.names(prefix)) == [name for name in store.names() if name.startswith(prefix)]
    listed = next(iter(store.listing(objects[3])))
    assert (listed.name, listed.size) == (objects[3], 7)
    assert abs(listed.modified - time.time()) < 60


def test_what_is_staged_is_not_listed(store: Store, staged: Path) -> None:
    assert staged.exists()
    with store.lock("test.example.org"):
        assert list(store.names()) == []


def test_what_was_deleted_is_gone(store: Store) -> None:
    store.put(NAME, CONTENT)
    for _ in range(2):
        store.delete(NAME)
        assert not store.exists(NAME)
    assert list(store.names()) == []
    with pytest.raises(FormatError):
        store.delete("data/../../x")


def test_the_lock_keeps_others_out(store: Store) -> None:
    with store.lock("test.example.org"), pytest.raises(StoreUnavailable), store.lock("test.example.org", timeout=0.05):
        pass
    with store.lock("test.example.org", timeout=0.05):
        pass


def test_the_lock_serialises_threads(store: Store) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work() -> None:
        for _ in range(5):
            with store.lock("test.example.org", timeout=30):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20
