"""The mapping table, row by row, and what must hold for any key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softman.model import BucketObject, Refusal
from softman.services.mapping import Target, TargetKind, file_mode, key_of, mode_of, mtime_of, source_mark, target_of


def item(key: str = "cvmfs/a", *, etag: str = "e", modified: float = 1700000000.5, **metadata: str) -> BucketObject:
    return BucketObject(key, 3, etag, modified, metadata)


@pytest.mark.parametrize(
    ("key", "path", "is_directory"),
    [
        ("cvmfs/a", b"/a", False),
        ("cvmfs/a/b.txt", b"/a/b.txt", False),
        ("cvmfs/a/", b"/a", True),
        ("cvmfs/a/b/", b"/a/b", True),
        ("cvmfs/ä/é", "/ä/é".encode(), False),
        ("cvmfs/e\u0301", "/e\u0301".encode(), False),
        ("cvmfs/UPPER/lower", b"/UPPER/lower", False),
        ("cvmfs/100%25", b"/100%25", False),
        ("cvmfs/a+b c", b"/a+b c", False),
        ("cvmfs/" + "x" * 255, b"/" + b"x" * 255, False),
        ("cvmfs/a/.cvmfsfoo", b"/a/.cvmfsfoo", False),
        ("cvmfs/...", b"/...", False),
        ("cvmfs/x.tar", b"/x.tar", False),
    ],
)
def test_published_keys(key: str, path: bytes, is_directory: bool) -> None:
    assert target_of(key) == Target(key, path, TargetKind.DIRECTORY if is_directory else TargetKind.FILE)


@pytest.mark.parametrize("key", ["cvmfs/", "cvmfs", "other/a", "", "cvmf/a", "/cvmfs/a", "Cvmfs/a"])
def test_keys_that_say_nothing(key: str) -> None:
    assert target_of(key) is None


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("cvmfs/../etc/passwd", "'..'"),
        ("cvmfs/a/../../b", "'..'"),
        ("cvmfs/./a", "'.'"),
        ("cvmfs/a/..", "'..'"),
        ("cvmfs//a", "two slashes"),
        ("cvmfs/a//b", "two slashes"),
        ("cvmfs/a//", "two slashes"),
        ("cvmfs//", "two slashes"),
        ("cvmfs/a\nb", "control"),
        ("cvmfs/a\x00b", "control"),
        ("cvmfs/a\x7f", "control"),
        ("cvmfs/" + "x" * 256, "256 bytes"),
        ("cvmfs/" + "ä" * 128, "256 bytes"),
        ("cvmfs/.cvmfspublished", "reserved"),
        ("cvmfs/.cvmfs/x", "reserved"),
        ("cvmfs/.cvmfsdirtab", "reserved"),
        ("cvmfs/.softman.toml", "settings"),
        ("cvmfs/a/.cvmfscatalog", "catalog"),
        ("cvmfs/a\udce9", "Unicode"),
    ],
)
def test_refused_keys(key: str, word: str) -> None:
    refusal = target_of(key)
    assert isinstance(refusal, Refusal)
    assert refusal.key == key
    assert word in refusal.reason


@given(st.text(max_size=300))
def test_any_key_is_confined(text: str) -> None:
    target = target_of("cvmfs/" + text)
    if isinstance(target, Target):
        names = target.path.split(b"/")
        assert names[0] == b""
        assert all(name not in {b"", b".", b".."} and len(name) <= 255 and b"\0" not in name for name in names[1:])
        assert key_of(target.path, is_directory=target.is_directory) == target.key


@pytest.mark.parametrize(
    ("text", "seconds", "nanoseconds"),
    [
        ("1600000000", 1600000000, None),
        ("1600000000.123456789", 1600000000, 123456789),
        ("1600000000.5", 1600000000, 500000000),
        ("1600000000.0", 1600000000, 0),
        ("-1.25", -2, 750000000),
        ("0", 0, None),
        ("", 1700000000, None),
        ("yesterday", 1700000000, None),
        ("1e9", 1700000000, None),
        ("nan", 1700000000, None),
        ("9" * 14, 1700000000, None),
        ("9" * 40, 1700000000, None),
        ("1600000000 ", 1700000000, None),
    ],
)
def test_modification_time(text: str, seconds: int, nanoseconds: int | None) -> None:
    assert mtime_of(item(mtime=text)) == (seconds, nanoseconds)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("33188", 0o644),  # s3fs, decimal with type bits
        ("33261", 0o755),
        ("100644", 0o644),  # rclone, octal with type bits
        ("100755", 0o755),
        ("0100755", 0o755),
        ("644", 0o644),
        ("0755", 0o755),
        ("104755", 0o755),  # set-id never
        ("35309", 0o755),
        ("40755", None),  # a folder's mode on a file
        ("", None),
        ("rw-r--r--", None),
        ("999", None),
        ("-644", None),
        ("\u0666\u0664\u0664", None),
    ],
)
def test_file_mode_metadata(text: str, mode: int | None) -> None:
    assert mode_of(item(mode=text), is_directory=False) == mode


@pytest.mark.parametrize(("text", "mode"), [("40700", 0o700), ("16877", 0o755), ("41777", 0o777), ("100644", None)])
def test_directory_mode_metadata(text: str, mode: int | None) -> None:
    assert mode_of(item(mode=text), is_directory=True) == mode


@given(st.text(max_size=12))
def test_no_mode_has_special_bits(text: str) -> None:
    for is_directory in (False, True):
        mode = mode_of(item(mode=text), is_directory=is_directory)
        assert mode is None or 0 <= mode <= 0o777


@pytest.mark.parametrize(
    ("head", "mode"),
    [(b"#!/bin/sh", 0o755), (b"\x7fELF", 0o755), (b"", 0o644), (b"#", 0o644), (b"text", 0o644), (b"\x7fEL", 0o644)],
)
def test_executables_by_their_first_bytes(head: bytes, mode: int) -> None:
    assert file_mode(item(), head[:4]) == mode


def test_metadata_wins_over_first_bytes() -> None:
    assert file_mode(item(mode="33188"), b"#!/b") == 0o644


def test_the_mark_is_short_and_ignores_fractions() -> None:
    assert source_mark(item(modified=1.0)) == source_mark(item(modified=1.999))
    assert source_mark(item(etag="a")) != source_mark(item(etag="b"))
    assert len(source_mark(item(etag="e" * 5000))) <= 255
