"""What a candidate may not do with nested catalogs, rule by rule."""

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from softman.cvmfs import inspection_delta
from softman.cvmfs.candidate import Origin, Request, inspect
from softman.cvmfs.errors import CandidateRejected
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes, path_hash
from softman.cvmfs.inspection import Findings
from softman.cvmfs.repository import Limits
from softman.cvmfs.staging import Staging, StoredObject, staged_name
from softman.cvmfs.transaction import Balance, Candidate, Transaction
from tests.support.catalogs import stored_catalogs
from tests.support.writing import Workshop, add, forge_nested, staged_catalog

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("rows_to_look_at")]

if TYPE_CHECKING:
    from tests.unit.cvmfs.conftest import FixtureRepository

CONTENT = StoredObject(hash_bytes(b"x"), 1, 9)
Look = Callable[..., Findings]


class Inspector:
    """Inspects candidates as stratum 0 does, and notes which catalogs it asks for."""

    def __init__(self, workshop: Workshop, work: Path) -> None:
        self.workshop = workshop
        self.work = work
        self.asked: list[tuple[Origin, str]] = []

    def __call__(self, candidate: Candidate, staging: Staging, **terms: object) -> Findings:
        base = self.workshop.repository.manifest()
        request = Request(
            candidate=str(candidate.root_hash),
            work=str(self.work),
            base_revision=base.revision,
            base_root_hash=str(base.root_hash),
            ttl=base.ttl,
            now=int(self.workshop.time.timestamp()),
            algorithm=base.root_hash.algorithm.value,
            max_entries=100_000,
            max_bytes=10**9,
            max_catalog_bytes=10**7,
            lease_path="",
            links_within="",
            quota_note="",
            memory_bytes=2**30,
            cpu_seconds=60,
            file_bytes=10**8,
        )
        self.asked.clear()

        def supply(origin: Origin, content: str) -> Path:
            self.asked.append((origin, content))
            parsed = ContentHash.parse(content)
            staged = staging.directory / staged_name(parsed, ObjectKind.CATALOG)
            stored = self.workshop.root / parsed.object_path(ObjectKind.CATALOG)
            copy = self.work / f"{content}.z"
            copy.write_bytes((staged if origin is Origin.CANDIDATE and staged.exists() else stored).read_bytes())
            return copy

        findings = inspect(replace(request, **terms), supply)[1]  # type: ignore[arg-type]
        assert list(self.work.iterdir()) == []
        return findings

    @property
    def read(self) -> int:
        """How many of the candidate's catalogs it read."""
        return sum(origin is Origin.CANDIDATE for origin, _ in self.asked)


@pytest.fixture(params=[inspection_delta.MAX_ROWS, 0], ids=["the difference", "all rows"])
def rows_to_look_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways must come to the same verdict."""
    monkeypatch.setattr(inspection_delta, "MAX_ROWS", request.param)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """With nested catalogs /n, /n/deep, /n/other and /side in revision 2. Nothing is committed here."""
    workshop = Workshop(tmp_path_factory.mktemp("nested") / "repository")
    workshop.create()

    def change(transaction: Transaction, staging: Staging) -> None:
        for directory in ("/n", "/n/deep", "/n/other", "/side"):
            transaction.add_file(directory + "/.cvmfscatalog", staging.write_file([b""]), 0o644, 5)
            transaction.add_file(directory + "/d/f", staging.write_file([b"x"]), 0o644, 5, xattrs={b"user.a": b"1"})
        transaction.add_file("/n/plain/d/f", staging.write_file([b"x"]), 0o644, 5)

    workshop.publish(change)
    return workshop


@pytest.fixture
def inspector(workshop: Workshop, tmp_path: Path) -> Inspector:
    return Inspector(workshop, tmp_path)


def deep_change(transaction: Transaction, staging: Staging) -> None:
    transaction.add_file("/n/deep/new", staging.write_file([b"new"]), 0o644, 5)


def test_only_what_changed_is_read(workshop: Workshop, inspector: Inspector) -> None:
    candidate, staging = workshop.candidate(deep_change)
    findings = inspector(candidate, staging)
    assert inspector.read == 3
    assert len(inspector.asked) == 6
    base = stored_catalogs(workshop.repository.manifest().root_hash, workshop.store)
    assert findings.entries == base.counters[b""].total.entries + 1
    catalogs = [name for name in findings.objects if name.endswith("C")]
    assert (len(catalogs), len(findings.objects)) == (2, 3)


def split_above(tx: Transaction, _: Staging) -> None:
    tx.remove("/n/.cvmfscatalog")
    tx.add_file("/n/plain/.cvmfscatalog", CONTENT, 0o644, 5)


def replace_by_another(tx: Transaction, _: Staging) -> None:
    tx.remove("/side")
    tx.add_file("/side/.cvmfscatalog", CONTENT, 0o644, 5)


def add_hard_links(tx: Transaction, _: Staging) -> None:
    for number in range(3):
        tx.add_hardlink(f"/n/d/g{number}", "/n/d/f")


CHANGES: dict[str, Callable[[Transaction, Staging], None]] = {
    "remove all": lambda tx, _: tx.remove("/n"),
    "remove one": lambda tx, _: tx.remove("/n/other"),
    "merge": lambda tx, _: tx.remove("/n/.cvmfscatalog"),
    "merge the inner": lambda tx, _: tx.remove("/n/deep/.cvmfscatalog"),
    "split": lambda tx, _: tx.add_file("/n/plain/.cvmfscatalog", CONTENT, 0o644, 5),
    "split above": split_above,
    "move": lambda tx, _: tx.rename("/n", "/side/n"),
    "replace": replace_by_another,
    "attributes": lambda tx, _: tx.add_directory("/n/deep", 0o700, 9, {b"user.b": b"c"}),
    "dirtab": lambda tx, _: tx.set_dirtab(b"/*/d\n", 5),
    "hard links": add_hard_links,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_accepted(
    workshop: Workshop, inspector: Inspector, change: Callable[[Transaction, Staging], None]
) -> None:
    inspector(*workshop.candidate(change))


DEEP = path_hash(b"/n/deep")
ROW = f"md5path_1={DEEP[0]} AND md5path_2={DEEP[1]}"
FORGED = {
    "trigger": (["CREATE TRIGGER t AFTER INSERT ON catalog BEGIN SELECT 1; END"], "tables"),
    "no prefix": (["DELETE FROM properties WHERE key='root_prefix'"], "root_prefix"),
    "other prefix": (["UPDATE properties SET value='/n/deeper' WHERE key='root_prefix'"], "root_prefix"),
    "revision": (["UPDATE properties SET value=9 WHERE key='revision'"], "revision 9"),
    "previous": ([f"UPDATE properties SET value='{'a' * 40}' WHERE key='previous_revision'"], "aaa"),
    "ttl": (["INSERT INTO properties VALUES ('TTL', 5)"], "TTL"),
    "past": (["UPDATE properties SET value=5 WHERE key='last_modified'"], "modified at 5"),
    "schema revision": (["UPDATE properties SET value='6' WHERE key='schema_revision'"], "schema_revision"),
    "counter": (["UPDATE statistics SET value=value+1 WHERE counter='self_regular'"], "self_regular"),
    "subtree": (["UPDATE statistics SET value=value+1 WHERE counter='subtree_dir'"], "subtree_dir"),
    "sum not told above": (
        [
            "DELETE FROM catalog WHERE name='new'",
            "UPDATE statistics SET value=2 WHERE counter='self_regular'",
            "UPDATE statistics SET value=1 WHERE counter='self_file_size'",
        ],
        "subtree_",
    ),
    "no marker": (["UPDATE catalog SET flags=12, mode=41471 WHERE name='.cvmfscatalog'"], "marks a nested catalog"),
    "marker elsewhere": (["UPDATE catalog SET name='.cvmfscatalog' WHERE name='f'"], "marks a nested catalog"),
    "marker gone": (
        [
            "DELETE FROM catalog WHERE name='.cvmfscatalog'",
            "UPDATE statistics SET value=value-1 WHERE counter='self_regular'",
        ],
        "no marker",
    ),
    "root is no root": ([f"UPDATE catalog SET flags=1 WHERE {ROW}"], "differ|its place"),
    "root is hidden": ([f"UPDATE catalog SET flags=flags|32768 WHERE {ROW}"], "differ"),
    "root mode": ([f"UPDATE catalog SET mode=16832 WHERE {ROW}"], "differ"),
    "root owner": ([f"UPDATE catalog SET uid=5 WHERE {ROW}"], "differ"),
    "root time": ([f"UPDATE catalog SET mtime=1 WHERE {ROW}"], "differ"),
    "root links": ([f"UPDATE catalog SET hardlinks=7 WHERE {ROW}"], "as many links"),
    "root name": ([f"UPDATE catalog SET name='deeq' WHERE {ROW}"], "not filed"),
    "root parent": ([f"UPDATE catalog SET parent_1=0, parent_2=0 WHERE {ROW}"], "not filed"),
    "no root": ([f"DELETE FROM catalog WHERE {ROW}"], "no parent directory"),
    "a second root": (["UPDATE catalog SET flags=33 WHERE name='d'"], "its place"),
    "set-uid": (["UPDATE catalog SET mode=mode|2048 WHERE name='new'"], "set-id"),
    "owner": (["UPDATE catalog SET uid=7 WHERE name='new'"], "7:0"),
    "mountpoint": (["UPDATE catalog SET flags=3 WHERE name='d'"], "parent directory"),
    "loop": (
        [
            "INSERT INTO nested_catalogs SELECT '/n', 'aa' || substr(hex(randomblob(19)), 1), 5",
            "UPDATE statistics SET value=1 WHERE counter='self_nested'",
        ],
        "breaks the format|outside of",
    ),
    "outside": (
        [
            f"INSERT INTO nested_catalogs VALUES ('/side', '{'a' * 40}', 5)",
            "UPDATE statistics SET value=1 WHERE counter='self_nested'",
        ],
        "outside of",
    ),
    "bind": ([f"INSERT INTO bind_mountpoints VALUES ('/n/deep/d', '{'a' * 40}', 5)"], "bind mountpoint"),
}


@pytest.mark.parametrize(("sql", "reason"), FORGED.values(), ids=FORGED)
def test_what_is_refused(workshop: Workshop, inspector: Inspector, sql: list[str], reason: str) -> None:
    candidate, staging = workshop.candidate(deep_change)
    forged = forge_nested(workshop, candidate, staging, "/n/deep", *sql)
    with pytest.raises(CandidateRejected, match=reason):
        inspector(forged, staging)


REGISTERED = {
    "size": ("UPDATE nested_catalogs SET size=size+1 WHERE path='/n'", "bytes, not the"),
    "smaller": ("UPDATE nested_catalogs SET size=size-1 WHERE path='/n'", "more than"),
    "no size": ("UPDATE nested_catalogs SET size=0 WHERE path='/n'", "0 bytes is not accepted"),
    "too large": ("UPDATE nested_catalogs SET size=100000000 WHERE path='/n'", "not accepted"),
    "hash": ("UPDATE nested_catalogs SET sha1='x' WHERE path='/n'", "breaks the format"),
    "letter": ("UPDATE nested_catalogs SET sha1=sha1||'C' WHERE path='/n'", "breaks the format"),
    "side is not there": ("UPDATE nested_catalogs SET path='/aside' WHERE path='/side'", "without a mountpoint"),
    "side becomes n": (
        """UPDATE nested_catalogs SET (sha1, size) = (SELECT sha1, size FROM nested_catalogs WHERE path='/n')
        WHERE path='/side'""",
        "made for its place|root_prefix",
    ),
    "mountpoint mode": ("UPDATE catalog SET mode=16832 WHERE name='n'", "differ"),
    "unchanged mountpoint": ("UPDATE catalog SET mtime=9 WHERE name='side'", "not the catalog there"),
    "mountpoint": ("UPDATE catalog SET flags=1 WHERE name='n'", "as many links"),
    "subtree": ("UPDATE statistics SET value=value-1 WHERE counter='subtree_regular'", "subtree_regular"),
}


@pytest.mark.parametrize(("sql", "reason"), REGISTERED.values(), ids=REGISTERED)
def test_what_the_root_may_not_say(workshop: Workshop, inspector: Inspector, sql: str, reason: str) -> None:
    candidate, staging = workshop.candidate(deep_change)
    forged = forge_nested(workshop, candidate, staging, "/n/deep", registered=sql)
    with pytest.raises(CandidateRejected, match=reason):
        inspector(forged, staging)


def test_an_old_catalog_is_not_brought_back(workshop: Workshop, inspector: Inspector) -> None:
    """A catalog of another revision at its own place: inspected like any other, and out of line."""
    candidate, staging = workshop.candidate(deep_change)
    again, other = workshop.candidate(lambda tx, _: tx.add_file("/side/new", CONTENT, 0o644, 5))
    with closing(staged_catalog(workshop, other, again.root_hash)) as connection:
        text, size = connection.execute("SELECT sha1, size FROM nested_catalogs WHERE path='/side'").fetchone()
    staged = other.directory / staged_name(ContentHash.parse(text), ObjectKind.CATALOG)
    (staging.directory / staged.name).write_bytes(staged.read_bytes())
    sql = f"UPDATE nested_catalogs SET sha1='{text}', size={size} WHERE path='/side'"
    forged = forge_nested(workshop, candidate, staging, "/n/deep", registered=sql)
    with pytest.raises(CandidateRejected, match="subtree_regular"):
        inspector(forged, staging)


def test_hard_links_must_agree(workshop: Workshop, inspector: Inspector) -> None:
    def change(tx: Transaction, staging: Staging) -> None:
        stored = staging.write_file([bytes(100), b"x" * 50], threshold=50, chunk_size=50)
        tx.add_file("/n/deep/one", stored, 0o644, 5)
        tx.add_hardlink("/n/deep/two", "/n/deep/one")
        tx.add_file("/n/deep/d/three", stored, 0o644, 5)
        tx.add_hardlink("/n/deep/d/four", "/n/deep/d/three")

    candidate, staging = workshop.candidate(change)
    inspector(candidate, staging)
    key = path_hash(b"/n/deep/two")
    for sql, reason in (
        ("UPDATE catalog SET mtime=6 WHERE name='two'", "members differ"),
        ("UPDATE catalog SET xattr=x'010102016162' WHERE name='two'", "members differ"),
        ("UPDATE catalog SET hardlinks=(hardlinks & 0xffffffff) | (1 << 32) WHERE hardlinks >> 32 = 2", "another"),
        (f"UPDATE chunks SET hash=randomblob(20) WHERE md5path_1={key[0]} AND offset=0", "different chunks"),
        ("UPDATE catalog SET hardlinks=hardlinks+1 WHERE name='two'", "members"),
    ):
        forged = forge_nested(workshop, candidate, staging, "/n/deep", sql)
        with pytest.raises(CandidateRejected, match=reason):
            inspector(forged, staging)


def test_the_lease_path(workshop: Workshop, inspector: Inspector) -> None:
    candidate, staging = workshop.candidate(deep_change)
    for lease in ("/n", "/n/deep"):
        inspector(candidate, staging, lease_path=lease)
    for lease in ("/n/deep/d", "/side", "/n/other"):
        with pytest.raises(CandidateRejected, match="outside"):
            inspector(candidate, staging, lease_path=lease)
    for name, lease in (("split", "/n/plain"), ("remove one", "/n/other"), ("merge the inner", "/n/deep")):
        candidate, staging = workshop.candidate(CHANGES[name])
        inspector(candidate, staging, lease_path=lease)
        with pytest.raises(CandidateRejected, match="outside"):
            inspector(candidate, staging, lease_path="/side")


def test_quotas(workshop: Workshop, inspector: Inspector) -> None:
    candidate, staging = workshop.candidate(deep_change)
    entries = inspector(candidate, staging).entries
    inspector(candidate, staging, max_entries=entries)
    with pytest.raises(CandidateRejected, match="quota"):
        inspector(candidate, staging, max_entries=entries - 1)
    with pytest.raises(CandidateRejected, match="quota"):
        inspector(candidate, staging, max_bytes=1)


def test_stock_entries_may_move_between_catalogs(basic_repository: "FixtureRepository", tmp_path: Path) -> None:
    """Special files, owners and set-id bits that the stock tools made stay accepted when a catalog is split."""
    store = basic_repository.unpack(tmp_path)
    workshop = Workshop(store.root, basic_repository.name, basic_repository.keys, basic_repository.now)
    work = tmp_path / "work"
    work.mkdir()

    def change(tx: Transaction, staging: Staging) -> None:
        empty = staging.write_file([b""])
        for directory in ("/special", "/hardlinks", "/files", "/soft"):
            tx.add_file(directory + "/.cvmfscatalog", empty, 0o644, 5)
        tx.remove("/nested/.cvmfscatalog")
        tx.remove("/nested/deep-renamed/.cvmfscatalog")

    candidate, staging = workshop.candidate(change)
    Inspector(workshop, work)(candidate, staging)
    forged = forge_nested(workshop, candidate, staging, "/special", "UPDATE catalog SET mode=mode|2048 WHERE flags=20")
    with pytest.raises(CandidateRejected, match="set-id"):
        Inspector(workshop, work)(forged, staging)


def test_the_process_asks_for_what_it_needs(tmp_path: Path) -> None:
    """End to end: the process of its own, the store, the next revision; and a second one on top."""
    workshop = Workshop(tmp_path / "repository")
    workshop.create()

    def change(tx: Transaction, staging: Staging) -> None:
        tx.add_file("/a/b/.cvmfscatalog", staging.write_file([b""]), 0o644, 5)
        tx.add_file("/a/b/c/.cvmfscatalog", staging.write_file([b""]), 0o644, 5)

    workshop.publish(change)
    workshop.publish(add("/a/b/c/f", b"one"))
    candidate, staging = workshop.candidate(add("/a/b/c/f", b"two"))
    (lost,) = [
        path
        for path in staging.directory.glob("*C")
        if path.name != staged_name(candidate.root_hash, ObjectKind.CATALOG) and path.stat().st_size
    ][:1]
    kept = lost.read_bytes()
    for data in (None, kept[:-1], b"x"):
        lost.unlink(missing_ok=True) if data is None else lost.write_bytes(data)
        with pytest.raises(CandidateRejected):
            workshop.commit(candidate, staging)
    lost.write_bytes(kept)
    with pytest.raises(CandidateRejected, match="more than"):
        workshop.commit(candidate, staging, Limits(max_catalog_bytes=5000))
    manifest = workshop.commit(candidate, staging)
    catalogs = stored_catalogs(manifest.root_hash, workshop.store)
    assert (catalogs.problems, catalogs.paths) == ([], {b"", b"/a/b", b"/a/b/c"})
    with workshop.reader().snapshot() as snapshot:
        assert b"".join(snapshot.read_file("/a/b/c/f")) == b"two"


def test_rules_and_limits_hold_for_later_revisions(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path / "repository")
    workshop.create()
    workshop.publish(lambda tx, _: tx.set_dirtab(b"/software/*\n!*/tmp\n", 5))
    workshop.publish(add("/software/gcc/f"))
    workshop.publish(add("/software/tmp/f"))
    workshop.publish(lambda tx, _: tx.remove("/software/gcc/.cvmfscatalog"))  # comes back, as the rule still holds
    manifest = workshop.repository.manifest()
    assert stored_catalogs(manifest.root_hash, workshop.store).paths == {b"", b"/software/gcc"}
    workshop.publish(lambda tx, _: tx.remove("/.cvmfsdirtab"))
    workshop.publish(lambda tx, _: tx.remove("/software/gcc/.cvmfscatalog"))
    workshop.publish(add("/software/clang/f"))
    manifest = workshop.repository.manifest()
    assert stored_catalogs(manifest.root_hash, workshop.store).paths == {b""}

    staging = workshop.staging()
    with (
        workshop.reader().snapshot() as snapshot,
        Transaction(snapshot, staging, now=workshop.now, balance=Balance(40, 10)) as transaction,
    ):
        stored = staging.write_file([b"x"])
        for number in range(200):
            transaction.add_file(f"/data/{number % 9}/{number}", stored, 0o644, 5)
        candidate = transaction.seal()
    assert candidate is not None
    catalogs = stored_catalogs(workshop.commit(candidate, staging).root_hash, workshop.store)
    assert catalogs.problems == []
    assert all(10 <= counters.own.entries <= 40 for counters in catalogs.counters.values())
