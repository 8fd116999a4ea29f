"""One transaction's changes on top of another's; ``tests/property/cvmfs/test_rebase.py`` tries all sorts of trees."""

from pathlib import Path

import pytest

from softman.cvmfs.errors import ObjectMissing, PathConflict
from softman.cvmfs.format.hashes import ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.rebase import WithStaged, rebase
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Balance, Transaction
from tests.support.catalogs import stored_catalogs
from tests.support.revisions import NOW, Change, Revisions


@pytest.fixture
def revisions(tmp_path: Path) -> Revisions:
    return Revisions(tmp_path / "revisions")


def file(path: str, content: bytes = b"content", mtime: int = 5) -> Change:
    def change(transaction: Transaction, staging: Staging) -> None:
        transaction.add_file(path, staging.write_object([content]), 0o644, mtime)

    return change


def both(*changes: Change) -> Change:
    def change(transaction: Transaction, staging: Staging) -> None:
        for one in changes:
            one(transaction, staging)

    return change


def rebased(revisions: Revisions, base: Manifest, ours: Manifest, theirs: Manifest) -> Manifest:
    staging = revisions.staging()
    with revisions.open(base) as before, revisions.open(ours) as after, revisions.open(theirs) as current:
        candidate = rebase(before, after, current, staging, now=lambda: NOW, balance=revisions.balance)
    return theirs if candidate is None else revisions.accept(theirs, candidate, staging)


def test_changes_of_other_files_go_together(revisions: Revisions) -> None:
    base = revisions.build(revisions.empty, both(file("/a/1"), file("/b/1")))
    ours = revisions.build(base, both(file("/a/1", b"new"), file("/c/d/e")))
    theirs = revisions.build(base, both(file("/b/1", b"other"), file("/c/x")))
    result = rebased(revisions, base, ours, theirs)
    assert result.revision == theirs.revision + 1
    assert set(revisions.entries(result)) == {
        *(b"/a", b"/a/1", b"/b", b"/b/1", b"/c", b"/c/d", b"/c/d/e", b"/c/x"),
    }
    assert (revisions.content(result, "/a/1"), revisions.content(result, "/b/1")) == (b"new", b"other")


def test_the_same_change_twice_is_nothing_new(revisions: Revisions) -> None:
    ours = revisions.build(revisions.empty, file("/a/1"))
    theirs = revisions.build(revisions.empty, both(file("/a/1"), file("/b")))
    assert rebased(revisions, revisions.empty, ours, theirs) is theirs


CONFLICTS: dict[str, tuple[Change, Change, bytes]] = {
    "both change a file": (file("/d/f", b"x"), file("/d/f", b"y"), b"/d/f"),
    "both add a file": (file("/new", b"x"), file("/new", b"y"), b"/new"),
    "only the time differs": (file("/new", mtime=5), file("/new", mtime=6), b"/new"),
    "a file and a directory": (file("/new/x"), file("/new"), b"/new"),
    "a directory and a file": (file("/new"), file("/new/x"), b"/new"),
    "the directory is gone": (file("/d/f2"), lambda tx, _: tx.remove("/d"), b"/d/f2"),
    "the directory became a file": (file("/d/f2"), file("/d"), b"/d/f2"),
    "the file is gone": (file("/d/f", b"x"), lambda tx, _: tx.remove("/d/f"), b"/d/f"),
    "the removed directory got a file": (lambda tx, _: tx.remove("/d"), file("/d/e/f2"), b"/d/e/f2"),
    "the removed file was changed": (lambda tx, _: tx.remove("/d"), file("/d/f", b"x"), b"/d/f"),
    "both change a directory": (
        lambda tx, _: tx.add_directory("/d", 0o700),
        lambda tx, _: tx.set_xattrs("/d", {b"user.a": b"b"}),
        b"/d",
    ),
    "the root": (
        lambda tx, _: tx.set_xattrs("/", {b"user.a": b"1"}),
        lambda tx, _: tx.set_xattrs("/", {b"user.a": b"2"}),
        b"",
    ),
}


@pytest.mark.parametrize("name", CONFLICTS)
def test_a_conflict_names_the_path(revisions: Revisions, name: str) -> None:
    ours, theirs, path = CONFLICTS[name]
    base = revisions.build(revisions.empty, both(file("/d/f"), file("/d/e/f")))
    with pytest.raises(PathConflict) as caught:
        rebased(revisions, base, revisions.build(base, ours), revisions.build(base, theirs))
    assert caught.value.path == path
    assert str(caught.value).startswith((path.decode() or "/") + " ")


def test_the_later_time_of_a_directory_counts(revisions: Revisions) -> None:
    base = revisions.build(revisions.empty, lambda tx, _: tx.add_directory("/d", mtime=100))
    early = revisions.build(base, lambda tx, _: tx.add_directory("/d", mtime=200, mtime_ns=5))
    late = revisions.build(base, lambda tx, _: tx.add_directory("/d", mtime=200, mtime_ns=7))
    for ours, theirs in ((early, late), (late, early)):
        entry = revisions.entries(rebased(revisions, base, ours, theirs))[b"/d"]
        assert (entry.mtime, entry.mtime_ns) == (200, 7)
    # Attributes that one of them gave stay.
    closed = revisions.build(base, lambda tx, _: tx.add_directory("/d", 0o700, mtime=150))
    for ours, theirs in ((closed, late), (late, closed)):
        entry = revisions.entries(rebased(revisions, base, ours, theirs))[b"/d"]
        assert (entry.permissions, entry.mtime) == (0o700, 200)


def test_rules_for_catalogs_hold_for_what_the_other_one_made(revisions: Revisions) -> None:
    base = revisions.build(revisions.empty, file("/f"))
    ours = revisions.build(base, lambda tx, _: tx.set_dirtab(b"/le*\n", 5))
    theirs = revisions.build(base, file("/left/f"))
    result = rebased(revisions, base, ours, theirs)
    assert stored_catalogs(result.root_hash, revisions.store).paths == {b"", b"/left"}
    gone = revisions.build(result, lambda tx, _: tx.remove("/.cvmfsdirtab"))
    after = rebased(revisions, result, gone, revisions.build(result, file("/leek/f")))
    assert stored_catalogs(after.root_hash, revisions.store).paths == {b"", b"/left", b"/leek"}  # it came before


def test_nested_catalogs_on_both_sides(revisions: Revisions) -> None:
    base = revisions.build(revisions.empty, both(file("/a/x/1"), file("/b/1"), file("/a/.cvmfscatalog", b"")))
    ours = revisions.build(base, both(file("/a/x/2"), lambda tx, _: tx.remove("/b")))
    theirs = revisions.build(base, both(file("/a/x/.cvmfscatalog", b""), file("/a/x/3")))
    result = rebased(revisions, base, ours, theirs)
    found = stored_catalogs(result.root_hash, revisions.store)
    assert (found.paths, found.problems) == ({b"", b"/a", b"/a/x"}, [])
    assert {b"/a/x/1", b"/a/x/2", b"/a/x/3"} < found.entries.keys()
    assert b"/b" not in found.entries


def test_balancing_is_no_conflict(tmp_path: Path) -> None:
    revisions = Revisions(tmp_path / "revisions", balance=Balance(8, 3))
    base = revisions.build(revisions.empty, both(*(file(f"/a/{n}") for n in range(4))))
    ours = revisions.build(base, both(*(file(f"/a/our{n}") for n in range(4))))
    theirs = revisions.build(base, both(*(file(f"/a/their{n}") for n in range(4))))
    for one in (ours, theirs):
        assert b"/a/.cvmfsautocatalog" in revisions.entries(one)
    result = rebased(revisions, base, ours, theirs)
    found = stored_catalogs(result.root_hash, revisions.store)
    assert (found.paths, found.problems) == ({b"", b"/a"}, [])
    assert len(found.entries) == 1 + 12 + 2


def test_a_candidate_is_read_where_it_was_staged(revisions: Revisions) -> None:
    base = revisions.build(revisions.empty, file("/f"))
    staging = revisions.staging()
    with revisions.open(base) as before, Transaction(before, staging, now=lambda: NOW) as transaction:
        file("/g", b"staged")(transaction, staging)
        candidate = transaction.seal()
    assert candidate is not None
    store = WithStaged(revisions.store, staging.transaction)
    name = candidate.root_hash.object_path(ObjectKind.CATALOG)
    assert (store.exists(name), revisions.store.exists(name)) == (True, False)
    assert store.get(name, max_size=10**6)
    with Snapshot(store, revisions.following(base, candidate)) as snapshot:
        assert b"".join(snapshot.read_file("/g")) == b"staged"
    staging.discard()
    with pytest.raises(ObjectMissing):
        store.get(name, max_size=10**6)
    assert not store.exists(name)
