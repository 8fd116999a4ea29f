"""Which keys are archives, and where they unpack."""

import pytest

from softman.services.archives.kinds import SUFFIXES, ArchiveKind, archive_kind_of, unpacked_key


@pytest.mark.parametrize(
    ("key", "kind", "place"),
    [
        ("cvmfs/x.tar", ArchiveKind.TAR, "cvmfs/x"),
        ("cvmfs/x.tar.gz", ArchiveKind.GZIP, "cvmfs/x"),
        ("cvmfs/a/x.tgz", ArchiveKind.GZIP, "cvmfs/a/x"),
        ("cvmfs/a/x.tar.bz2", ArchiveKind.BZIP2, "cvmfs/a/x"),
        ("cvmfs/a/x-1.2.tar.xz", ArchiveKind.XZ, "cvmfs/a/x-1.2"),
        ("cvmfs/ü/ü.tar.zst", ArchiveKind.ZSTD, "cvmfs/ü/ü"),
        ("cvmfs/x.tar.tar", ArchiveKind.TAR, "cvmfs/x.tar"),
        ("cvmfs/x.tar.gz.tar", ArchiveKind.TAR, "cvmfs/x.tar.gz"),
    ],
)
def test_an_archive_unpacks_at_its_key_without_the_suffix(key: str, kind: ArchiveKind, place: str) -> None:
    assert archive_kind_of(key) is kind
    assert unpacked_key(key) == place


@pytest.mark.parametrize(
    "key",
    [
        "cvmfs/x", "cvmfs/x.gz", "cvmfs/x.TAR", "cvmfs/x.Tar.gz", "cvmfs/x.tar/", "cvmfs/x.tar/y", "cvmfs/x.tarball",
        "cvmfs/.tar", "cvmfs/.tar.gz", "cvmfs/a/.tgz", "cvmfs/..tar", "cvmfs/...tar.xz", "tar", "xtar", "cvmfs/x.zip",
    ],
)  # fmt: skip
def test_anything_else_is_none(key: str) -> None:
    assert archive_kind_of(key) is None
    with pytest.raises(ValueError, match="no suffix"):
        unpacked_key(key)


def test_no_suffix_is_the_end_of_another() -> None:
    assert not [(a, b) for a in SUFFIXES for b in SUFFIXES if a != b and a.endswith(b)]
