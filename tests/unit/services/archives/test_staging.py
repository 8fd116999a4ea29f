"""What becomes of an archive: a tree of its members, or a reason why not."""

import gzip
import lzma
import random
import tarfile
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from softman.cvmfs.errors import StoreUnavailable
from softman.cvmfs.format.chunker import ChunkSizes, ContentChunker
from softman.cvmfs.staging import ChunkedContent, Staging
from softman.errors import ServiceUnavailable
from softman.services.archives import staging as module
from softman.services.archives.kinds import ArchiveKind
from softman.services.archives.limits import ArchiveLimits, ArchiveRefused
from softman.services.archives.spool import SpoolEntry, SpoolKind
from softman.services.archives.staging import stage_archive
from softman.services.archives.tree import StagedTree
from softman.settings import Settings
from tests.support import tars
from tests.support.tars import COMPRESS, FILE, HOSTILE, archive, folder, hard_link, member, symlink, zstd
from tests.unit.services.archives.conftest import Stage


def entries(tree: StagedTree) -> dict[bytes, SpoolEntry]:
    return {entry.path: entry for entry in tree._spool.entries()}


def size_of(entry: SpoolEntry) -> int:
    assert entry.content is not None
    return entry.content.size


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_archive_is_refused_and_the_reason_names_the_member(stage: Stage, tmp_path: Path, case: str) -> None:
    data, reason = HOSTILE[case]
    with pytest.raises(ArchiveRefused, match=reason):
        stage(data)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


@pytest.mark.parametrize("kind", ArchiveKind)
@pytest.mark.parametrize("piece", [1, 517, 10**6])
def test_every_kind_is_read_in_whatever_pieces_it_comes(stage: Stage, kind: ArchiveKind, piece: int) -> None:
    data = archive(folder(b"d/", 0o750), member(b"d/f", b"content" * 99, mode=0o6755), symlink(b"d/l", b"f"))
    tree = stage(COMPRESS[kind](data), kind, piece=piece)
    found = entries(tree)
    assert {path: entry.kind for path, entry in found.items()} == {
        b"d": SpoolKind.DIRECTORY,
        b"d/f": SpoolKind.FILE,
        b"d/l": SpoolKind.LINK,
    }
    assert (found[b"d"].mode, found[b"d/f"].mode, found[b"d/l"].link) == (0o750, 0o755, b"f")
    assert (found[b"d/f"].mtime, size_of(found[b"d/f"])) == (0o13000000000, 693)
    assert (tree.entries, tree.bytes) == (3, 693)


@pytest.mark.parametrize("kind", [ArchiveKind.GZIP, ArchiveKind.BZIP2, ArchiveKind.XZ, ArchiveKind.ZSTD])
def test_frames_after_one_another_are_one_archive(stage: Stage, kind: ArchiveKind) -> None:
    data, compress = archive(FILE, member(b"second", bytes(5000))), COMPRESS[kind]
    packed = b"".join(compress(data[at : at + 700]) for at in range(0, len(data), 700)) + bytes(8)
    assert set(entries(stage(packed, kind))) == {b"first", b"second"}


@pytest.mark.parametrize("kind", ArchiveKind)
def test_damage_anywhere_is_noticed(stage: Stage, kind: ArchiveKind) -> None:
    data = archive(member(b"noise", random.Random(1).randbytes(3000)), member(b"last", b"2"))
    packed = COMPRESS[kind](data)
    for length in {0, 1, 5, 17, 300, 512, 1000, len(packed) - 1500, len(packed) - 9, len(packed) - 4, len(packed) - 1}:
        if kind is not ArchiveKind.TAR or length <= len(packed) - 1500:  # a tar needs one block of its end mark
            with pytest.raises(ArchiveRefused, match=r"cut short|empty|is not compressed|not a tar"):
                stage(packed[:length], kind)
    if kind not in {ArchiveKind.TAR, ArchiveKind.ZSTD}:  # tar has sums of its headers only; zstd's sum is optional
        for at in (len(packed) // 2, len(packed) - 6):
            broken = bytearray(packed)
            broken[at] ^= 0x10
            with pytest.raises(ArchiveRefused, match=r"damaged|cut short"):
                stage(bytes(broken), kind)


def test_what_follows_a_compressed_archive_is_no_garbage(stage: Stage) -> None:
    with pytest.raises(ArchiveRefused, match="what follows its compressed data is none"):
        stage(gzip.compress(archive(FILE)) + b"garbage, and more of it", ArchiveKind.GZIP)


def test_what_old_java_programs_leave_after_the_end_mark_is_passed_over(stage: Stage) -> None:
    assert set(entries(stage((archive(FILE) + FILE).ljust(10240, b"\0") + bytes(10240)))) == {b"first"}


@pytest.mark.parametrize("named", ArchiveKind)
@pytest.mark.parametrize("real", ArchiveKind)
def test_name_and_content_must_agree(stage: Stage, named: ArchiveKind, real: ArchiveKind) -> None:
    packed = COMPRESS[real](archive(FILE))
    if named is real:
        assert set(entries(stage(packed, named))) == {b"first"}
    else:
        with pytest.raises(ArchiveRefused, match=f"its name says that it is {named.value}, but it is .*"):
            stage(packed, named)


def test_a_member_may_be_called_like_another_kind_of_archive(stage: Stage) -> None:
    assert set(entries(stage(archive(member(b"BZh9", b"1"), member(b"PK\3\4"))))) == {b"BZh9", b"PK\3\4"}


@pytest.mark.parametrize("kind", [ArchiveKind.XZ, ArchiveKind.ZSTD])
def test_a_header_cannot_make_us_take_gigabytes(stage: Stage, kind: ArchiveKind) -> None:
    data = archive(FILE)
    if kind is ArchiveKind.XZ:
        packed = lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**27}])
    else:
        stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
        packed = stream.compress(data) + stream.flush()
    with pytest.raises(ArchiveRefused, match="bytes of memory are needed"):
        stage(packed, kind)


def test_limits(stage: Stage) -> None:
    data = archive(folder(b"./"), member(b"a/1", b"1"), member(b"b/2", bytes(100)), symlink(b"l", b"a"))
    assert stage(data, limits=ArchiveLimits(members=5, size=10**4)).entries == 5
    with pytest.raises(ArchiveRefused, match="l is one too many: an archive may have 4 members"):
        stage(data, limits=ArchiveLimits(members=4))
    with pytest.raises(ArchiveRefused, match=r"inflates to more than 3000 bytes \(at b/2\)"):
        stage(data, limits=ArchiveLimits(size=3000), piece=500)
    with pytest.raises(ArchiveRefused, match="big has 4000 bytes"):
        stage(archive(member(b"big", bytes(4000))), limits=ArchiveLimits(size=3000), piece=512)
    marked = archive(*(member(b"%d/.cvmfscatalog" % number) for number in range(3)))
    assert stage(marked, limits=ArchiveLimits(catalogs=3)).entries == 6
    with pytest.raises(ArchiveRefused, match=r"2/.cvmfscatalog begins one nested catalog too many"):
        stage(marked, limits=ArchiveLimits(catalogs=2))


def test_the_limits_are_those_of_the_settings() -> None:
    assert ArchiveLimits(**Settings().archives.model_dump()) == ArchiveLimits()


def test_copies_made_of_hard_links_count_as_much_as_files(stage: Stage) -> None:
    copies = [hard_link(b"%d/h" % number, b"f") for number in range(5)]
    data = archive(member(b"f", bytes(3000)), hard_link(b"same", b"f"), *copies)
    assert stage(data, limits=ArchiveLimits(size=18_000)).bytes == 18_000
    with pytest.raises(ArchiveRefused, match="4/h has 3000 bytes, 18000 with those before it"):
        stage(data, limits=ArchiveLimits(size=17_000))


@pytest.mark.parametrize("kind", [ArchiveKind.GZIP, ArchiveKind.XZ, ArchiveKind.ZSTD])
def test_a_bomb_is_left_as_soon_as_it_shows(stage: Stage, monkeypatch: pytest.MonkeyPatch, kind: ArchiveKind) -> None:
    monkeypatch.setattr(module, "FREE_BYTES", 2**20)
    packed = COMPRESS[kind](member(b"zeros", bytes(2**23), size=2**40) + END_OF_BOMB)
    with pytest.raises(ArchiveRefused, match=r"inflates to more than 20 times its size \(at zeros\)"):
        stage(packed, kind, limits=ArchiveLimits(size=2**41, ratio=20))


END_OF_BOMB = bytes(2**20)


def test_hard_links(stage: Stage) -> None:
    found = entries(
        stage(
            archive(
                member(b"b/f", b"content", mode=0o755),
                hard_link(b"b/a", b"b/f"),
                hard_link(b"c/x", b"./b/a"),
                hard_link(b"c/y", b"b/f"),
                hard_link(b"c/z", b"c/y"),
                symlink(b"b/l", b"f"),
                hard_link(b"c/l", b"b/l"),
            )
        )
    )
    shown = {path: (entry.kind, entry.link) for path, entry in found.items() if entry.kind is not SpoolKind.IMPLIED}
    assert shown == {
        b"b/f": (SpoolKind.FILE, b""),
        b"b/a": (SpoolKind.HARD_LINK, b"b/f"),
        b"c/x": (SpoolKind.COPY, b"b/f"),
        b"c/y": (SpoolKind.HARD_LINK, b"c/x"),
        b"c/z": (SpoolKind.HARD_LINK, b"c/x"),
        b"b/l": (SpoolKind.LINK, b"f"),
        b"c/l": (SpoolKind.LINK, b"f"),
    }
    assert found[b"c/x"].content == found[b"b/f"].content
    assert found[b"c/x"].mode == 0o755


def test_links_that_stay_inside_are_kept_as_they_are(stage: Stage) -> None:
    links = {
        b"a/up": b"..",
        b"a/b/up": b"../..//x",
        b"down": b"a/./b",
        b"mixed": b"a/b/../../x",
        b"dangling": b"no/where/../here",
        b"loop": b"loop",
        b"a/sibling": b"../lib/../share",
        b"spaces": b" a\n",
    }
    found = entries(stage(archive(*(symlink(path, target) for path, target in links.items()), member(b"x"))))
    assert {path: entry.link for path, entry in found.items() if entry.kind is SpoolKind.LINK} == links


def test_an_archive_in_a_file_is_content(stage: Stage, staging: Staging) -> None:
    """Whatever the header says of its size, that of pax counts (CVE-2025-62518)."""
    inner = archive(member(b"../hidden", b"1"))
    found = entries(stage(archive(tars.pax(size=b"%d" % len(inner)), member(b"f", inner, size=0), member(b"g"))))
    assert found.keys() == {b"f", b"g"}
    assert found[b"f"].content == staging.write_object([inner])


def test_names_that_are_one_elsewhere_are_two_here(stage: Stage) -> None:
    """Case, Unicode normalisation, back slashes and drives mean nothing (node-tar, CVE-2021-37712 and -37713)."""
    names = {
        b"a",
        b"A",
        "é".encode(),
        b"e\xcc\x81",
        b"..\\x",
        b"C:",
        b"C:\\x",
        b"aux",
        b"...",
        b"..a",
        b"a..",
        b"~",
        b"-rf",
    }
    assert entries(stage(archive(*(member(name, b"1") for name in names)))).keys() == names


def test_folders_may_be_deep(stage: Stage) -> None:
    deep = b"/".join([b"d"] * 1400)
    assert len(entries(stage(archive(tars.pax(path=deep + b"/f"), FILE)))) == 1401


def test_links_that_entangle_do_not_keep_us_busy(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softman.services.archives.members._LINK_STEPS", 1000)
    links = [symlink(b"%d" % number, b"d/../" * 15 + b"x") for number in range(100)]
    with pytest.raises(ArchiveRefused, match="in too many ways"):
        stage(archive(*links))


def test_names_are_bytes_and_directories_may_come_twice(stage: Stage) -> None:
    long = b"/".join([b"d" * 200] * 14)
    data = archive(
        member(b"\xff\xfe\n", b"1"),
        folder(b"e", 0o700),
        folder(b"e/", 0o711),
        tars.pax(path=long + b"/pax"),
        FILE,
        tars.long_name(long + b"/gnu"),
        FILE,
        tars.long_name(b"t/" * 1000, b"K"),
        symlink(b"l", b"t"),
        member(b".cvmfs"),
        member(b".cvmfsdirtab", b"*"),
        member(b".cvmfscatalog"),
        member(b"a/.cvmfsautocatalog"),
    )
    found = entries(stage(data))
    assert {b"\xff\xfe\n", long + b"/pax", long + b"/gnu", b".cvmfs", b".cvmfsdirtab", b".cvmfscatalog"} <= found.keys()
    assert b"a/.cvmfsautocatalog" not in found
    assert found[b"e"].mode == 0o711
    assert found[b"l"].link == b"t/" * 1000


def test_large_files_are_cut_like_any_other_file(
    stage: Stage, staging: Staging, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(ContentChunker, ChunkSizes(4096, 8192, 16384))
    for place in ("softman.services.archives.content", "softman.cvmfs.staging"):
        monkeypatch.setattr(f"{place}.ContentChunker", small)
    monkeypatch.setattr("softman.services.archives.content.WHOLE_SIZE", 4096)
    monkeypatch.setattr("softman.services.archives.content._BATCH_BYTES", 1000)
    noise = random.Random(2).randbytes(100_000)
    contents = {
        b"large": noise,
        b"twice": noise,
        b"later": b"x" + noise,
        b"even": bytes(16384 * 3),
        b"uncut": b"1" * 5000,
    }
    contents |= {b"uncut": b"1" * 5000, b"middle": noise[:4096], b"none": b""}
    found = entries(stage(archive(*(member(name, content) for name, content in contents.items()))))
    for name, content in contents.items():
        assert found[name].content == staging.write_file([content], threshold=4096), name
    large, later = found[b"large"].content, found[b"later"].content
    assert isinstance(large, ChunkedContent)
    assert isinstance(later, ChunkedContent)
    assert len(large.chunks) > 5
    assert len({chunk.hash for chunk in large.chunks} - {chunk.hash for chunk in later.chunks}) < 3
    for chunk in large.chunks:
        assert (staging.directory / (str(chunk.hash) + "P")).is_file()


def test_what_tarfile_writes_is_read_whatever_its_format(stage: Stage) -> None:
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        whole = BytesIO()
        with tarfile.open(fileobj=whole, mode="w", format=form) as opened:
            for name in ("plain", "d" * 90 + "/" + "e" * 90):
                info = tarfile.TarInfo(name)
                info.size, info.mtime, info.mode = 5, 1_600_000_000, 0o640
                opened.addfile(info, BytesIO(b"12345"))
        found = entries(stage(whole.getvalue()))
        assert [size_of(entry) for entry in found.values() if entry.kind is SpoolKind.FILE] == [5, 5]


def test_errors_of_the_source_and_of_the_staging_area_pass_through(staging: Staging, tmp_path: Path) -> None:
    def broken() -> object:
        yield archive(FILE)[:700]
        raise ServiceUnavailable("the connection broke off")

    with pytest.raises(ServiceUnavailable, match="broke off"):
        stage_archive(broken(), ArchiveKind.TAR, staging, ArchiveLimits(), scratch=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        stage_archive(iter([archive(FILE)]), ArchiveKind.TAR, staging, ArchiveLimits(), scratch=tmp_path / "none")
    staging.discard()
    with pytest.raises(StoreUnavailable):
        stage_archive(iter([archive(FILE)]), ArchiveKind.TAR, staging, ArchiveLimits(), scratch=tmp_path)
