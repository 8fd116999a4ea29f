"""Every entry of every revision in the fixture repositories, compared with what the stock client showed."""

import base64
import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from softman.cvmfs import catalogs
from softman.cvmfs.errors import PathError
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.rows import Order
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.store import MemoryStore

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

_TYPES = {0o100000: "file", 0o040000: "dir", 0o120000: "symlink", 0o020000: "chardev", 0o060000: "blockdev"} | {
    0o140000: "socket",
    0o010000: "fifo",
}


def shown(entry: Entry) -> dict[str, Any]:
    """The entry in the words of the truth files, without its content."""
    group, count = entry.hardlink_group, entry.linkcount
    values: dict[str, Any] = {
        "path": os.fsdecode(entry.path) or "/",
        "type": _TYPES[entry.mode & 0o170000],
        "mode": f"{entry.permissions:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime": entry.mtime,
        "nlink": count,
        "mtime_ns": entry.mtime_ns,
        "xattrs": {key.decode(): base64.b64encode(value).decode() for key, value in entry.xattrs.items()},
        "symlink": os.fsdecode(entry.symlink),
        "raw size": entry.size,
        "hardlinks": group << 32 | count,
        "hash": entry.hash.digest.hex() if entry.hash else None,
        "chunks": [{"offset": c.offset, "size": c.size, "hash": c.hash.digest.hex()} for c in entry.chunks],
    }
    if entry.is_file:
        values["size"] = entry.size
    return values


def expected(truth: dict[str, Any]) -> dict[str, Any]:
    values = {key: truth[key] for key in ("path", "type", "mode", "uid", "gid", "mtime", "nlink")}
    values |= {"mtime_ns": truth.get("mtime_ns"), "xattrs": truth.get("xattrs", {})}
    values |= {"symlink": truth.get("symlink", ""), "raw size": truth["catalog"]["size"]}
    values |= {key: truth["catalog"].get(key) for key in ("hardlinks", "hash")}
    values["chunks"] = truth["catalog"].get("chunks", [])
    if truth["type"] == "file":
        values["size"] = truth["size"]
    return values


def content_hash(snapshot: Snapshot, entry: Entry) -> str:
    digest = hashlib.sha256()
    for piece in snapshot.read_entry(entry):
        digest.update(piece)
    return digest.hexdigest()


def test_every_revision_is_as_the_stock_client_showed_it(any_repository: "FixtureRepository", tmp_path: Path) -> None:
    files = any_repository.files
    reader = any_repository.reader(MemoryStore(files), tmp_path)
    compared = 0
    for step in any_repository.truth["steps"]:
        if "entries" not in step:
            continue
        files[".cvmfspublished"] = any_repository.manifest(step)
        with reader.snapshot() as snapshot:
            assert snapshot.manifest.revision == step["revision"]
            found = [snapshot.lookup("/"), *snapshot.walk()]
            truth = {entry["path"]: entry for entry in step["entries"]}
            assert {e.path: shown(e) for e in found} == {
                os.fsencode(p) if p != "/" else b"": expected(e) for p, e in truth.items()
            }
            for entry in found:
                assert shown(snapshot.lookup(entry.path)) == shown(entry)
                if entry.is_file:
                    assert content_hash(snapshot, entry) == truth[os.fsdecode(entry.path)]["sha256"]
            compared += len(found)
    assert compared >= 20
    assert list(tmp_path.iterdir()) == []  # a snapshot leaves nothing behind


def test_a_walk_is_depth_first_with_children_in_the_order_of_their_bytes(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    with basic_repository.reader(basic_store).snapshot() as snapshot:
        paths = [entry.path for entry in snapshot.walk()]
        keys = [path.split(b"/") for path in paths]
        assert keys == sorted(keys)
        below = [entry.path for entry in snapshot.walk("/nested")]
        assert below == [path for path in paths if path.startswith(b"/nested/")]
        assert [entry.name for entry in snapshot.listdir("/pkg")] == [b".cvmfscatalog", b"app", b"empty-nested"]


def test_a_walk_in_the_order_of_keys_is_that_of_a_listing(any_repository: "FixtureRepository", tmp_path: Path) -> None:
    with any_repository.reader(MemoryStore(any_repository.files), tmp_path).snapshot() as snapshot:
        found = list(snapshot.walk(hidden=True, order=Order.KEY))
        keys = [entry.path + b"/" if entry.is_dir else entry.path for entry in found]
        assert keys == sorted(keys)
        assert sorted(entry.path for entry in found) == sorted(entry.path for entry in snapshot.walk(hidden=True))


def test_nested_catalogs_are_fetched_only_when_they_are_entered(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    nested = ContentHash.parse("22cdfe38689d41621737e94c6c3ecfb815982d8a")
    del basic_store.files["data/22/cdfe38689d41621737e94c6c3ecfb815982d8aC"]
    with basic_repository.reader(basic_store).snapshot() as snapshot:
        assert next(iter(snapshot.catalog.nested())).hash == nested
        assert snapshot.lookup("/nested").is_mountpoint
        assert b"".join(snapshot.read_file("/files/hello.txt"))


def test_catalogs_beyond_the_limit_are_closed_and_fetched_again(
    basic_repository: "FixtureRepository",
    basic_store: MemoryStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(catalogs, "MAX_OPEN_CATALOGS", 1)
    with basic_repository.reader(basic_store, tmp_path).snapshot() as snapshot:
        first = [entry.path for entry in snapshot.walk()]
        assert [entry.path for entry in snapshot.walk()] == first
        assert len(list(tmp_path.glob("*/*.db"))) <= 3  # the root, one idle, one just entered
        walks = [snapshot.walk("/nested"), snapshot.walk("/pkg"), snapshot.walk("/soft")]
        assert sum(1 for entries in zip(*walks, strict=False) for _ in entries) > 0  # none is closed while in use


@pytest.mark.parametrize(
    "path", ["/missing", "/nested/missing", "/files/hello.txt/below", "files", "/files/", "/files/.."]
)
def test_a_path_that_is_not_there_is_an_error(
    basic_repository: "FixtureRepository", basic_store: MemoryStore, path: str
) -> None:
    with basic_repository.reader(basic_store).snapshot() as snapshot, pytest.raises(PathError):
        snapshot.lookup(path)


def test_directories_are_listed_and_files_are_read(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    with basic_repository.reader(basic_store).snapshot() as snapshot:
        with pytest.raises(PathError, match="not a directory"):
            snapshot.listdir("/files/hello.txt")
        with pytest.raises(PathError, match="not a regular file"):
            snapshot.read_file("/files")
        with pytest.raises(PathError, match="not a regular file"):
            snapshot.read_file("/links/dangling")
