"""Publishing tar archives, also those that somebody hostile made."""

import bz2
import gzip
import io
import lzma
import random
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from softman.cvmfs.errors import SourceError
from softman.cvmfs.format.chunker import ChunkSizes
from softman.cvmfs.ingest import IngestOptions, open_source
from softman.cvmfs.ingest.items import FileItem, Refusal
from softman.cvmfs.ingest.tar import TarSource
from softman.cvmfs.ingest.tarheaders import MAX_EXTENDED
from tests.unit.cvmfs.ingest.conftest import MakeTar, Site

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

COMPRESSORS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "two parts": lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
    "zstd": zstd.compress,
    "three frames, one to be skipped": lambda data: (
        zstd.compress(data[:700]) + b"\x53\x2a\x4d\x18\4\0\0\0skip" + zstd.compress(data[700:])
    ),
    "padded": lambda data: gzip.compress(data) + bytes(1000),
}


def file(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mtime = 1_600_000_000
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    return file(name, type=kind, linkname=target)


@pytest.mark.parametrize("compressor", COMPRESSORS.values(), ids=COMPRESSORS.keys())
@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_an_archive_is_published_like_the_directory_it_was_made_of(
    site: Site, tree: Path, tmp_path: Path, compressor: Callable[[bytes], bytes], format_: int
) -> None:
    (tree / ("d" * 90) / ("e" * 90)).mkdir(parents=True)
    (tree / ("d" * 90) / ("e" * 90) / "long").write_bytes(random.Random(3).randbytes(300_000))
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w", format=format_) as archive:
        archive.add(tree, arcname=".")
    (tmp_path / "packed").write_bytes(compressor(whole.getvalue()))
    options = IngestOptions(chunks=ChunkSizes(32768, 65536, 131072))
    done = site.publish(tmp_path / "packed", to="/tar", options=options)
    site.publish(tree, to="/dir", options=options)
    entries = site.entries()
    for path in [path for path in entries if path.startswith(b"/dir")]:
        mine, theirs = entries[path], entries[b"/tar" + path[4:]]
        assert (mine.mode, mine.size, mine.hash, mine.symlink, mine.mtime) == (
            theirs.mode,
            theirs.size,
            theirs.hash,
            theirs.symlink,
            theirs.mtime,
        )
        assert [chunk.hash for chunk in mine.chunks] == [chunk.hash for chunk in theirs.chunks]
    assert (done.report.files, done.report.refusals) == (5, 0)


def test_what_gnu_tar_writes_is_read(site: Site, tree: Path, tmp_path: Path) -> None:
    (tree / "hard").hardlink_to(tree / "text")
    for form in ("v7", "oldgnu", "gnu", "ustar", "posix"):
        subprocess.run(["tar", "-C", tree, "-cf", tmp_path / form, "--format", form, "."], check=True)
        done = site.publish(tmp_path / form, to=f"/{form}")
        assert (done.report.files, done.report.refusals) == (5, 0)
        assert site.content(f"/{form}/hard") == site.content(f"/{form}/text") == (tree / "text").read_bytes()
    assert site.entries()[b"/posix/text"].mtime_ns == 123456789


@pytest.mark.parametrize(
    ("members", "refused"),
    [
        ([(file("/etc/passwd"), b"x")], {b"/etc/passwd": "is an absolute name"}),
        ([(file("../out"), b"x")], {b"../out": "leads out"}),
        ([(file("a/../../out"), b"x")], {b"a/../../out": "leads out"}),
        ([(link("a", "/etc"), b""), (file("a/passwd"), b"x")], {b"a/passwd": "lies below a, which is no directory"}),
        ([(file("a"), b"x"), (file("a/b/c"), b"x")], {b"a/b/c": "lies below a"}),
        ([(file("a"), b"1"), (file("./a"), b"2")], {b"a": "comes a second time"}),
        ([(file("a/b"), b"1"), (file("a"), b"2")], {b"a": "comes a second time"}),
        ([(link("a", "/etc/passwd", tarfile.LNKTYPE), b"")], {b"a": "is a hard link to /etc/passwd"}),
        ([(link("a", "../b", tarfile.LNKTYPE), b"")], {b"a": "is a hard link to ../b"}),
        ([(link("a", "b", tarfile.LNKTYPE), b""), (file("b"), b"later")], {b"a": "is a hard link to b"}),
        ([(link("l", "x"), b""), (link("a", "l", tarfile.LNKTYPE), b"")], {b"a": "is a hard link to l"}),
        ([(file("pipe", type=tarfile.FIFOTYPE), b"")], {b"pipe": "is a fifo"}),
        ([(file("null", type=tarfile.CHRTYPE), b"")], {b"null": "is a character device"}),
        ([(file("odd", type=b"Q"), b"")], {b"odd": "is of an unknown type"}),
        ([(file(""), b"x")], {b"": "has no name"}),
        ([(file("x" * 256), b"x")], {b"x" * 256: "has 256 bytes"}),
        ([(file("s", pax_headers={"GNU.sparse.major": "1"}), b"x")], {b"s": "is a sparse file"}),
        ([(file("n", pax_headers={"path": "a\0b"}), b"x")], {b"a\0b": "cannot be the name"}),
    ],
)
def test_hostile_members_are_refused_and_the_rest_is_published(
    site: Site, make_tar: MakeTar, members: list[tuple[tarfile.TarInfo, bytes]], refused: dict[bytes, str]
) -> None:
    done = site.publish(make_tar((file("first"), b"1"), *members, (file("last"), b"2")), to="/here")
    found = {refusal.path: refusal.reason for refusal in done.report.refused}
    assert found.keys() == refused.keys()
    for path, reason in refused.items():
        assert reason in found[path]
    entries = site.entries()
    assert {b"/here/first", b"/here/last"} <= entries.keys()
    assert all(path == b"/here" or path.startswith(b"/here/") for path in entries)
    assert not any(b".." in path for path in entries)


def test_a_directory_may_come_twice_and_links_lead_anywhere(site: Site, make_tar: MakeTar) -> None:
    folder = file("d", type=tarfile.DIRTYPE, mode=0o700)
    archive = make_tar((file("d/f"), b"1"), (folder, b""), (folder, b""), (link("out", "/etc/passwd"), b""))
    done = site.publish(archive)
    assert done.report.refusals == 0
    entries = site.entries()
    assert (entries[b"/d"].permissions, entries[b"/out"].symlink) == (0o700, b"/etc/passwd")


def test_set_id_bits_of_members_are_not_published(site: Site, make_tar: MakeTar) -> None:
    site.publish(make_tar((file("tool", mode=0o6755), b"x")))
    assert site.entries()[b"/tool"].permissions == 0o755


def test_what_an_archive_lacks_is_removed_when_asked_for(site: Site, make_tar: MakeTar) -> None:
    site.publish(make_tar((file("a/1"), b"1"), (file("a/2"), b"2"), (file("b/3"), b"3")), to="/x")
    done = site.publish(make_tar((file("a/1"), b"1"), (file("c"), b"4")), to="/x", options=IngestOptions(delete=True))
    assert done.report.removed == 2
    assert set(site.entries()) == {b"/x", b"/x/a", b"/x/a/1", b"/x/c"}


def test_huge_members_are_refused(make_tar: MakeTar) -> None:
    archive = make_tar((file("big"), bytes(2000)), (file("small"), bytes(10)))
    source = TarSource(archive, max_member=1000)
    found = list(source.items())
    source.close()
    assert [type(item) for item in found] == [Refusal, FileItem]


def test_a_size_beyond_the_archive_is_an_error(site: Site, tmp_path: Path) -> None:
    for size in (10**15, 10_000):
        info = file("liar")
        info.size = size
        (tmp_path / "liar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
        with pytest.raises(SourceError, match="cut short"):
            site.publish(tmp_path / "liar")
    assert site.repository.manifest().revision == 1


def test_huge_extended_headers_are_not_read(site: Site, tmp_path: Path) -> None:
    for kind in (b"x", b"g", b"L", b"K"):
        info = file("././@LongLink", type=kind)
        info.size = MAX_EXTENDED + 1
        (tmp_path / "long").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(4096))
        with pytest.raises(SourceError, match="extended header"):
            site.publish(tmp_path / "long")


@pytest.mark.parametrize("compressor", COMPRESSORS.values(), ids=COMPRESSORS.keys())
def test_archives_that_are_cut_short_are_never_published(
    site: Site, make_tar: MakeTar, tmp_path: Path, compressor: Callable[[bytes], bytes]
) -> None:
    whole = make_tar((file("a"), random.Random(4).randbytes(30_000)), (file("b"), b"2")).read_bytes()
    packed = compressor(whole[: 3 * 512 + 30_208])  # without its end mark
    for length in (0, 1, 100, 511, 512, 1000, 20_000, len(packed) - 600, len(packed) - 512, len(packed)):
        (tmp_path / "short").write_bytes(packed[:length])
        with pytest.raises(SourceError, match=r"cut short|not a tar archive|damaged"):
            site.publish(tmp_path / "short")
    assert site.repository.manifest().revision == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not an archive at all " * 100, "not a tar archive"),
        (b"\x28\xb5\x2f\xfd" + b"nonsense" * 100, "damaged"),
        (b"\x04\x22\x4d\x18" + bytes(600), "lz4"),
        (b"PK\3\4" + bytes(600), "zip"),
        (b"\x1f\x8b" + b"nonsense" * 100, "damaged"),
        (b"BZh9" + b"nonsense" * 100, "damaged"),
        (b"\xfd7zXZ\0" + b"nonsense" * 100, "damaged"),
    ],
)
def test_what_is_no_archive_is_refused(site: Site, tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        site.publish(tmp_path / "file")


def test_a_source_that_is_not_there(site: Site, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        site.publish(tmp_path / "nothing")


def test_a_compressed_archive_is_inflated_in_bounded_pieces(tmp_path: Path) -> None:
    """A bomb: 200 MB of zeros in some hundred bytes."""
    info = file("zeros")
    info.size = 200_000_000
    pieces = [info.tobuf(tarfile.GNU_FORMAT)] + [bytes(1_000_000)] * 200 + [bytes(2048)]
    (tmp_path / "bomb").write_bytes(bz2.compress(b"".join(pieces)))
    with open_source(tmp_path / "bomb") as source:
        (item,) = (item for item in _sizes(source.items()))
    assert item == 200_000_000


def _sizes(items: object) -> list[int]:
    sizes = []
    for item in items:  # type: ignore[attr-defined]
        longest = total = 0
        for piece in item.content:
            longest, total = max(longest, len(piece)), total + len(piece)
        assert longest <= 256 * 1024
        sizes.append(total)
    return sizes
