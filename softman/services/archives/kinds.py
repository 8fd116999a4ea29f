"""Which keys are archives, and where they unpack. Pure.

The suffix of the key decides, in lower case as programs write it; the content must then agree.
"""

from enum import Enum
from typing import Final


class ArchiveKind(Enum):
    """How a tar archive is compressed. The value is what people call it."""

    TAR = "tar"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    ZSTD = "zstd"


SUFFIXES: Final = {
    ".tar": ArchiveKind.TAR,
    ".tar.gz": ArchiveKind.GZIP,
    ".tgz": ArchiveKind.GZIP,
    ".tar.bz2": ArchiveKind.BZIP2,
    ".tar.xz": ArchiveKind.XZ,
    ".tar.zst": ArchiveKind.ZSTD,
}
"""The suffixes of archives. None is the end of another, so their order does not matter."""
_ANY = tuple(SUFFIXES)
_NO_NAMES = frozenset({"", ".", ".."})


def archive_kind_of(key: str) -> ArchiveKind | None:
    """The kind of archive that ``key`` is by its name; None for everything else.

    A key that would leave no name for the directory, such as ``a/.tar``, is an ordinary file.
    """
    found = _split(key)
    return None if found is None else found[1]


def unpacked_key(key: str) -> str:
    """The key without the suffix of an archive: where it unpacks. ``cvmfs/a/x.tar.gz`` gives ``cvmfs/a/x``.

    Raises:
        ValueError: it is no archive.
    """
    found = _split(key)
    if found is None:
        msg = f"{key!r} has no suffix of an archive"
        raise ValueError(msg)
    return found[0]


def _split(key: str) -> tuple[str, ArchiveKind] | None:
    if not key.endswith(_ANY):  # asked several times for every object
        return None
    for suffix, kind in SUFFIXES.items():
        if key.endswith(suffix):
            bare = key.removesuffix(suffix)
            return None if bare.rpartition("/")[2] in _NO_NAMES else (bare, kind)
    return None
