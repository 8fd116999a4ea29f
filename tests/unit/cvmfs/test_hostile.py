"""Repositories that somebody has tampered with: each is refused by the check it is meant for, with bounded work."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from softman.cvmfs.errors import (
    CertificateNotListed,
    CvmfsError,
    FormatError,
    HashMismatch,
    ManifestOutdated,
    ObjectMissing,
    PathError,
    SignatureInvalid,
    TooLarge,
    WhitelistExpired,
    WrongRepository,
)
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes, path_hash
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import compress_stock
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.store import MemoryStore

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

HOSTILE = Path(__file__).parents[2] / "data" / "cvmfs" / "hostile"
VARIANTS: dict[str, dict[str, Any]] = {v["variant"]: v for v in json.loads((HOSTILE / "truth.json").read_text())}
MEMORY_LIMIT = 16 * 1024 * 1024

# When the reader must notice: with the manifest, on opening the root catalog, or on using this path.
MANIFEST, OPEN = "manifest", "open"
EXPECTED: dict[str, tuple[str, type[CvmfsError], str]] = {
    "manifest-tampered": (MANIFEST, HashMismatch, "manifest integrity: the hash line"),
    "manifest-tampered-rehashed": (MANIFEST, SignatureInvalid, "manifest signature does not verify"),
    "manifest-foreign-key": (MANIFEST, SignatureInvalid, "manifest signature does not verify .* named by X"),
    "manifest-unsigned": (MANIFEST, SignatureInvalid, "manifest without signature"),
    "manifest-truncated": (MANIFEST, SignatureInvalid, "manifest signature has 156 bytes.*truncated"),
    "manifest-empty": (MANIFEST, FormatError, "manifest malformed: empty"),
    "manifest-wrong-name": (MANIFEST, WrongRepository, "manifest is for other.example.org"),
    "manifest-no-name": (MANIFEST, FormatError, "required field N missing"),
    "manifest-no-root": (MANIFEST, FormatError, "required field C missing"),
    "manifest-bad-hash-text": (MANIFEST, FormatError, "field C: not a content hash"),
    "whitelist-expired": (MANIFEST, WhitelistExpired, "whitelist expired at 2020-01-31"),
    "whitelist-extended": (MANIFEST, HashMismatch, "whitelist integrity: the hash line"),
    "whitelist-foreign-master": (MANIFEST, SignatureInvalid, "whitelist signature .* public master key"),
    "whitelist-wrong-name": (MANIFEST, WrongRepository, "whitelist is for other.example.org"),
    "whitelist-fingerprint-mismatch": (MANIFEST, CertificateNotListed, "fingerprint is not in the whitelist"),
    "whitelist-empty-list": (MANIFEST, CertificateNotListed, "fingerprint is not in the whitelist"),
    "whitelist-missing": (MANIFEST, ObjectMissing, r"\.cvmfswhitelist does not exist"),
    "certificate-replaced": (MANIFEST, HashMismatch, "certificate object does not match its hash"),
    "zlib-bomb-certificate": (MANIFEST, TooLarge, "certificate object too large"),
    "catalog-truncated": (OPEN, HashMismatch, "data/84/.*C does not match its hash"),
    "catalog-trailing-garbage": (OPEN, HashMismatch, "data/84/.*C does not match its hash"),
    "catalog-swapped-root": (OPEN, HashMismatch, "data/84/.*C does not match its hash"),
    "catalog-not-sqlite": (OPEN, FormatError, "not an SQLite database"),
    "catalog-future-schema": (OPEN, FormatError, "schema .*3.0"),
    "catalog-swapped-nested": ("/nested", HashMismatch, "data/22/.*C does not match its hash"),
    "catalog-nested-missing": ("/nested", ObjectMissing, "data/22/.*C does not exist"),
    "catalog-wrong-mountpoint": ("/nested", FormatError, "another path: its root_prefix is b'/pkg'"),
    "object-truncated": ("/files/numbers.txt", HashMismatch, "data/c4/.* does not match its hash"),
    "object-trailing-garbage": ("/files/numbers.txt", HashMismatch, "data/c4/.* does not match its hash"),
    "object-bitflip": ("/files/numbers.txt", HashMismatch, "data/c4/.* does not match its hash"),
    "object-missing": ("/files/numbers.txt", ObjectMissing, "data/c4/.* does not exist"),
    "catalog-short-hash": ("/files/numbers.txt", FormatError, "a content hash has 20 bytes, not 2"),
    "catalog-chunk-gap": ("/chunked/random-300000", FormatError, "chunks do not cover the file"),
    "catalog-wrong-size": ("/files/numbers.txt", TooLarge, "longer than the 100 bytes announced"),
    "zlib-bomb-file": ("/files/numbers.txt", TooLarge, "longer than the 1000 bytes announced"),
}


def overlay(files: dict[str, bytes], variant: str) -> None:
    """Lay a hostile variant over the files of the basic repository."""
    truth = VARIANTS[variant]
    folder = HOSTILE / variant
    for name in set(truth["files_replaced"]) - set(truth["bomb_object"]):
        files[name] = (folder / name).read_bytes()
    for name in truth["files_removed"]:
        del files[name]
    for name in truth["bomb_object"]:
        files[name] = gzip.decompress((HOSTILE / "bomb.z.gz").read_bytes())


def use(snapshot: Snapshot, path: str) -> None:
    """Read a file, or enter a directory."""
    if snapshot.lookup(path).is_dir:
        list(snapshot.listdir(path))
    else:
        for _piece in snapshot.read_file(path):
            pass


def test_every_variant_is_expected_somewhere() -> None:
    assert set(VARIANTS) == set(EXPECTED) | {"control-resigned", "control-resigned-catalog", "manifest-replayed"}


@pytest.mark.parametrize("variant", EXPECTED)
def test_a_hostile_variant_is_refused_by_the_check_it_is_meant_for(
    basic_repository: "FixtureRepository", basic_store: MemoryStore, variant: str, tmp_path: Path
) -> None:
    stage, error, message = EXPECTED[variant]
    overlay(basic_store.files, variant)
    reader = basic_repository.reader(basic_store, tmp_path)
    tracemalloc.start()
    try:
        if stage == MANIFEST:
            with pytest.raises(error, match=message):
                reader.manifest()
        elif stage == OPEN:
            reader.manifest()
            with pytest.raises(error, match=message):
                reader.snapshot()
        else:
            with reader.snapshot() as snapshot:
                use(snapshot, "/links" if "numbers" in stage else "/files/numbers.txt")  # the rest stays readable
                with pytest.raises(error, match=message):
                    use(snapshot, stage)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_LIMIT
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("variant", ["control-resigned", "control-resigned-catalog"])
def test_a_control_is_accepted(basic_repository: "FixtureRepository", basic_store: MemoryStore, variant: str) -> None:
    overlay(basic_store.files, variant)
    with basic_repository.reader(basic_store).snapshot() as snapshot:
        assert sum(1 for _ in snapshot.walk()) == VARIANTS[variant]["stock_client"]["entries_read"] - 1


def test_a_replayed_manifest_is_refused_once_a_newer_one_was_seen(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    genuine = basic_store.files[".cvmfspublished"]
    overlay(basic_store.files, "manifest-replayed")
    assert basic_repository.reader(basic_store).manifest().revision == 4  # on first contact nobody can know
    basic_store.files[".cvmfspublished"] = genuine
    reader = basic_repository.reader(basic_store)
    known = reader.manifest()
    assert reader.manifest() == known
    overlay(basic_store.files, "manifest-replayed")
    with pytest.raises(ManifestOutdated, match=r"revision 4.*revision 21"):
        reader.manifest()
    key = basic_repository.keys.public_key
    informed = RepositoryReader(
        basic_store, basic_repository.name, [key], now=lambda: basic_repository.now, known=known
    )
    with pytest.raises(ManifestOutdated):
        informed.manifest()


FORGED: dict[str, tuple[str, str, str]] = {
    "view": ("ALTER TABLE catalog RENAME TO c; CREATE VIEW catalog AS SELECT * FROM c", "open", "other than tables"),
    "trigger": ("CREATE TRIGGER t INSERT ON chunks BEGIN DELETE FROM catalog; END", "open", "other than tables"),
    "no properties": ("DROP TABLE properties", "open", "cannot be read"),
    "root in a subdirectory": ("INSERT INTO properties VALUES ('root_prefix', '/nested')", "open", "another path"),
    "no root entry": ("DELETE FROM catalog WHERE name=''", "open", "no entry for its own root"),
    "nested without mountpoint": ("UPDATE catalog SET flags=1 WHERE name='nested'", "/nested", "has no mountpoint"),
    "mountpoint without nested": ("DELETE FROM nested_catalogs WHERE path='/nested'", "/nested", "without a nested"),
    "nested with wrong size": ("UPDATE nested_catalogs SET size=size+1024", "/nested", "not the .* announced"),
    "nested hash with letter": ("UPDATE nested_catalogs SET sha1=sha1||'C'", "/nested", "not a content hash"),
    "nested hash a path": ("UPDATE nested_catalogs SET sha1='../../etc/passwd'", "/nested", "not a content hash"),
    "overlapping chunks": (
        "UPDATE chunks SET offset=offset-1 WHERE offset>0",
        "/chunked/random-300000",
        "do not cover",
    ),
    "no chunks": ("DELETE FROM chunks", "/chunked/random-300000", "do not cover"),
    "empty chunk": ("UPDATE chunks SET size=0 WHERE offset=0", "/chunked/random-300000", "do not cover"),
    "file without hash": ("UPDATE catalog SET hash=NULL WHERE name='hello.txt'", "/files/hello.txt", "no hash"),
    "size too large": ("UPDATE catalog SET size=14 WHERE name='hello.txt'", "/files/hello.txt", "1 bytes shorter"),
    "unknown algorithm": ("UPDATE catalog SET flags=0x704 WHERE name='hello.txt'", "/files/hello.txt", "unknown hash"),
    "unknown compression": (
        "UPDATE catalog SET flags=0x1004 WHERE name='hello.txt'",
        "/files/hello.txt",
        "unknown comp",
    ),
    "name with a slash": ("UPDATE catalog SET name='a/b' WHERE name='hello.txt'", "/files", "cannot be the name"),
    "name of the parent": ("UPDATE catalog SET name='..' WHERE name='hello.txt'", "/files", "cannot be the name"),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_signed_but_broken_catalog_is_refused_where_it_is_broken(
    basic_repository: "FixtureRepository", basic_store: MemoryStore, case: str, tmp_path: Path
) -> None:
    sql, stage, message = FORGED[case]
    basic_repository.change_catalog(basic_store.files, sql)
    reader = basic_repository.reader(basic_store, tmp_path)
    if stage == OPEN:
        with pytest.raises(FormatError, match=message):
            reader.snapshot()
    else:
        with reader.snapshot() as snapshot, pytest.raises(FormatError, match=message):
            use(snapshot, stage)
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_in_wal_mode_is_refused(basic_repository: "FixtureRepository", basic_store: MemoryStore) -> None:
    database = bytearray(root_catalog(basic_repository, basic_store))
    database[18:20] = b"\2\2"
    basic_repository.publish_catalog(basic_store.files, bytes(database))
    with pytest.raises(FormatError, match="WAL mode"):
        basic_repository.reader(basic_store).snapshot()


def test_a_root_catalog_of_another_size_than_the_manifest_says_is_refused(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    size = Manifest.from_bytes(basic_store.files[".cvmfspublished"]).manifest.root_size
    reader = basic_repository.reader(basic_store)
    basic_repository.publish(basic_store.files, root_size=size + 1)
    with pytest.raises(FormatError, match=r"not the .* announced"):
        reader.snapshot()
    basic_repository.publish(basic_store.files, root_size=size - 1)
    with pytest.raises(TooLarge):
        reader.snapshot()
    basic_repository.publish(basic_store.files, root_size=10**15)
    with pytest.raises(FormatError, match="are accepted"):
        reader.snapshot()


def test_catalogs_that_nest_in_a_loop_are_refused(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    # The nested catalog is the root catalog of before: hash and signature are right, only the place is not.
    root = Manifest.from_bytes(basic_store.files[".cvmfspublished"]).manifest
    values = f"sha1='{root.root_hash}', size={root.root_size}"
    sql = f"UPDATE nested_catalogs SET {values} WHERE path='/nested'"
    basic_repository.change_catalog(basic_store.files, sql)
    with basic_repository.reader(basic_store).snapshot() as snapshot:
        with pytest.raises(FormatError, match="another path: its root_prefix is b''"):
            list(snapshot.walk())
        with pytest.raises(FormatError, match="another path"):
            snapshot.lookup("/nested/nested/nested")


def test_a_small_object_that_inflates_to_a_huge_certificate_is_stopped(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    stored = compress_stock(b"\0" * 50_000_000)
    assert len(stored) < 64 * 1024
    basic_store.files[hash_bytes(stored).object_path(ObjectKind.CERTIFICATE)] = stored
    basic_repository.publish(basic_store.files, certificate=hash_bytes(stored))
    with pytest.raises(TooLarge, match="certificate object too large"):
        basic_repository.reader(basic_store).manifest()


def test_a_walk_ends_where_no_client_could_go(basic_repository: "FixtureRepository", basic_store: MemoryStore) -> None:
    name = "n" * 255
    parents = ["/files" + f"/{name}" * depth for depth in range(18)]
    rows = []
    for parent in parents:
        keys = (*path_hash(f"{parent}/{name}".encode()), *path_hash(parent.encode()))
        rows.append(f"({','.join(map(str, keys))},2,NULL,4096,16877,0,NULL,1,'{name}','',0,0,NULL)")
    basic_repository.change_catalog(basic_store.files, f"INSERT INTO catalog VALUES {','.join(rows)}")
    with basic_repository.reader(basic_store).snapshot() as snapshot, pytest.raises(FormatError, match="4095 bytes"):
        list(snapshot.walk("/files"))


def test_hidden_and_external_entries_are_known_for_what_they_are(
    basic_repository: "FixtureRepository", basic_store: MemoryStore
) -> None:
    basic_repository.change_catalog(
        basic_store.files,
        "UPDATE catalog SET flags=flags|0x8000 WHERE name='links';UPDATE catalog SET flags=0x84 WHERE name='hello.txt'",
    )
    with basic_repository.reader(basic_store).snapshot() as snapshot:
        assert snapshot.lookup("/links").is_hidden
        assert b"links" not in [entry.name for entry in snapshot.listdir("/")]
        assert b"links" in [entry.name for entry in snapshot.listdir("/", hidden=True)]
        assert not any(entry.path.startswith(b"/links") for entry in snapshot.walk())
        assert any(entry.path.startswith(b"/links/") for entry in snapshot.walk(hidden=True))
        with pytest.raises(PathError, match="external"):
            snapshot.read_file("/files/hello.txt")


def root_catalog(repository: "FixtureRepository", store: MemoryStore) -> bytes:
    with repository.reader(store).snapshot() as snapshot:
        return snapshot.catalog_path.read_bytes()


def test_forged_repositories_verify_as_such(basic_repository: "FixtureRepository", basic_store: MemoryStore) -> None:
    """Otherwise the tests above could pass for the wrong reason."""
    basic_repository.change_catalog(basic_store.files, "UPDATE catalog SET mtime=1 WHERE name='hello.txt'")
    with basic_repository.reader(basic_store).snapshot() as snapshot:
        assert snapshot.lookup("/files/hello.txt").mtime == 1
