"""``with repository.transaction() as tx``: published on leaving the block, or not at all."""

import io
import os
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from softman.cvmfs.errors import CandidateIncomplete, FormatError, PathConflict, PathError, SourceError, TagError
from softman.cvmfs.format.entry import Chunk
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind, hash_bytes
from softman.cvmfs.format.objects import compress
from softman.cvmfs.integrity import Extent, check_repository
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository, Retention, Tagging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.store.memory import MemoryStore
from softman.cvmfs.transaction import Balance
from tests.support.writing import NAME, START, Workshop, keys

NOTHING_KEPT = Retention(revisions=0, age=None)


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    made = Workshop(tmp_path / "repository")
    made.create()
    return made


def shown(workshop: Workshop) -> dict[str, bytes]:
    """All files and links, through the verifying reader."""
    with workshop.reader().snapshot() as snapshot:
        return {
            os.fsdecode(e.path): e.symlink or b"".join(snapshot.read_entry(e)) for e in snapshot.walk() if not e.is_dir
        }


def areas(workshop: Workshop) -> list[Path]:
    return list((workshop.root / "data" / "txn").iterdir())


def test_content_from_everywhere(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "file").write_bytes(b"from a directory")
    (tmp_path / "link").symlink_to("target")
    with tarfile.open(tmp_path / "archive.tar", "w") as archive:
        archive.add(tmp_path / "tree", arcname=".")
    with workshop.repository.transaction(tagging=Tagging("v1")) as tx:
        tx.add_bytes("/bytes", b"some")
        tx.add_stream("/deep/down/stream", io.BytesIO(b"from a file"))
        tx.add_stream("/pieces", iter([b"one", b"two"]))
        tx.add_path("/one", tmp_path / "tree" / "sub" / "file")
        tx.add_path("/link", tmp_path / "link")
        report = tx.add_tree("/tree", tmp_path / "tree")
        tx.add_tree("/tar", tmp_path / "archive.tar")
    assert report.files == 1
    assert tx.result is not None
    assert (tx.result.manifest.revision, tx.result.is_new) == (2, True)
    assert shown(workshop) == {
        "/bytes": b"some",
        "/deep/down/stream": b"from a file",
        "/pieces": b"onetwo",
        "/one": b"from a directory",
        "/link": b"target",
        "/tree/sub/file": b"from a directory",
        "/tar/sub/file": b"from a directory",
    }
    assert workshop.repository.history().tag("v1") is not None
    assert areas(workshop) == []


def test_replacing_removing_and_renaming(workshop: Workshop) -> None:
    with workshop.repository.transaction() as tx:
        for name in ("a", "b", "c"):
            tx.add_bytes(f"/d/{name}", name.encode())
    with workshop.repository.transaction() as tx:
        tx.add_bytes("/d/a", b"replaced", 0o600, 12)
        tx.remove("/d/b")
        tx.rename("/d/c", "/e/c")
    assert shown(workshop) == {"/d/a": b"replaced", "/e/c": b"c"}
    with workshop.reader().snapshot() as snapshot:
        entry = snapshot.lookup("/d/a")
        assert (entry.permissions, entry.mtime, entry.mtime_ns) == (0o600, 12, None)


def test_an_error_discards_everything(workshop: Workshop) -> None:
    with pytest.raises(KeyError), workshop.repository.transaction() as tx:  # noqa: PT012 - the block is the point
        tx.add_bytes("/file", b"content")
        raise KeyError
    assert tx.result is None
    assert shown(workshop) == {}
    assert workshop.repository.manifest().revision == 1
    assert areas(workshop) == []


def test_nothing_is_published_when_nothing_differs(workshop: Workshop) -> None:
    with workshop.repository.transaction() as tx:
        tx.add_bytes("/file", b"content", mtime=1)
        tx.remove("/file")
    assert tx.result is not None
    assert (tx.result.manifest.revision, tx.result.is_new) == (1, False)


def test_a_grafted_object_must_be_stored(workshop: Workshop) -> None:
    stored = compress(b"content")
    content = hash_bytes(stored)
    with pytest.raises(CandidateIncomplete), workshop.repository.transaction() as tx:
        tx.graft("/file", content, 7, 0o644, 1)
    workshop.store.put(content.object_path(ObjectKind.FILE), stored)
    workshop.store.put(content.object_path(ObjectKind.CHUNK), stored)
    with workshop.repository.transaction() as tx:
        tx.graft("/file", content, 7, 0o644, 1)
        tx.graft("/chunked", [Chunk(0, 7, content), Chunk(7, 7, content)], 14, 0o644, 1)
    assert shown(workshop) == {"/file": b"content", "/chunked": b"contentcontent"}


def test_somebody_was_faster_elsewhere(workshop: Workshop) -> None:
    with workshop.repository.transaction() as tx:
        tx.add_bytes("/late/1", b"late")
        with workshop.repository.transaction() as other:
            other.add_bytes("/early", b"early")
    assert tx.result is not None
    assert (tx.result.manifest.revision, tx.result.is_new) == (3, True)
    assert shown(workshop) == {"/early": b"early", "/late/1": b"late"}
    assert areas(workshop) == []
    extent = Extent(content=True, unreferenced=True)
    found = check_repository(
        workshop.store, NAME, [keys().public_key], now=workshop.now, extent=extent, storage=workshop.store
    )
    assert [problem for problem in found if not problem.is_harmless] == []


def test_somebody_was_faster_at_the_same_path(workshop: Workshop) -> None:
    with pytest.raises(PathConflict, match=r"^/same/file "), workshop.repository.transaction() as tx:  # noqa: PT012
        tx.add_bytes("/same/file", b"late")
        with workshop.repository.transaction() as other:
            other.add_bytes("/same/file", b"early")
    assert shown(workshop) == {"/same/file": b"early"}
    assert areas(workshop) == []


def test_somebody_did_the_same(workshop: Workshop) -> None:
    with workshop.repository.transaction() as tx:
        tx.add_bytes("/file", b"content", mtime=1)
        with workshop.repository.transaction() as other:
            other.add_bytes("/file", b"content", mtime=1)
            other.add_bytes("/more", b"content", mtime=1)
    assert tx.result is not None
    assert (tx.result.manifest.revision, tx.result.is_new) == (2, False)


@pytest.mark.slow
def test_many_at_once(workshop: Workshop) -> None:
    """Each publishes to a directory of its own; nothing that anybody published is lost."""
    repositories = [Repository(LocalStore(workshop.root), NAME, workshop.keys, now=workshop.now) for _ in range(4)]
    start = threading.Barrier(len(repositories))

    def work(number: int) -> None:
        for turn in range(3):
            with repositories[number].transaction() as tx:
                tx.add_bytes(f"/{number}/{turn}", b"%d" % turn)
                if not turn:
                    start.wait(timeout=60)  # all of them have the same base

    with ThreadPoolExecutor(len(repositories)) as pool:
        list(pool.map(work, range(len(repositories))))
    assert shown(workshop) == {f"/{number}/{turn}": b"%d" % turn for number in range(4) for turn in range(3)}
    assert workshop.repository.manifest().revision == 13


def test_nothing_is_stored_that_is_not_needed(workshop: Workshop) -> None:
    with workshop.repository.transaction(balance=Balance()) as tx:
        tx.add_bytes("/file", b"content")
    extent = Extent(unreferenced=True)
    found = check_repository(
        workshop.store, NAME, [keys().public_key], now=workshop.now, extent=extent, storage=workshop.store
    )
    assert list(found) == []


def test_a_tag_that_is_taken_stops_it(workshop: Workshop) -> None:
    for error in (False, True):
        if error:
            with pytest.raises(TagError), workshop.repository.transaction(tagging=Tagging("v1")) as tx:
                tx.add_bytes("/file", b"two")
        else:
            with workshop.repository.transaction(tagging=Tagging("v1")) as tx:
                tx.add_bytes("/file", b"one")
    assert shown(workshop) == {"/file": b"one"}


def test_what_cannot_be_added_is_refused_before_anything_is_stored(workshop: Workshop, tmp_path: Path) -> None:
    before = sorted(workshop.store.names())
    os.mkfifo(tmp_path / "fifo")
    with workshop.repository.transaction() as tx:
        for path in ("", "relative", "/a/.cvmfscatalog/b", "/.cvmfsother"):
            with pytest.raises(PathError):
                tx.add_bytes(path, b"content")
        with pytest.raises(SourceError):
            tx.add_path("/fifo", tmp_path / "fifo")
        with pytest.raises(SourceError):
            tx.add_path("/none", tmp_path / "none")
        with pytest.raises(FormatError):
            tx.add_bytes("/.cvmfsdirtab", b"no rule")
    assert sorted(workshop.store.names()) == before


def test_rules_are_followed_wherever_they_come_from(workshop: Workshop) -> None:
    with workshop.repository.transaction() as tx:
        tx.add_stream("/.cvmfsdirtab", [b"/soft", b"/*\n"], mtime=5)
        tx.add_bytes("/soft/one/file", b"content")
    with workshop.reader().snapshot() as snapshot:
        assert [nested.path for nested in snapshot.catalog.nested()] == [b"/soft/one"]


def test_collections_spare_what_a_transaction_counts_on(workshop: Workshop) -> None:
    with workshop.repository.transaction() as tx:
        tx.add_bytes("/old", b"old")
    with workshop.repository.transaction() as tx:
        tx.remove("/old")
    workshop.time += timedelta(days=1)
    with workshop.repository.transaction() as tx:
        tx.add_bytes("/new", b"new")
        tx.add_bytes("/old", b"old")  # stored already
        assert workshop.repository.collect_garbage(NOTHING_KEPT, unreferenced=True).young > 0
    assert shown(workshop) == {"/new": b"new", "/old": b"old"}


def old_object(workshop: Workshop, content: bytes) -> ContentHash:
    """An object that no revision refers to, stored long ago."""
    stored = compress(content)
    found = hash_bytes(stored)
    workshop.store.put(found.object_path(ObjectKind.FILE), stored)
    os.utime(workshop.root / found.object_path(ObjectKind.FILE), (0, 1_000_000_000))
    return found


@pytest.mark.parametrize("through_tree", [False, True])
def test_an_old_object_that_goes_meanwhile_is_noticed(
    workshop: Workshop, tmp_path: Path, *, through_tree: bool
) -> None:
    """A collection that began before the transaction may still take what nobody refers to."""
    found = old_object(workshop, b"content")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    with pytest.raises(CandidateIncomplete), workshop.repository.transaction() as tx:  # noqa: PT012
        if through_tree:
            tx.add_tree("/tree", tmp_path / "tree")
        else:
            tx.add_bytes("/file", b"content")
        workshop.store.delete(found.object_path(ObjectKind.FILE))
    assert shown(workshop) == {}


def test_an_area_that_was_swept_protects_no_more(workshop: Workshop) -> None:
    area = workshop.store.begin_direct()
    area.confirm(HashAlgorithm.SHA1)
    workshop.store.discard_staged(area.transaction)
    with pytest.raises(CandidateIncomplete, match="swept"):
        area.confirm(HashAlgorithm.SHA1)


def test_an_object_that_was_cut_short_is_written_again(workshop: Workshop) -> None:
    found = old_object(workshop, b"content")
    place = workshop.root / found.object_path(ObjectKind.FILE)
    place.write_bytes(place.read_bytes()[:-1])
    with workshop.repository.transaction() as tx:
        tx.add_bytes("/file", b"content")
    assert shown(workshop) == {"/file": b"content"}


@pytest.mark.slow
def test_a_store_that_must_be_staged(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    store = MemoryStore()
    repository = Repository(store, NAME, keys(), now=lambda: START)
    repository.create(ttl=60, whitelist_days=30)
    with repository.transaction() as tx:
        tx.add_bytes("/bytes", b"some")
        tx.add_tree("/tree", tmp_path / "tree")
        with repository.transaction() as other:
            other.add_bytes("/early", b"early")
    assert tx.result is not None
    assert tx.result.manifest.revision == 3
    assert store.staged == {}
    with RepositoryReader(store, NAME, [keys().public_key], now=lambda: START).snapshot() as snapshot:
        assert {entry.path for entry in snapshot.walk()} == {b"/bytes", b"/early", b"/tree", b"/tree/file"}
