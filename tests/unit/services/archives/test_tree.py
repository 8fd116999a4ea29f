"""A staged archive becomes a nested catalog of its own, in one transaction with everything else."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Transaction
from softman.services.archives.kinds import ArchiveKind
from softman.services.archives.limits import ArchiveLimits
from softman.services.archives.staging import stage_archive
from tests.support.tars import archive, folder, hard_link, member, symlink
from tests.support.writing import Workshop, add

MARK = {b"user.mark": b"etag"}
FIRST = archive(
    folder(b"./", 0o750),
    member(b"bin/tool", b"#!/bin/sh\n", mode=0o4755),
    hard_link(b"bin/alias", b"bin/tool"),
    hard_link(b"lib/tool", b"bin/tool"),
    symlink(b"lib/link", b"../bin/tool"),
    member(b"lib/sub/.cvmfscatalog"),
    member(b"lib/sub/noise", random.Random(5).randbytes(5000)),
    member(b".cvmfs_x", b"odd"),
    member(b"\xff", b"not UTF-8"),
)
SECOND = archive(member(b"bin/tool", b"#!/bin/bash\n", mode=0o755), member(b"new", b"new"))
Change = Callable[[Transaction, Staging], None]

pytestmark = pytest.mark.slow


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    workshop = Workshop(tmp_path / "test.example.org")
    workshop.create()
    return workshop


def put(data: bytes, *paths: bytes, xattrs: dict[bytes, bytes] = MARK) -> Change:
    def change(transaction: Transaction, staging: Staging) -> None:
        scratch = staging.directory.parent
        with stage_archive(iter([data]), ArchiveKind.TAR, staging, ArchiveLimits(), scratch=scratch) as tree:
            for path in paths:
                tree.apply(transaction, path, mtime=1_700_000_000, mtime_ns=5, xattrs=xattrs)

    return change


def shown(workshop: Workshop) -> tuple[dict[bytes, Entry], dict[bytes, bytes], set[bytes]]:
    """Entries, content, and where nested catalogs begin."""
    with workshop.reader().snapshot() as snapshot:
        entries = {entry.path: entry for entry in snapshot.walk()}
        content = {path: b"".join(snapshot.read_file(path)) for path, entry in entries.items() if entry.is_file}
    return entries, content, {path for path, entry in entries.items() if entry.flags & Flag.NESTED_MOUNTPOINT}


def test_a_tree_is_a_nested_catalog(workshop: Workshop) -> None:
    workshop.publish(put(FIRST, b"/a/x", b"/b"))
    entries, content, nested = shown(workshop)
    assert nested == {b"/a/x", b"/a/x/lib/sub", b"/b", b"/b/lib/sub"}
    for top in (b"/a/x", b"/b"):
        assert (entries[top].permissions, entries[top].mtime, entries[top].mtime_ns) == (0o750, 1_700_000_000, 5)
        assert entries[top].xattrs == MARK
        assert {p for p in content if p.startswith(top + b"/")} == {
            top + name
            for name in (
                b"/.cvmfscatalog", b"/.cvmfs_x", b"/\xff", b"/bin/tool", b"/bin/alias", b"/lib/tool",
                b"/lib/sub/.cvmfscatalog", b"/lib/sub/noise",
            )
        }  # fmt: skip
        tool, alias, copy = entries[top + b"/bin/tool"], entries[top + b"/bin/alias"], entries[top + b"/lib/tool"]
        assert content[tool.path] == content[alias.path] == content[copy.path] == b"#!/bin/sh\n"
        assert (tool.permissions, tool.linkcount, alias.linkcount, copy.linkcount) == (0o755, 2, 2, 1)
        assert (tool.mtime, copy.mtime, entries[top + b"/lib"].mtime) == (0o13000000000, 0o13000000000, 1_700_000_000)
        assert entries[top + b"/lib/link"].symlink == b"../bin/tool"
        assert not any(entry.xattrs for path, entry in entries.items() if path.startswith(top + b"/"))


def test_another_archive_replaces_all_of_the_former_one(workshop: Workshop) -> None:
    workshop.publish(put(FIRST, b"/a"))
    before = workshop.repository.manifest()
    workshop.publish(put(SECOND, b"/a", xattrs={b"user.mark": b"second"}))
    assert workshop.repository.manifest().revision == before.revision + 1
    entries, content, nested = shown(workshop)
    assert set(entries) == {b"/a", b"/a/.cvmfscatalog", b"/a/bin", b"/a/bin/tool", b"/a/new"}
    assert (content[b"/a/bin/tool"], nested) == (b"#!/bin/bash\n", {b"/a"})
    assert (entries[b"/a"].xattrs, entries[b"/a"].permissions) == ({b"user.mark": b"second"}, 0o755)


def test_it_takes_the_place_of_whatever_was_there(workshop: Workshop) -> None:
    workshop.publish(add("/file"))
    workshop.publish(add("/folder/sub/file"))
    workshop.publish(put(SECOND, b"/file", b"/folder"))
    assert set(shown(workshop)[0]) == {
        top + name
        for top in (b"/file", b"/folder")
        for name in (b"", b"/.cvmfscatalog", b"/bin", b"/bin/tool", b"/new")
    }


def test_it_goes_as_a_directory_does(workshop: Workshop) -> None:
    workshop.publish(put(FIRST, b"/a/x"))
    workshop.publish(lambda transaction, _: transaction.remove(b"/a/x"))
    assert set(shown(workshop)[0]) == {b"/a"}


def test_an_archive_in_the_place_of_another_in_one_transaction(workshop: Workshop) -> None:
    def both(transaction: Transaction, staging: Staging) -> None:
        put(FIRST, b"/a")(transaction, staging)
        put(SECOND, b"/a")(transaction, staging)

    workshop.publish(both)
    entries, _, nested = shown(workshop)
    assert (b"/a/new" in entries, b"/a/lib" in entries, nested) == (True, False, {b"/a"})


def test_a_tree_knows_whether_it_is_shown(workshop: Workshop, tmp_path: Path) -> None:
    workshop.publish(put(FIRST, b"/a"))
    others = [FIRST.replace(b"#!/bin/sh", b"#!/bin/xy"), SECOND, archive(), archive(FIRST[:-1024], member(b"more"))]
    staging = workshop.staging()
    with workshop.reader().snapshot() as snapshot, Transaction(snapshot, staging, now=workshop.now) as transaction:
        shown = []
        for data in (FIRST, *others):
            with stage_archive(iter([data]), ArchiveKind.TAR, staging, ArchiveLimits(), scratch=tmp_path) as tree:
                shown.append(tree.is_shown(transaction, b"/a"))
    assert shown == [True, False, False, False, False]


def test_hard_links_are_told_from_copies_by_what_they_show(workshop: Workshop, tmp_path: Path) -> None:
    workshop.publish(put(archive(member(b"a", b"1"), hard_link(b"b", b"a")), b"/x"))
    other = archive(member(b"a", b"1"), member(b"b", b"2"))
    staging = workshop.staging()
    with workshop.reader().snapshot() as snapshot, Transaction(snapshot, staging, now=workshop.now) as transaction:
        scratch = tmp_path
        with stage_archive(iter([other]), ArchiveKind.TAR, staging, ArchiveLimits(), scratch=scratch) as tree:
            assert not tree.is_shown(transaction, b"/x")
