"""What programs leave in metadata: modes and times."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softman.model import BucketObject
from softman.services.metadata import mode_of, mtime_of, says_link, says_plain


def item(key: str = "cvmfs/a", *, etag: str = "e", modified: float = 1700000000.5, **metadata: str) -> BucketObject:
    return BucketObject(key, 3, etag, modified, metadata)


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


def test_s3cmd_and_aws() -> None:
    attributes = (
        "atime:1700000001/ctime:1600000002/gid:0/gname:root/md5:abc/mode:33261/mtime:1600000000/uid:0/uname:root"
    )
    s3cmd = BucketObject("k", 1, "e", 1.5, {"s3cmd-attrs": attributes})
    assert (mode_of(s3cmd, is_directory=False), mtime_of(s3cmd)) == (0o755, (1600000000, None))
    aws = BucketObject("k", 1, "e", 1.5, {"file-permissions": "0100750", "file-mtime": "1600000000123456789ns"})
    assert (mode_of(aws, is_directory=False), mtime_of(aws)) == (0o750, (1600000000, 123456789))
    both = BucketObject("k", 1, "e", 1.5, {"mode": "100640", "mtime": "7.5", **s3cmd.metadata})
    assert (mode_of(both, is_directory=False), mtime_of(both)) == (0o640, (7, 500000000))
    nonsense = BucketObject("k", 1, "e", 1.5, {"mode": "x", "mtime": "y", **s3cmd.metadata})
    assert (mode_of(nonsense, is_directory=False), mtime_of(nonsense)) == (0o755, (1600000000, None))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2020-09-13T12:26:40Z", 1600000000),
        ("2020-09-13T12:26:40.999999999Z", 1600000000),
        ("2020-09-13T14:26:40+02:00", 1600000000),
        ("1969-12-31T23:59:59.5Z", -1),
        ("2020-09-13T12:26:40", 1700000000),
        ("99999-01-01T00:00:00Z", 1700000000),
    ],
)
def test_iso_times_need_a_zone(text: str, seconds: int) -> None:
    assert mtime_of(item(mtime=text)) == (seconds, None)


def test_links_of_s3fs_and_archives_that_stay() -> None:
    assert says_link(item(mode="41471"))
    assert says_link(item(mode="120777"))
    assert not says_link(item(mode="33188"))
    assert not says_link(item())
    assert says_plain(item(unpack="False"))
    assert not says_plain(item(unpack="yes"))
    assert not says_plain(item())
