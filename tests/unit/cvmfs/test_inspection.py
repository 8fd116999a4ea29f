"""What a candidate may not do, rule by rule. The same code runs in the process of its own in ``test_repository``."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs import inspection_delta
from softman.cvmfs.candidate import Origin, Request, inspect
from softman.cvmfs.errors import CandidateRejected
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes, path_hash
from softman.cvmfs.format.objects import compress
from softman.cvmfs.inspection import MAX_CLOCK_SKEW, Findings
from softman.cvmfs.staging import Staging, StoredObject, staged_name
from softman.cvmfs.transaction import Candidate, Transaction
from tests.support.writing import START, Workshop

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("rows_to_look_at")]

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

CONTENT = StoredObject(hash_bytes(b"x"), 1, 9)
BIG = 100


@pytest.fixture(params=[inspection_delta.MAX_ROWS, 0], ids=["the difference", "all rows"])
def rows_to_look_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways must come to the same verdict."""
    monkeypatch.setattr(inspection_delta, "MAX_ROWS", request.param)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """With /old/f, /old/l, /gone in revision 2. Nothing is committed here, so all tests share it."""
    workshop = Workshop(tmp_path_factory.mktemp("inspection") / "repository")
    workshop.create()

    def change(transaction: Transaction, staging: Staging) -> None:
        transaction.add_file("/old/f", staging.write_file([b"x"]), 0o644, 5)
        transaction.add_symlink("/old/l", "f", 5)
        transaction.add_directory("/gone")

    workshop.publish(change)
    return workshop


@pytest.fixture
def look(workshop: Workshop, tmp_path: Path) -> Callable[..., Findings]:
    """Makes a candidate that adds /new/f and /new/big and removes /gone, forges it with SQL, and inspects it."""

    def change(transaction: Transaction, staging: Staging) -> None:
        transaction.add_file("/new/f", CONTENT, 0o644, 5, xattrs={b"user.a": b"b"})
        transaction.add_file("/new/big", staging.write_file([bytes(BIG)], threshold=50, chunk_size=50), 0o644, 5)
        transaction.remove("/gone")

    def look(*sql: str, **terms: object) -> Findings:
        candidate, staging = workshop.candidate(change)
        if sql:
            candidate = workshop.forge(candidate, staging, *sql)
        return inspected(workshop, candidate, staging, tmp_path, **terms)

    return look


def inspected(workshop: Workshop, candidate: Candidate, staging: Staging, tmp_path: Path, **terms: object) -> Findings:
    base = workshop.repository.manifest()
    request = Request(
        candidate=str(candidate.root_hash),
        work=str(tmp_path),
        base_revision=base.revision,
        base_root_hash=str(base.root_hash),
        ttl=base.ttl,
        now=int(workshop.time.timestamp()),
        algorithm=base.root_hash.algorithm.value,
        max_entries=1000,
        max_bytes=10**9,
        max_catalog_bytes=10**7,
        lease_path="",
        links_within="",
        quota_note="",
        memory_bytes=2**30,
        cpu_seconds=60,
        file_bytes=10**8,
    )

    def supply(origin: Origin, content: str) -> Path:
        """A copy of what is staged, else of what is stored."""
        parsed = ContentHash.parse(content)
        staged = staging.directory / staged_name(parsed, ObjectKind.CATALOG)
        stored = workshop.root / parsed.object_path(ObjectKind.CATALOG)
        copy = tmp_path / f"{content}.z"
        copy.write_bytes((staged if origin is Origin.CANDIDATE and staged.exists() else stored).read_bytes())
        return copy

    size, findings = inspect(replace(request, **terms), supply)  # type: ignore[arg-type]
    assert size == candidate.root_size
    return findings


def test_an_honest_candidate(look: Callable[..., Findings]) -> None:
    findings = look()
    assert (findings.entries, findings.bytes) == (7, 1 + 1 + BIG)
    chunk = [name for name in findings.objects if name.endswith("P")]
    assert (str(CONTENT.hash) in findings.objects, len(chunk), len(findings.objects)) == (True, 1, 2)


NEW = path_hash(b"/new/f")
FORGED = {
    # the database
    "trigger": (["CREATE TRIGGER t AFTER INSERT ON catalog BEGIN SELECT 1; END"], "tables"),
    "view": (["CREATE VIEW v AS SELECT 1"], "tables"),
    "table": (["CREATE TABLE more (a)"], "tables"),
    "index": (["CREATE INDEX i ON catalog (name)"], "tables"),
    "no index": (["DROP INDEX idx_catalog_parent"], "tables"),
    "column": (["ALTER TABLE catalog ADD COLUMN more TEXT"], "tables"),
    "types": (["UPDATE catalog SET size=1.5 WHERE name='f'"], "wrong type"),
    "blob for a name": (["UPDATE catalog SET name=x'66' WHERE name='f'"], "wrong type"),
    "row ids": (["UPDATE catalog SET rowid=1000000 WHERE name='big'"], "dense"),
    # properties
    "schema": (["UPDATE properties SET value='2.6' WHERE key='schema'"], "2.6"),
    "schema revision": (["UPDATE properties SET value='8' WHERE key='schema_revision'"], "schema_revision"),
    "revision": (["UPDATE properties SET value='9' WHERE key='revision'"], "revision 9"),
    "previous": (["UPDATE properties SET value=? WHERE key='previous_revision'".replace("?", f"'{'a' * 40}'")], "aaa"),
    "ttl": (["UPDATE properties SET value='1' WHERE key='TTL'"], "TTL"),
    "no ttl": (["DELETE FROM properties WHERE key='TTL'"], "TTL"),
    "root prefix": (["INSERT INTO properties VALUES ('root_prefix', '/x')"], "root_prefix"),
    "authorization": (["INSERT INTO properties VALUES ('voms_authz', 'x')"], "voms_authz"),
    "past": (["UPDATE properties SET value='5' WHERE key='last_modified'"], "modified at 5"),
    "future": (
        [f"UPDATE properties SET value={START.timestamp() + MAX_CLOCK_SKEW + 2:.0f} WHERE key='last_modified'"],
        "modified at",
    ),
    # counters
    "counter": (["UPDATE statistics SET value=value+1 WHERE counter='self_regular'"], "self_regular is 4, should be 3"),
    "size counter": (["UPDATE statistics SET value=value+1 WHERE counter='self_file_size'"], "self_file_size"),
    "chunk counter": (["UPDATE statistics SET value=0 WHERE counter='self_chunks'"], "self_chunks"),
    "xattr counter": (["UPDATE statistics SET value=0 WHERE counter='self_xattr'"], "self_xattr"),
    "subtree counter": (["UPDATE statistics SET value=1 WHERE counter='subtree_dir'"], "subtree_dir is 1, should be 0"),
    "missing counter": (["DELETE FROM statistics WHERE counter='self_dir'"], "self_dir"),
    "more counters": (["INSERT INTO statistics VALUES ('self_more', 1)"], "other counters"),
    # the tree
    "link count": (["UPDATE catalog SET hardlinks=9 WHERE name='new'"], "'new' does not have as many links"),
    "file links": (["UPDATE catalog SET hardlinks=2 WHERE name='big'"], "link count without being a hard link"),
    "hard link": ([f"UPDATE catalog SET hardlinks={1 << 32 | 1} WHERE name='big'"], "needs two files"),
    "false group": ([f"UPDATE catalog SET hardlinks={1 << 32 | 5} WHERE name='big'"], "group"),
    "orphan": (["UPDATE catalog SET parent_1=5 WHERE name='big'"], "no parent"),
    "below a file": (
        [
            """UPDATE catalog SET (parent_1, parent_2) =
            (SELECT md5path_1, md5path_2 FROM catalog WHERE symlink='f') WHERE name='big'"""
        ],
        "no parent directory",
    ),
    "no root": (["DELETE FROM catalog WHERE name=''"], "no parent directory"),
    "other path": ([f"UPDATE catalog SET md5path_1=7 WHERE md5path_1={NEW[0]}"], "not filed under its own path"),
    "other parent": (
        [
            """UPDATE catalog SET (parent_1, parent_2) =
            (SELECT md5path_1, md5path_2 FROM catalog WHERE name='old') WHERE name='big'"""
        ],
        "not filed under its own path",
    ),
    "slash": (["UPDATE catalog SET name='a/b' WHERE name='big'"], "cannot be the name"),
    "dot dot": (["UPDATE catalog SET name='..' WHERE name='big'"], "cannot be the name"),
    # entries
    "set-uid": (["UPDATE catalog SET mode=mode|2048 WHERE name='big'"], "set-id"),
    "set-uid on an old one": (["UPDATE catalog SET mode=mode|2048 WHERE name='f'"], "set-id"),
    "sticky": (["UPDATE catalog SET mode=mode|512 WHERE name='new'"], "sticky"),
    "mode bits": (["UPDATE catalog SET mode=mode|1048576 WHERE name='big'"], "bits"),
    "fifo": (["UPDATE catalog SET flags=20, mode=4516, hash=NULL, xattr=NULL WHERE name='f'"], "."),
    "device": (["UPDATE catalog SET mode=8630 WHERE name='big'"], "plain file"),
    "directory as file": (["UPDATE catalog SET mode=16877 WHERE name='big'"], "plain file"),
    "external": (["UPDATE catalog SET flags=flags|128 WHERE name='big'"], "."),
    "hidden": (["UPDATE catalog SET flags=flags|32768 WHERE name='big'"], "plain file"),
    "direct": (["UPDATE catalog SET flags=flags|65536 WHERE name='big'"], "plain file"),
    "nested root": (["UPDATE catalog SET flags=33 WHERE name='new'"], "its place"),
    "mountpoint": (["UPDATE catalog SET flags=3 WHERE name='new'"], "."),
    "content flags": (["UPDATE catalog SET flags=2049 WHERE name='new'"], "which only files have"),
    "uid": (["UPDATE catalog SET uid=1000 WHERE name='big'"], "1000:0"),
    "gid of an old one": (["UPDATE catalog SET gid=5 WHERE name='old'"], "0:5"),
    "algorithm": (["UPDATE catalog SET flags=flags|512 WHERE name='big'"], "SHAKE128"),
    "compression": (["UPDATE catalog SET flags=flags|4096 WHERE name='big'"], "compression"),
    "no hash": (["UPDATE catalog SET hash=NULL WHERE name='f'"], "either"),
    "both": ([f"UPDATE catalog SET hash=x'{'ab' * 20}' WHERE name='big'"], "either"),
    "short hash": (["UPDATE catalog SET hash=x'abcd' WHERE name='f'"], "20 bytes"),
    "hash of a directory": ([f"UPDATE catalog SET hash=x'{'ab' * 20}' WHERE name='new'"], "no regular file"),
    "link target": (["UPDATE catalog SET symlink='x' WHERE name='big'"], "symbolic link"),
    "link without target": (["UPDATE catalog SET symlink='' WHERE name='l'"], "symbolic link"),
    "link size": (["UPDATE catalog SET size=5 WHERE name='l'"], "size"),
    "xattr": (["UPDATE catalog SET xattr=x'05' WHERE xattr IS NOT NULL"], "version 1"),
    # chunks
    "chunk gap": (
        ["DELETE FROM chunks WHERE offset=0", "UPDATE statistics SET value=1 WHERE counter='self_chunks'"],
        "begin",
    ),
    "chunk sizes": (["UPDATE chunks SET size=40 WHERE offset=0"], "gaps"),
    "chunk of nothing": (["UPDATE chunks SET md5path_1=1"], "no chunked file"),
    "chunk of a plain file": ([f"UPDATE chunks SET md5path_1={NEW[0]}, md5path_2={NEW[1]}"], "no chunked file"),
    "chunk hash": (["UPDATE chunks SET hash='text'"], "chunks of the wrong type"),
    # other catalogs
    "nested": ([f"INSERT INTO nested_catalogs VALUES ('/new', '{'a' * 40}', 5)"], "self_nested"),
    "nested without a mountpoint": (
        [
            f"INSERT INTO nested_catalogs VALUES ('/new', '{'a' * 40}', 5)",
            "UPDATE statistics SET value=1 WHERE counter='self_nested'",
        ],
        "without a mountpoint",
    ),
    "marker": (["UPDATE catalog SET name='.cvmfscatalog' WHERE name='big'"], "marks a nested catalog"),
    "bind": ([f"INSERT INTO bind_mountpoints VALUES ('/new', '{'a' * 40}', 5)"], "bind mountpoint"),
}


@pytest.mark.parametrize(("sql", "reason"), FORGED.values(), ids=FORGED)
def test_what_is_refused(look: Callable[..., Findings], sql: list[str], reason: str) -> None:
    with pytest.raises(CandidateRejected, match=reason):
        look(*sql)


@pytest.mark.parametrize("name", [".cvmfsdirtab", ".cvmfs"])
def test_reserved_names_at_the_root(workshop: Workshop, tmp_path: Path, name: str) -> None:
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.add_directory("/x"))
    key = path_hash(b"/" + name.encode())
    candidate = workshop.forge(
        candidate, staging, f"UPDATE catalog SET name='{name}', md5path_1={key[0]}, md5path_2={key[1]} WHERE name='x'"
    )
    with pytest.raises(CandidateRejected, match="reserved"):
        inspected(workshop, candidate, staging, tmp_path)


@pytest.mark.parametrize(
    ("target", "leads_out"),
    [
        ("f", False),
        ("../f", False),
        ("../../f", True),
        ("f/../../../g", False),
        (".//.././../g", True),
        ("/cvmfs/a.example.org/../b.example.org", True),
        ("/etc/passwd", True),
        ("/cvmfs/a.example.org", False),
        ("/cvmfs/a.example.org/old/../f", False),
        ("/cvmfs/a.example.orgs", True),
        ("$(HOME)/f", True),
    ],
)
def test_where_links_may_lead(workshop: Workshop, tmp_path: Path, target: str, leads_out: bool) -> None:
    def change(transaction: Transaction, _staging: Staging) -> None:
        transaction.add_symlink("/old/new", target, 5)

    candidate, staging = workshop.candidate(change)
    inspected(workshop, candidate, staging, tmp_path)
    if leads_out:
        with pytest.raises(CandidateRejected, match="out of the repository"):
            inspected(workshop, candidate, staging, tmp_path, links_within="/cvmfs/a.example.org")
    else:
        inspected(workshop, candidate, staging, tmp_path, links_within="/cvmfs/a.example.org")


def test_quotas(look: Callable[..., Findings]) -> None:
    look(max_entries=7, max_bytes=2 + BIG)
    with pytest.raises(CandidateRejected, match="quota: 7 entries"):
        look(max_entries=6)
    with pytest.raises(CandidateRejected, match=f"quota: {2 + BIG} bytes"):
        look(max_bytes=1 + BIG)


def test_over_quota_one_may_still_remove(workshop: Workshop, tmp_path: Path) -> None:
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.remove("/old/f"))
    inspected(workshop, candidate, staging, tmp_path, max_entries=1, max_bytes=0)


def test_the_lease_path(look: Callable[..., Findings], workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(CandidateRejected, match="outside"):
        look(lease_path="/new")  # /gone is removed
    with pytest.raises(CandidateRejected, match="outside"):
        look(lease_path="/gone")
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.add_directory("/old/deeper/d"))
    for lease in ("/old", "/old/deeper"):
        inspected(workshop, candidate, staging, tmp_path, lease_path=lease)
    for lease in ("/old/deeper/d", "/ol", "/oldd"):
        with pytest.raises(CandidateRejected, match="outside"):
            inspected(workshop, candidate, staging, tmp_path, lease_path=lease)


def test_sizes(look: Callable[..., Findings]) -> None:
    with pytest.raises(CandidateRejected, match="more than 5000 bytes"):
        look(max_catalog_bytes=5000)


@pytest.mark.parametrize(
    "database",
    [b"", b"text" * 5000, b"SQLite format 3\0" + bytes(5000), b"SQLite format 3\0" + os.urandom(8000)],
    ids=["empty", "text", "header only", "noise"],
)
def test_what_is_no_database(workshop: Workshop, tmp_path: Path, database: bytes) -> None:
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.add_directory("/d"))
    candidate = workshop.replace_catalog(candidate, staging, database)
    with pytest.raises(CandidateRejected):
        inspected(workshop, candidate, staging, tmp_path)


def test_a_write_ahead_log(workshop: Workshop, tmp_path: Path) -> None:
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.add_directory("/d"))
    candidate = workshop.forge(candidate, staging, "PRAGMA journal_mode=WAL")
    with pytest.raises(CandidateRejected, match="rollback-journal"):
        inspected(workshop, candidate, staging, tmp_path)


def test_an_index_that_lies(workshop: Workshop, tmp_path: Path) -> None:
    """Rows that an index does not know: what listings show and what look-ups find would differ."""
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.add_file("/f", CONTENT, 0o644, 5))
    candidate = workshop.forge(
        candidate,
        staging,
        "PRAGMA writable_schema=ON",
        "CREATE TABLE spare (parent_1, parent_2)",
        "CREATE INDEX other ON spare (parent_1, parent_2)",
        "UPDATE sqlite_master SET rootpage=(SELECT rootpage FROM sqlite_master WHERE name='other') "
        "WHERE name='idx_catalog_parent'",
        "DELETE FROM sqlite_master WHERE name IN ('other', 'spare')",
    )
    with pytest.raises(CandidateRejected, match="damaged"):
        inspected(workshop, candidate, staging, tmp_path)


def test_damaged_pages(workshop: Workshop, tmp_path: Path) -> None:
    """Whatever is flipped: a verdict, never another error."""
    candidate, staging = workshop.candidate(lambda transaction, _: transaction.add_file("/f", CONTENT, 0o644, 5))
    forged = workshop.forge(candidate, staging)
    path = staging.directory.parent / "forged.db"
    good = path.read_bytes()
    rejected = 0
    for at in range(0, len(good), 97):
        damaged = bytearray(good)
        damaged[at] ^= 0xFF
        stored = compress(bytes(damaged))
        (staging.directory / staged_name(forged.root_hash, ObjectKind.CATALOG)).write_bytes(stored)
        try:
            inspected(workshop, forged, staging, tmp_path)
        except CandidateRejected:
            rejected += 1
    assert rejected > 10


def test_stock_entries_may_stay_as_they_are(basic_repository: "FixtureRepository", tmp_path: Path) -> None:
    """Special files, owners, set-id bits, hard links and nested catalogs made by stock tools are not our business."""
    store = basic_repository.unpack(tmp_path)
    workshop = Workshop(store.root, basic_repository.name, basic_repository.keys, basic_repository.now)

    def change(transaction: Transaction, staging: Staging) -> None:
        transaction.add_file("/files/sub/new", staging.write_file([b"new"]), 0o644, 5)
        transaction.remove("/hardlinks/d1/one")
        transaction.set_xattrs("/hardlinks/d1/g2-a", {b"user.own": b"1"})
        transaction.set_xattrs("/special/socket", {b"user.own": b"1"})
        transaction.remove("/chunked")

    candidate, staging = workshop.candidate(change)
    findings = inspected(workshop, candidate, staging, tmp_path)
    assert findings.entries > 100
    for sql, reason in (
        ("UPDATE catalog SET flags=1 WHERE name='nested' AND flags=3", "."),
        ("DELETE FROM nested_catalogs WHERE path='/nested'", "self_nested"),
        ("UPDATE nested_catalogs SET size=size+1 WHERE path='/nested'", "bytes, not the"),
        ("UPDATE nested_catalogs SET path='/nested/.' WHERE path='/nested'", "without a mountpoint"),
        ("UPDATE catalog SET mtime=1 WHERE flags=3 AND name='nested'", "mountpoint"),
        ("UPDATE catalog SET mode=mode|2048 WHERE name='socket'", "set-id"),
        ("UPDATE catalog SET size=261 WHERE name='chardev-1-3'", "."),
        ("UPDATE catalog SET mtime=1 WHERE name='three'", "members differ"),
    ):
        forged = workshop.forge(candidate, staging, sql)
        if sql.startswith("UPDATE catalog SET size=261"):
            inspected(workshop, forged, staging, tmp_path)  # a device that was a device
            continue
        with pytest.raises(CandidateRejected, match=reason):
            inspected(workshop, forged, staging, tmp_path)
