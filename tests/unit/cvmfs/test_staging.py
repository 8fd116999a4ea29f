"""Staging areas: what publishers leave, and how stratum 0 looks at it."""

import os
import random
import subprocess
import threading
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from softman.cvmfs.areas import check_transaction_id, new_transaction_id, open_staged, staged_name, sweep_areas
from softman.cvmfs.errors import ObjectMissing, PathError, StoreUnavailable
from softman.cvmfs.format.chunker import ContentChunker
from softman.cvmfs.format.entry import Compression
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject
from softman.cvmfs.store import LocalStore, MemoryStore

MIB = 1024 * 1024


@pytest.fixture
def area(tmp_path: Path) -> Staging:
    (tmp_path / "data" / "txn").mkdir(parents=True)
    return Staging.create(tmp_path)


def files(area: Staging) -> set[str]:
    return {path.name for path in area.directory.iterdir()}


def test_transaction_ids() -> None:
    assert check_transaction_id(new_transaction_id())
    assert new_transaction_id() != new_transaction_id()
    for bad in ("", "..", "a" * 31, "A" * 32, "g" * 32, "a" * 32 + "\n", "../" + "a" * 29):
        with pytest.raises(PathError):
            check_transaction_id(bad)


def test_an_area_needs_a_transaction_id(tmp_path: Path) -> None:
    with pytest.raises(PathError):
        Staging(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailable):
        Staging(tmp_path / "missing" / ("a" * 32))


def test_small_content_is_one_compressed_object(area: Staging) -> None:
    stored = area.write_file([b"hel", b"lo\n"])
    assert isinstance(stored, StoredObject)
    data = (area.directory / staged_name(stored.hash, ObjectKind.FILE)).read_bytes()
    assert zlib.decompress(data) == b"hello\n"
    assert stored == StoredObject(hash_bytes(data), 6, len(data))
    assert len(files(area)) == 1


def test_without_compression_the_hash_is_that_of_the_content(area: Staging) -> None:
    stored = area.write_object([b""], compression=Compression.NONE)
    assert str(stored.hash) == "da39a3ee5e6b4b0d3255bfef95601890afd80709"
    assert (stored.size, stored.stored_size) == (0, 0)


def test_kinds_and_algorithms_are_in_the_name(tmp_path: Path) -> None:
    area = Staging(tmp_path / ("a" * 32), algorithm=HashAlgorithm.RMD160)
    stored = area.write_object([b"x"], ObjectKind.CHUNK)
    assert files(area) == {f"{stored.hash}P"}
    assert str(stored.hash).endswith("-rmd160")


def pattern(size: int) -> bytes:
    return bytes(range(256)) * (size // 256) + bytes(size % 256)


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def chunks_of(area: Staging, stored: ChunkedContent) -> list[bytes]:
    return [(area.directory / staged_name(c.hash, ObjectKind.CHUNK)).read_bytes() for c in stored.chunks]


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 1999, 2000, 2001, 5000])
def test_long_content_is_cut_into_chunks(area: Staging, size: int) -> None:
    data = pattern(size)
    stored = area.write_file(pieces(data, 333), threshold=2000, chunk_size=1000, compression=Compression.NONE)
    assert stored.size == size
    assert stored.compression is Compression.NONE
    if size <= 2000:
        assert isinstance(stored, StoredObject)
        assert (area.directory / staged_name(stored.hash, ObjectKind.FILE)).read_bytes() == data
        return
    assert isinstance(stored, ChunkedContent)
    assert [c.offset for c in stored.chunks] == list(range(0, size, 1000))
    parts = chunks_of(area, stored)
    assert [len(part) for part in parts] == [c.size for c in stored.chunks]
    assert b"".join(parts) == data


def test_large_content_is_cut_where_stock_writers_cut(area: Staging) -> None:
    data = random.Random(7).randbytes(40 * MIB)
    stored = area.write_file(pieces(data, 300_001), compression=Compression.NONE)
    assert isinstance(stored, ChunkedContent)
    assert [c.offset for c in stored.chunks] == [0, *ContentChunker().feed(data)]
    assert b"".join(chunks_of(area, stored)) == data
    changed = area.write_file(pieces(b"one more" + data, MIB), compression=Compression.NONE)
    assert isinstance(changed, ChunkedContent)
    assert changed.chunks[0].hash != stored.chunks[0].hash
    assert {c.hash for c in changed.chunks} & {c.hash for c in stored.chunks}


def test_content_without_a_cut_is_one_object(area: Staging) -> None:
    stored = area.write_file([bytes(MIB)] * 5)
    assert isinstance(stored, StoredObject)
    assert files(area) == {str(stored.hash)}


def test_an_error_between_chunks_passes_through(area: Staging) -> None:
    def broken() -> Iterator[bytes]:
        for _ in range(5):
            yield bytes(1000)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        area.write_file(broken(), threshold=1000, chunk_size=1000)


def test_what_is_published_is_not_staged(tmp_path: Path) -> None:
    asked = []

    def published(content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        asked.append((content, kind, size))
        return True

    area = Staging(tmp_path / ("a" * 32), published=published)
    stored = area.write_file([b"x" * 5 * MIB], compression=Compression.NONE)
    assert isinstance(stored, StoredObject)
    assert asked == [(stored.hash, ObjectKind.FILE, 5 * MIB)]
    assert files(area) == set()


def test_an_object_cut_short_by_a_loss_of_power_is_staged_again(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.ensure_directories()
    whole = Staging(store.new_area(), published=store.is_stored).write_object([b"x" * MIB])
    path = tmp_path / whole.hash.object_path(ObjectKind.FILE)
    for content, staged in ((b"", True), (b"x", True), (bytes(whole.stored_size), False)):
        path.write_bytes(content)
        area = Staging(store.new_area(), published=store.is_stored)
        assert area.write_object([b"x" * MIB]) == whole
        assert bool(files(area)) is staged


def test_an_area_that_is_no_directory_says_so() -> None:
    with pytest.raises(TypeError):
        _ = Staging(MemoryStore().new_area()).directory


def test_an_error_of_the_source_leaves_nothing(area: Staging) -> None:
    def broken() -> Iterator[bytes]:
        yield os.urandom(3 * MIB)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        area.write_file(broken())
    assert files(area) == set()


def test_a_lost_area_is_an_error_of_the_storage(area: Staging) -> None:
    area.discard()
    area.discard()
    with pytest.raises(StoreUnavailable):
        area.write_file([b"x"])


def test_many_threads(area: Staging) -> None:
    barrier = threading.Barrier(8)

    def write(number: int) -> str:
        barrier.wait()
        return str(area.write_object([b"%d" % (number % 3)] * 10000).hash)

    with ThreadPoolExecutor(8) as executor:
        names = set(executor.map(write, range(8)))
    assert len(names) == 3
    assert files(area) == names


def test_staged_files_are_opened_without_following_links(area: Staging, tmp_path: Path) -> None:
    root, transaction = area.directory.parent, area.transaction
    (area.directory / "good").write_bytes(b"x")
    with open_staged(root, transaction, "good") as file:
        assert file.read() == b"x"
    (tmp_path / "secret").write_bytes(b"s")
    (area.directory / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(area.directory / "fifo")
    (area.directory / "directory").mkdir()
    for name in ("link", "fifo", "directory", "missing"):
        with pytest.raises(ObjectMissing), open_staged(root, transaction, name):
            pass
    (root / ("b" * 32)).symlink_to(area.directory)
    with pytest.raises(ObjectMissing), open_staged(root, "b" * 32, "good"):
        pass
    with pytest.raises(PathError), open_staged(root, "..", "good"):
        pass


def test_sweeping_by_age(tmp_path: Path) -> None:
    root = tmp_path / "txn"
    root.mkdir()
    old, fresh = Staging(root / ("a" * 32)), Staging(root / ("b" * 32))
    for area in (old, fresh):
        area.write_file([b"x"])
    (root / ".tmp-1").write_bytes(b"x")
    target = tmp_path / "target"
    target.mkdir()
    (root / "link").symlink_to(target)
    for path in (old.directory, *old.directory.iterdir(), root / ".tmp-1", root / "link"):
        os.utime(path, (1000, 1000), follow_symlinks=False)
    os.utime(fresh.directory, (1000, 1000))  # but a file in it is new
    assert sweep_areas(root, 2000) == 3
    assert {path.name for path in root.iterdir()} == {"b" * 32}
    assert target.exists()
    assert sweep_areas(tmp_path / "nowhere", 2000) == 0


def test_sweeping_what_is_too_deep_to_remove(tmp_path: Path) -> None:
    top = tmp_path / ("a" * 32)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    name = top.name
    for _ in range(1100):
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor, name = below, "d"
    os.close(descriptor)
    os.utime(top, (1000, 1000))
    (top / "d").touch()
    os.utime(top / "d", (1000, 1000))
    try:
        assert sweep_areas(tmp_path, 2000) == (not top.exists())
    finally:  # pytest could not remove it either
        subprocess.run(["rm", "-rf", str(top)], check=True)
