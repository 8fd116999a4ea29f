"""Two transactions from one base against a model: three dictionaries of paths, merged one path after the other."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from softman.cvmfs.errors import PathConflict, PathError
from softman.cvmfs.format.entry import Chunk, Entry
from softman.cvmfs.format.hashes import hash_bytes
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.rebase import rebase
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject
from softman.cvmfs.transaction import Transaction
from tests.support.catalogs import stored_catalogs
from tests.support.revisions import NOW, TIME, Change, Revisions

MARKER = b".cvmfscatalog"
NAMES = st.sampled_from([b"a", b"b", b"a-b", b"\xff"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map(lambda names: b"/" + b"/".join(names))
FILES = st.tuples(PATHS, st.sampled_from([b"", b"", b"", b"/" + MARKER])).map(b"".join)
KINDS = st.sampled_from(["file", "file", "chunked", "directory", "link", "hardlink", "remove", "rename", "xattrs"])
STEPS = st.lists(st.tuples(KINDS, FILES, PATHS, st.integers(0, 2)), max_size=8)

Steps = Sequence[tuple[str, bytes, bytes, int]]
Tree = dict[bytes, tuple[object, ...]]


def do(steps: Steps) -> Change:
    """What ``steps`` change; those that make no sense are left out."""

    def change(transaction: Transaction, staging: Staging) -> None:
        del staging
        for kind, path, other, value in steps:
            with suppress(PathError):
                step(transaction, kind, path, other, value)

    return change


def step(transaction: Transaction, kind: str, path: bytes, other: bytes, value: int) -> None:
    match kind:
        case "file":
            content = StoredObject(hash_bytes(bytes([value])), 1, 1)
            transaction.add_file(path, content, 0o600 + value, 5)
        case "chunked":
            chunks = tuple(Chunk(i * 10, 10, hash_bytes(bytes([i, value]))) for i in range(2))
            transaction.add_file(path, ChunkedContent(chunks, 20, 5), 0o644, 5)
        case "directory":
            transaction.add_directory(path, 0o755 - value, TIME)
        case "link":
            transaction.add_symlink(path, b"$(WHERE)%d" % value, 5)
        case "hardlink":
            transaction.add_hardlink(path, path.rpartition(b"/")[0] + other[other.rindex(b"/") :])
        case "remove":
            transaction.remove(path)
        case "rename":
            transaction.rename(path, other)
        case _:
            transaction.set_xattrs(path, {b"user.x": bytes([value])} if value else {})


def shown(entry: Entry) -> tuple[object, ...]:
    content = entry.chunks or entry.hash
    return (entry.mode, content, entry.symlink, entry.xattrs, entry.flags & 1)


def groups(entries: dict[bytes, Entry]) -> set[frozenset[bytes]]:
    found: dict[tuple[bytes, int], set[bytes]] = {}
    for path, entry in entries.items():
        if entry.hardlink_group:
            found.setdefault((entry.parent, entry.hardlink_group), set()).add(path)
    return {frozenset(names) for names in found.values()}


def merged(base: Tree, ours: Tree, theirs: Tree) -> Tree | None:
    """The tree with both changes; None when they do not go together."""
    result: Tree = {}
    for path in base.keys() | ours.keys() | theirs.keys():
        old, our, their = base.get(path), ours.get(path), theirs.get(path)
        value = our if our != old else their
        if our != old and their not in (old, our):
            if old is not None or our is None or their is None or path.rpartition(b"/")[2] != MARKER:
                return None
            value = their
        if value is not None:
            result[path] = value
    for path in result:
        parent = path.rpartition(b"/")[0]
        if parent and not result.get(parent, (0,))[-1]:
            return None
    return result


def rebased(revisions: Revisions, base: Manifest, ours: Manifest, theirs: Manifest) -> Manifest:
    staging = revisions.staging()
    with revisions.open(base) as before, revisions.open(ours) as after, revisions.open(theirs) as current:
        candidate = rebase(before, after, current, staging, now=lambda: NOW, work_dir=revisions.directory)
    return theirs if candidate is None else revisions.accept(theirs, candidate, staging)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(first=STEPS, ours=STEPS, theirs=STEPS)
def test_two_changes_go_together_or_are_a_conflict(first: Steps, ours: Steps, theirs: Steps) -> None:
    revisions = Revisions(Path(tempfile.mkdtemp()))
    try:
        base = revisions.build(revisions.empty, do(first))
        our, their = revisions.build(base, do(ours)), revisions.build(base, do(theirs))
        trees = [{p: shown(e) for p, e in revisions.entries(one).items()} for one in (base, our, their)]
        expected = merged(*trees)
        event("conflict" if expected is None else "merged")
        if expected is None:
            with pytest.raises(PathConflict) as caught:
                rebased(revisions, base, our, their)
            assert caught.value.path in trees[0].keys() | trees[1].keys() | trees[2].keys()
            return
        result = rebased(revisions, base, our, their)
        assert {path: shown(entry) for path, entry in revisions.entries(result).items()} == expected
        assert stored_catalogs(result.root_hash, revisions.store).problems == []
    finally:
        revisions.close()


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(first=STEPS, ours=STEPS)
def test_a_change_elsewhere_disturbs_nothing(first: Steps, ours: Steps) -> None:
    """Then the result is what the transaction made, hard links included, and that change."""
    revisions = Revisions(Path(tempfile.mkdtemp()))
    try:
        base = revisions.build(revisions.empty, do(first))
        our, their = revisions.build(base, do(ours)), revisions.build(base, do([("file", b"/z/z", b"/z", 0)]))
        result = revisions.entries(rebased(revisions, base, our, their))
        wanted = revisions.entries(our)
        assert result.keys() - {b"/z", b"/z/z"} == wanted.keys()
        assert {p: shown(result[p]) for p in wanted} == {p: shown(wanted[p]) for p in wanted}
        assert groups(result) == groups(wanted)
    finally:
        revisions.close()
