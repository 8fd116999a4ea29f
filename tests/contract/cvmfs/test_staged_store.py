"""What a store promises about staging: publishers write there and nowhere else, stratum 0 trusts none of it."""

import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from softman.cvmfs.areas import StagingArea, new_transaction_id, staged_name
from softman.cvmfs.errors import HashMismatch, ObjectMissing, PathError
from softman.cvmfs.format.entry import Compression
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.staging import ChunkedContent, Staging
from softman.cvmfs.store import StagedStore

MIB = 1024 * 1024


def begin(publishers: StagedStore) -> Staging:
    return Staging(publishers.new_area(), published=publishers.is_stored)


def write(staging: Staging, content: bytes, kind: ObjectKind = ObjectKind.FILE) -> tuple[ContentHash, ObjectKind]:
    return staging.write_object([content], kind, compression=Compression.NONE).hash, kind


def forge(area: StagingArea, name: str, content: bytes) -> None:
    with area.spool() as spool:
        spool.write(content)
        spool.keep_as(name)


def stored(store: StagedStore) -> dict[str, bytes]:
    return {name: store.get(name, max_size=64 * MIB) for name in store.names()}


def named(objects: Iterable[tuple[bytes, ObjectKind]]) -> dict[str, bytes]:
    return {hash_bytes(content).object_path(kind): content for content, kind in objects}


def test_staged_objects_become_objects(store: StagedStore, publishers: StagedStore) -> None:
    staging = begin(publishers)
    contents = [(b"%d" % i * 1000, kind) for i, kind in enumerate([*ObjectKind] * 5)] + [(b"", ObjectKind.FILE)]
    objects = [write(staging, content, kind) for content, kind in contents]
    assert stored(store) == {}
    store.promote_staged(staging.transaction, objects)
    assert stored(store) == named(contents)
    store.discard_staged(staging.transaction)
    assert stored(store) == named(contents)
    store.promote_staged(staging.transaction, objects)  # as after a lost answer
    staging.discard()
    staging.discard()


@pytest.mark.parametrize("algorithm", HashAlgorithm)
def test_every_algorithm_is_hashed_again(store: StagedStore, publishers: StagedStore, algorithm: HashAlgorithm) -> None:
    staging = Staging(publishers.new_area(), algorithm=algorithm)
    objects = [write(staging, b"content")]
    store.promote_staged(staging.transaction, objects)
    assert store.is_stored(*objects[0])
    claimed = hash_bytes(b"other", algorithm)
    forge(staging.area, staged_name(claimed, ObjectKind.FILE), b"content")
    with pytest.raises(HashMismatch):
        store.promote_staged(staging.transaction, [(claimed, ObjectKind.FILE)])
    assert not store.is_stored(claimed, ObjectKind.FILE)


def test_large_content_is_staged_in_bounded_pieces(store: StagedStore, publishers: StagedStore) -> None:
    pieces = [os.urandom(MIB) for _ in range(34)]
    staging = begin(publishers)
    content = staging.write_file(iter(pieces), compression=Compression.NONE)
    assert isinstance(content, ChunkedContent)
    whole = staging.write_object(iter(pieces), ObjectKind.CATALOG, compression=Compression.NONE)
    objects = [(chunk.hash, ObjectKind.CHUNK) for chunk in content.chunks] + [(whole.hash, ObjectKind.CATALOG)]
    store.promote_staged(staging.transaction, objects)
    assert b"".join(store.get(h.object_path(k), max_size=64 * MIB) for h, k in objects[:-1]) == b"".join(pieces)
    assert store.get(whole.hash.object_path(ObjectKind.CATALOG), max_size=64 * MIB) == b"".join(pieces)


def test_nothing_is_stored_unless_everything_is_there(store: StagedStore, publishers: StagedStore) -> None:
    staging = begin(publishers)
    good, lost = write(staging, b"good"), (hash_bytes(b"lost"), ObjectKind.FILE)
    with pytest.raises(ObjectMissing, match="neither staged nor stored"):
        store.promote_staged(staging.transaction, [good, lost])
    assert stored(store) == {}
    store.put(lost[0].object_path(lost[1]), b"lost")
    store.promote_staged(staging.transaction, [good, lost])
    assert stored(store) == named([(b"good", ObjectKind.FILE), (b"lost", ObjectKind.FILE)])


def test_what_is_published_is_not_staged_again(store: StagedStore, publishers: StagedStore) -> None:
    store.put(hash_bytes(b"here").object_path(ObjectKind.FILE), b"here")
    store.put(hash_bytes(b"short").object_path(ObjectKind.FILE), b"shor")
    staging = begin(publishers)
    names = [staged_name(*write(staging, content)) for content in (b"here", b"short", b"new", b"new")]
    for name, is_staged in zip(names, (False, True, True, True), strict=True):
        assert staging.area.holds(name) is is_staged
        try:
            with store.open_staged(staging.transaction, name) as file:
                assert file.read(10)
        except ObjectMissing:
            assert not is_staged


def test_an_object_that_could_not_be_read_leaves_nothing(store: StagedStore, publishers: StagedStore) -> None:
    def broken() -> Iterable[bytes]:
        yield os.urandom(3 * MIB)
        raise ConnectionResetError

    staging = begin(publishers)
    with pytest.raises(ConnectionResetError):
        staging.write_object(broken())
    assert list(store.names()) == []


def test_many_threads_stage_at_once(store: StagedStore, publishers: StagedStore) -> None:
    staging = begin(publishers)
    with ThreadPoolExecutor(8) as pool:
        objects = list(pool.map(lambda i: write(staging, b"%d" % (i % 10) * 5000), range(40)))
    store.promote_staged(staging.transaction, objects)
    assert stored(store) == named((b"%d" % i * 5000, ObjectKind.FILE) for i in range(10))


def test_areas_are_swept_by_age(store: StagedStore, publishers: StagedStore) -> None:
    assert store.oldest_staged() is None
    assert store.sweep_staged(time.time() + 60) == 0
    used, unused = begin(publishers), begin(publishers)
    for number in range(3):
        write(used, b"%d" % number)
    oldest = store.oldest_staged()
    assert oldest is not None
    assert abs(oldest - time.time()) < 60
    assert store.sweep_staged(time.time() - 60) == 0
    assert store.sweep_staged(time.time() + 60) == 2
    assert store.oldest_staged() is None
    for area in (used, unused):
        with (
            pytest.raises(ObjectMissing),
            store.open_staged(area.transaction, staged_name(hash_bytes(b"0"), ObjectKind.FILE)),
        ):
            pass
        area.discard()


@pytest.mark.parametrize("transaction", ["", "..", "../..", "a" * 31, "A" * 32, "a" * 32 + "/"])
def test_only_transactions_have_areas(store: StagedStore, transaction: str) -> None:
    with pytest.raises(PathError):
        store.promote_staged(transaction, [])
    with pytest.raises(PathError):
        store.discard_staged(transaction)
    with pytest.raises(PathError), store.open_staged(transaction, "x"):
        pass


def test_a_transaction_without_an_area_is_empty(store: StagedStore) -> None:
    transaction = new_transaction_id()
    store.discard_staged(transaction)
    store.promote_staged(transaction, [])
    with pytest.raises(ObjectMissing):
        store.promote_staged(transaction, [(hash_bytes(b""), ObjectKind.FILE)])
