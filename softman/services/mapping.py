"""From what the bucket says to what the repository shows: one key at a time, pure.

The table is in ``docs/architecture.md``. Names are taken as they are: no unicode normalisation, no change of case.
"""

import re
from dataclasses import dataclass
from enum import Enum

from softman.model import PUBLISHED_PREFIX, BucketObject, Refusal

MAPPING_VERSION = 1
"""Part of the mark of every published entry; raising it makes every sync look at the object again (decision 16)."""
SOURCE_XATTR = b"user.softman.source"
"""The extended attribute of a published entry: ``<mapping version> <ETag> <LastModified in whole seconds>``."""

DEFAULT_FILE_MODE = 0o644
EXECUTABLE_MODE = 0o755
DIRECTORY_MODE = 0o755
SNIFF_SIZE = 4
"""Bytes of a file's head that decide whether it is executable."""

_MAX_NAME = 255
_MAX_MTIME = 2**40  # some 35,000 years: beyond it is a mistake, and catalogs hold signed 64-bit seconds
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DECIMAL_TIME = re.compile(r"(-?\d{1,14})(?:\.(\d{1,18}))?")
_TYPE_BITS = 0o170000
_REGULAR = 0o100000
_DIRECTORY = 0o040000
_ALL_PERMISSIONS = 0o7777
_MARKERS = frozenset({".cvmfscatalog", ".cvmfsautocatalog"})


class TargetKind(Enum):
    """What a key is published as."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    ARCHIVE = "archive"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a key is published: ``path`` is absolute inside the repository, the root is ``b""``."""

    key: str
    path: bytes
    kind: TargetKind = TargetKind.FILE

    @property
    def is_directory(self) -> bool:
        """Whether the key is the marker of a directory; an archive is none, though it unpacks into one."""
        return self.kind is TargetKind.DIRECTORY


def target_of(key: str) -> Target | Refusal | None:
    """Where ``key`` belongs.

    Returns:
        The target; or a refusal with the reason; or None for keys that say nothing to us: outside ``cvmfs/``, and the
        marker of the area itself.
    """
    if not key.startswith(PUBLISHED_PREFIX) or key == PUBLISHED_PREFIX:
        return None
    is_directory = key.endswith("/")
    inner = key[len(PUBLISHED_PREFIX) :].removesuffix("/")
    names = inner.split("/")
    reason = next((why for name in names if (why := _wrong_name(name))), None) or _wrong_place(names)
    if reason is not None:
        return Refusal(key, reason)
    return Target(key, b"/" + inner.encode(), TargetKind.DIRECTORY if is_directory else TargetKind.FILE)


def _wrong_name(name: str) -> str | None:
    if name == "":
        return "two slashes in a row leave a folder without a name"
    if name in {".", ".."}:
        return f"{name!r} cannot be the name of a file or folder"
    if _CONTROL.search(name):
        return "names with control characters cannot be published"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "the name is not valid Unicode"
    if length > _MAX_NAME:
        return f"a name has {length} bytes; {_MAX_NAME} are possible"
    return None


def _wrong_place(names: list[str]) -> str | None:
    if names[0].startswith(".cvmfs"):
        return "names beginning with .cvmfs are reserved at the top of a repository"
    if names == [".softman.toml"]:
        return "the settings of softman are not published"
    if names[-1] in _MARKERS:
        return f"{names[-1]} would split the catalog, which is not possible yet"
    return None


def key_of(path: bytes, *, is_directory: bool) -> str:
    """The key that publishes ``path``: the reverse of ``target_of``."""
    return PUBLISHED_PREFIX + path.decode(errors="surrogateescape").removeprefix("/") + ("/" if is_directory else "")


def source_mark(item: BucketObject) -> bytes:
    """The value of ``SOURCE_XATTR``. Whole seconds, because a listing has fractions where a HEAD has none."""
    return f"{MAPPING_VERSION} {item.etag[:128]} {int(item.last_modified)}".encode()


def mtime_of(item: BucketObject) -> tuple[int, int | None]:
    """Seconds and nanoseconds of the modification time.

    ``mtime`` metadata as rclone and s3fs write it (decimal seconds, with or without a fraction), else LastModified.
    """
    match = _DECIMAL_TIME.fullmatch(item.metadata.get("mtime", ""))
    if match is None or abs(int(match[1])) > _MAX_MTIME:
        return int(item.last_modified), None
    seconds = int(match[1])
    if not match[2]:
        return seconds, None
    nanoseconds = int(match[2][:9].ljust(9, "0"))
    if match[1].startswith("-") and nanoseconds:
        return seconds - 1, 10**9 - nanoseconds
    return seconds, nanoseconds


def mode_of(item: BucketObject, *, is_directory: bool) -> int | None:
    """Permission bits from the ``mode`` metadata, or None when it says nothing usable.

    The number is read as octal or decimal, whichever yields the right file type (s3fs writes 33188, rclone 100644;
    decision 17). Set-id and sticky bits are never taken over.
    """
    text = item.metadata.get("mode", "")
    if not text.isascii() or not text.isdigit() or len(text) > len("0100644"):
        return None
    wanted = _DIRECTORY if is_directory else _REGULAR
    octal = int(text, 8) if not set(text) & {"8", "9"} else None
    for number in (octal, int(text)):
        if number is not None and number & _TYPE_BITS == wanted:
            return number & 0o777
    bare = octal is not None and octal <= _ALL_PERMISSIONS and len(text) <= len("0777")
    return octal & 0o777 if bare and octal is not None else None


def file_mode(item: BucketObject, head: bytes) -> int:
    """Permission bits of a file: the metadata's, else executable for scripts and ELF programs by their first bytes."""
    said = mode_of(item, is_directory=False)
    if said is not None:
        return said
    return EXECUTABLE_MODE if head.startswith((b"#!", b"\x7fELF")) else DEFAULT_FILE_MODE
