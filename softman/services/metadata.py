"""Modes and times that programs leave in an object's user metadata. Pure.

============================== ========================================================================
program                        writes
============================== ========================================================================
rclone                         ``mtime`` decimal seconds with a fraction; ``mode`` octal with the file
                               type (``100644``) with ``--metadata``
s3fs                           ``mtime`` decimal seconds; ``mode`` decimal with the file type (``33188``)
s3cmd                          ``s3cmd-attrs``: ``mode:33188/mtime:1600000000/...``, both decimal
AWS (FSx, Storage Gateway)     ``file-mtime`` seconds or nanoseconds with ``ns``; ``file-permissions`` octal
============================== ========================================================================

``uid`` and ``gid`` mean nothing elsewhere and are never taken over. The first of these that says something usable
counts, in this order.
"""

import re
import stat
from datetime import datetime

from softman.model import BucketObject

_MAX_MTIME = 2**40  # some 35,000 years: beyond it is a mistake, and catalogs hold signed 64-bit seconds
_DECIMAL_TIME = re.compile(r"(-?\d{1,14})(?:\.(\d{1,18}))?", re.ASCII)
_NANOSECONDS = re.compile(r"(\d{1,22})ns", re.ASCII)
_ATTRIBUTE = re.compile(r"(?:^|/)(mode|mtime):(\d{1,14})(?=/|$)", re.ASCII)
_LONGEST_MODE = len("0100644")
_ALL_PERMISSIONS = 0o7777
_NS = 10**9


def mtime_of(item: BucketObject) -> tuple[int, int | None]:
    """Seconds and nanoseconds of the modification time: that of the metadata, else LastModified."""
    metadata = item.metadata
    if metadata:
        for text in (metadata.get("mtime"), _s3cmd(metadata, "mtime"), metadata.get("file-mtime")):
            found = _time(text) if text else None
            if found is not None:
                return found
    return int(item.last_modified), None


def mode_of(item: BucketObject, *, is_directory: bool) -> int | None:
    """Permission bits from the metadata, or None when they say nothing usable.

    A number is read as octal or decimal, whichever yields the right file type (decision 17). Set-id and sticky bits
    are never taken over.
    """
    metadata = item.metadata
    if not metadata:
        return None
    wanted = stat.S_IFDIR if is_directory else stat.S_IFREG
    for text in (metadata.get("mode"), _s3cmd(metadata, "mode"), metadata.get("file-permissions")):
        mode = _mode(text, wanted) if text else None
        if mode is not None:
            return mode
    return None


def says_link(item: BucketObject) -> bool:
    """Whether the metadata say that this is a symbolic link, whose target is the content (s3fs)."""
    return stat.S_IFLNK in {number & ~_ALL_PERMISSIONS for number in _numbers(item.metadata.get("mode", ""))}


def says_plain(item: BucketObject) -> bool:
    """Whether ``unpack=false`` keeps an archive a plain file."""
    return item.metadata.get("unpack", "").strip().lower() in {"false", "no", "0", "off"}


def _s3cmd(metadata: dict[str, str], name: str) -> str | None:
    attributes = metadata.get("s3cmd-attrs")
    return dict(_ATTRIBUTE.findall(attributes)).get(name) if attributes else None


def _time(text: str) -> tuple[int, int | None] | None:
    if (match := _DECIMAL_TIME.fullmatch(text)) is not None:
        seconds, fraction = int(match[1]), match[2]
        if abs(seconds) > _MAX_MTIME:
            return None
        if not fraction:
            return seconds, None
        nanoseconds = int(fraction[:9].ljust(9, "0"))
        negative = text.startswith("-") and nanoseconds
        return (seconds - 1, _NS - nanoseconds) if negative else (seconds, nanoseconds)
    if (match := _NANOSECONDS.fullmatch(text)) is not None:
        seconds, nanoseconds = divmod(int(match[1]), _NS)
        return (seconds, nanoseconds) if seconds <= _MAX_MTIME else None
    return _iso_time(text)


def _iso_time(text: str) -> tuple[int, int | None] | None:
    """RFC 3339, as rclone shows it and people copy it; without a time zone it could be any time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (int(moment.timestamp() // 1), None) if moment.tzinfo is not None else None


def _numbers(text: str) -> list[int]:
    """What ``text`` may mean: octal first, then decimal."""
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_MODE:
        return []
    octal = [int(text, 8)] if not set(text) & {"8", "9"} else []
    return [*octal, int(text)]


def _mode(text: str, wanted: int) -> int | None:
    numbers = _numbers(text)
    for number in numbers:
        if number & ~_ALL_PERMISSIONS == wanted:
            return number & 0o777
    bare = len(numbers) > 1 and numbers[0] <= _ALL_PERMISSIONS and len(text) <= len("0777")
    return numbers[0] & 0o777 if bare else None
