"""Publishing a directory."""

import os
import random
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from softman.cvmfs.errors import PathError, SourceError
from softman.cvmfs.format.chunker import ChunkSizes, ContentChunker
from softman.cvmfs.format.entry import Compression
from softman.cvmfs.ingest import IngestOptions, Workers, open_source, publish
from softman.cvmfs.ingest import items as items_module
from softman.cvmfs.ingest.directory import DirectorySource
from tests.unit.cvmfs.ingest.conftest import Site

SMALL_CHUNKS = ChunkSizes(4096, 8192, 16384)


def test_a_tree_is_published_as_it_is(site: Site, tree: Path) -> None:
    done = site.publish(tree)
    assert (done.manifest.revision, done.is_new) == (2, True)
    entries = site.entries()
    assert set(entries) == {b"/bin", b"/bin/tool", b"/bin/link", b"/empty", b"/hollow", b"/text", b"/odd-\xff\n"}
    for path, entry in entries.items():
        status = os.lstat(os.fsencode(tree) + path)
        assert stat.S_IFMT(entry.mode) == stat.S_IFMT(status.st_mode)
        assert (entry.mtime * 10**9 + (entry.mtime_ns or 0), entry.uid, entry.gid) == (status.st_mtime_ns, 0, 0)
        if not entry.is_symlink:
            assert entry.permissions == stat.S_IMODE(status.st_mode)
    assert entries[b"/bin/link"].symlink == b"../$(ARCH)/tool"
    assert site.content("/text") == (tree / "text").read_bytes()
    assert site.content("/empty") == b""
    assert site.content(b"/odd-\xff\n") == b"odd"
    report = done.report
    assert (report.files, report.directories, report.links, report.size) == (4, 3, 1, 10_013)
    assert (report.read, report.objects, report.unchanged, report.refusals) == (10_013, 4, 0, 0)
    assert site.staged() == []


def test_processes_do_the_same(site: Site, tree: Path) -> None:
    with Workers(processes=True, count=2) as workers:
        replace(site, workers=workers).publish(tree)
    assert len(site.entries()) == 7
    assert site.content("/text") == (tree / "text").read_bytes()


def test_only_what_changed_is_read_again(site: Site, tree: Path) -> None:
    site.publish(tree)
    again = site.publish(tree)
    assert (again.is_new, again.manifest.revision) == (False, 2)
    assert (again.report.read, again.report.unchanged, again.report.files) == (0, 4, 4)
    (tree / "text").write_bytes(b"other")
    (tree / "bin" / "tool").chmod(0o700)
    third = site.publish(tree)
    assert (third.report.read, third.report.unchanged) == (5, 3)
    assert site.content("/text") == b"other"
    assert site.entries()[b"/bin/tool"].permissions == 0o700


def test_content_is_compared_when_asked_for(site: Site, tree: Path) -> None:
    site.publish(tree)
    status = (tree / "text").stat()
    (tree / "text").write_bytes(b"SOME TEXT\n" * 1000)
    os.utime(tree / "text", ns=(0, status.st_mtime_ns))
    assert site.publish(tree).is_new is False
    done = site.publish(tree, options=IngestOptions(compare_content=True))
    assert (done.report.read, done.report.objects, done.report.deduplicated) == (10_013, 1, 3)
    assert site.content("/text").startswith(b"SOME")


def test_what_the_source_lacks_goes_only_when_asked_for(site: Site, tree: Path) -> None:
    site.publish(tree)
    (tree / "bin" / "tool").unlink()
    (tree / "hollow").rmdir()
    (tree / "text").unlink()
    (tree / "text").mkdir()
    assert site.publish(tree).report.removed == 0
    assert b"/hollow" in site.entries()
    done = site.publish(tree, options=IngestOptions(delete=True))
    assert done.report.removed == 2
    assert set(site.entries()) == {b"/bin", b"/bin/link", b"/empty", b"/text", b"/odd-\xff\n"}
    assert site.entries()[b"/text"].is_dir


def test_another_directory_of_the_repository_is_left_alone(site: Site, tree: Path) -> None:
    site.publish(tree)
    done = site.publish(tree / "bin", to="/opt/copy", options=IngestOptions(delete=True))
    assert (done.report.removed, done.report.deduplicated) == (0, 1)
    entries = site.entries()
    assert b"/opt/copy/tool" in entries
    assert b"/hollow" in entries
    assert entries[b"/opt/copy"].permissions == stat.S_IMODE((tree / "bin").stat().st_mode)


def test_a_file_is_no_place_to_publish_to(site: Site, tree: Path) -> None:
    site.publish(tree)
    with pytest.raises(PathError, match="no directory"):
        site.publish(tree, to="/text")


def test_special_files_are_refused_and_named(site: Site, tree: Path) -> None:
    os.mkfifo(tree / "pipe")
    os.mknod(tree / "socket", stat.S_IFSOCK | 0o600)
    done = site.publish(tree)
    assert {(r.path, r.reason.split(",")[0]) for r in done.report.refused} == {
        (b"pipe", "is a fifo"),
        (b"socket", "is a socket"),
    }
    assert not {b"/pipe", b"/socket"} & set(site.entries())


def test_set_id_bits_are_never_published(site: Site, tree: Path) -> None:
    (tree / "bin" / "tool").chmod(0o6755)
    (tree / "hollow").chmod(0o1777)
    site.publish(tree)
    entries = site.entries()
    assert (entries[b"/bin/tool"].permissions, entries[b"/hollow"].permissions) == (0o755, 0o777)


def test_names_that_mean_something_to_cvmfs_are_refused_at_the_root(site: Site, tree: Path) -> None:
    (tree / ".cvmfs").mkdir()
    (tree / ".cvmfs" / "inside").write_bytes(b"x")
    done = site.publish(tree)
    assert {r.path for r in done.report.refused} == {b".cvmfs", b".cvmfs/inside"}
    assert len(site.entries()) == 7


def test_names_of_one_file_are_published_all(site: Site, tree: Path) -> None:
    os.link(tree / "text", tree / "same")
    os.link(tree / "text", tree / "bin" / "elsewhere")
    done = site.publish(tree)
    assert done.report.files == 6
    assert site.content("/same") == site.content("/bin/elsewhere") == site.content("/text")
    assert site.publish(tree).is_new is False


def test_large_files_are_cut_where_the_stock_tools_cut(site: Site, tree: Path) -> None:
    data = random.Random(1).randbytes(300_000)
    (tree / "large").write_bytes(data)
    done = site.publish(tree, options=IngestOptions(chunks=SMALL_CHUNKS))
    entry = site.entries()[b"/large"]
    assert [chunk.offset for chunk in entry.chunks] == [0, *ContentChunker(SMALL_CHUNKS).feed(data)]
    assert site.content("/large") == data
    others = [len(found.chunks) or 1 for path, found in site.entries().items() if found.is_file and path != b"/large"]
    assert done.report.objects + done.report.deduplicated == len(entry.chunks) + sum(others)


@pytest.mark.parametrize(
    ("chunks", "count"), [(100_000, 3), (99_999, 4), (300_000, 0), (None, 0)], ids=["fits", "rest", "one", "whole"]
)
def test_chunks_of_one_size_or_none(site: Site, tree: Path, chunks: int | None, count: int) -> None:
    data = random.Random(2).randbytes(300_000)
    (tree / "large").write_bytes(data)
    site.publish(tree, options=IngestOptions(chunks=chunks))
    assert len(site.entries()[b"/large"].chunks) == count
    assert site.content("/large") == data


def test_a_file_that_the_chunker_leaves_whole_is_no_chunked_file(site: Site, tree: Path) -> None:
    (tree / "large").write_bytes(bytes(10_000))
    site.publish(tree, options=IngestOptions(chunks=ChunkSizes(4096, 16384, 16384)))
    entry = site.entries()[b"/large"]
    assert not entry.is_chunked
    assert entry.hash is not None


def test_content_can_be_stored_as_it_is(site: Site, tree: Path) -> None:
    (tree / "large").write_bytes(bytes(3_000_000))
    done = site.publish(tree, options=IngestOptions(compression=Compression.NONE))
    assert done.report.stored == done.report.size
    assert site.entries()[b"/large"].compression is Compression.NONE
    assert site.content("/large") == bytes(3_000_000)


def test_extended_attributes_come_along_when_asked_for(site: Site, tree: Path) -> None:
    try:
        os.setxattr(tree / "text", "user.note", b"value")
    except OSError:
        pytest.skip("the file system of the test has no extended attributes")
    site.publish(tree)
    assert site.entries()[b"/text"].xattrs == {}
    site.publish(tree, xattrs=True)
    assert site.entries()[b"/text"].xattrs == {b"user.note": b"value"}


@contextmanager
def _after_listing(monkeypatch: pytest.MonkeyPatch, change: Any) -> Iterator[None]:
    """Change the tree when everything was listed and before the first file is read."""
    genuine = DirectorySource.items

    def listed_first(self: DirectorySource) -> Iterator[items_module.Item]:
        found = list(genuine(self))
        change()
        yield from found

    with monkeypatch.context() as patched:
        patched.setattr(DirectorySource, "items", listed_first)
        yield


def test_a_file_that_changes_meanwhile_is_noticed(site: Site, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def change() -> None:
        status = (tree / "text").stat()
        (tree / "text").write_bytes(b"SOME TEXT\n" * 1000)
        os.utime(tree / "text", ns=(0, status.st_mtime_ns))

    with _after_listing(monkeypatch, change), pytest.raises(SourceError, match="text was changed"):
        site.publish(tree)
    assert site.repository.manifest().revision == 1
    assert site.staged() == []


def test_a_file_that_goes_meanwhile_is_noticed(site: Site, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _after_listing(monkeypatch, (tree / "text").unlink), pytest.raises(SourceError, match="cannot be read"):
        site.publish(tree)


def test_a_symbolic_link_that_takes_the_place_of_a_file_is_not_followed(
    site: Site, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change() -> None:
        (tree / "text").unlink()
        (tree / "text").symlink_to("/etc/passwd")

    with _after_listing(monkeypatch, change), pytest.raises(SourceError, match="cannot be read"):
        site.publish(tree)


def test_a_publish_can_be_stopped_before_it_shows(site: Site, tree: Path) -> None:
    class Stopped(Exception):
        pass

    def refuse(_report: object) -> None:
        raise Stopped

    with open_source(tree) as source, pytest.raises(Stopped):
        publish(site.repository, source, site.workers, accept=refuse)
    assert site.repository.manifest().revision == 1
    assert site.staged() == []
