"""Flags, kinds and names of entries."""

from dataclasses import FrozenInstanceError, replace

import pytest

from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.format.entry import Chunk, Compression, Entry, Flag, check_name
from softman.cvmfs.format.hashes import HashAlgorithm, ObjectKind, hash_bytes


@pytest.mark.parametrize(
    ("flags", "algorithm", "compression", "chunked"),
    [
        (4, HashAlgorithm.SHA1, Compression.ZLIB, False),
        (2052, HashAlgorithm.SHA1, Compression.NONE, False),
        (324, HashAlgorithm.RMD160, Compression.ZLIB, True),
        (516, HashAlgorithm.SHAKE128, Compression.ZLIB, False),
        (2628, HashAlgorithm.SHAKE128, Compression.NONE, True),
    ],
)
def test_the_reference_values(flags: int, algorithm: HashAlgorithm, compression: Compression, chunked: bool) -> None:
    entry = Entry(path=b"/f", mode=0o100644, size=0, mtime=0, flags=flags)
    assert (entry.algorithm, entry.compression, entry.is_chunked, entry.is_file) == (
        algorithm,
        compression,
        chunked,
        True,
    )
    assert flags == Flag.FILE | algorithm.flag_bits | compression.flag_bits | (Flag.CHUNKED if chunked else 0)


@pytest.mark.parametrize(
    ("flags", "kinds"),
    [
        (1, {"is_dir"}),
        (3, {"is_dir", "is_mountpoint"}),
        (33, {"is_dir"}),
        (0x4001, {"is_dir", "is_mountpoint"}),
        (4, {"is_file"}),
        (12, {"is_symlink"}),
        (20, {"is_special"}),
        (132, {"is_file", "is_external"}),
        (0x8004, {"is_file", "is_hidden"}),
    ],
)
def test_kinds(flags: int, kinds: set[str]) -> None:
    entry = Entry(path=b"/f", mode=0, size=0, mtime=0, flags=flags)
    names = ("is_dir", "is_file", "is_symlink", "is_special", "is_mountpoint", "is_external", "is_hidden", "is_chunked")
    assert {name for name in names if getattr(entry, name)} == kinds


def test_unknown_compression() -> None:
    with pytest.raises(FormatError):
        Compression.from_flag_bits(0x1000)


def test_names_and_parents() -> None:
    entry = Entry(path=b"/a/b", mode=0o104755, size=0, mtime=0)
    assert (entry.name, entry.parent, entry.permissions) == (b"b", b"/a", 0o4755)
    root = Entry(path=b"", mode=0o40755, size=0, mtime=0)
    assert (root.name, root.parent) == (b"", b"")


def test_objects_in_order() -> None:
    chunks = (Chunk(0, 1, hash_bytes(b"1")), Chunk(1, 1, hash_bytes(b"2")))
    entry = Entry(path=b"/f", mode=0, size=2, mtime=0, hash=hash_bytes(b"bulk"), chunks=chunks)
    assert entry.objects() == (
        (hash_bytes(b"bulk"), ObjectKind.FILE),
        (hash_bytes(b"1"), ObjectKind.CHUNK),
        (hash_bytes(b"2"), ObjectKind.CHUNK),
    )


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"a\0", b"n" * 256])
def test_impossible_names(name: bytes) -> None:
    with pytest.raises(PathError):
        check_name(name)


@pytest.mark.parametrize("name", [b"...", b"n" * 255, b"\xff", b" ", b"-"])
def test_possible_names(name: bytes) -> None:
    check_name(name)


def test_entries_are_equal_by_their_values_and_cannot_be_changed() -> None:
    entry = Entry(path=b"/f", mode=0o100644, size=0, mtime=0, xattrs={b"a": b"b"})
    assert entry == Entry(path=b"/f", mode=0o100644, size=0, mtime=0, xattrs={b"a": b"b"})
    assert entry != replace(entry, size=1)
    assert entry != "an entry"
    with pytest.raises(FrozenInstanceError):
        entry.size = 1  # type: ignore[misc]
    with pytest.raises(TypeError, match="unhashable"):
        hash(entry)
