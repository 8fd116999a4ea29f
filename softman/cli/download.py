"""Copying a file or a tree out of a repository, safe against what a hostile repository may contain.

The rules: the destination must not exist; everything is made beside it under a temporary name and renamed at the end,
so there is all or nothing; every file and directory is created, never opened, so no symbolic link is ever followed;
a symbolic link is copied only when it cannot lead out of the copy; set-id bits and special files are not copied.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from softman.cvmfs.format.entry import Entry
from softman.errors import Corrupt

_PERMISSIONS = 0o777
_OWNER_MAY_ALL = 0o700
_NAME_MAX = 255
_DEPTH_MAX = 400
"""Directories within each other; far below what removing a failed copy can manage (``shutil.rmtree`` recurses)."""


class Content(Protocol):
    """What is copied from: a ``Snapshot``, or anything that can do the same."""

    def lookup(self, path: bytes, /) -> Entry:
        """The entry at a path."""

    def listdir(self, path: bytes, /) -> Iterator[Entry]:
        """The entries of a directory."""

    def read_file(self, path: bytes, /) -> Iterator[bytes]:
        """The content of a file."""


@dataclass
class Copied:
    """What was copied, and what was left out and why."""

    files: int = 0
    directories: int = 0
    links: int = 0
    size: int = 0
    skipped: list[tuple[bytes, str]] = field(default_factory=list)


def download(snapshot: Content, path: bytes, destination: Path) -> Copied:
    """Copy ``path`` of the repository, with all below it, to ``destination``.

    Args:
        snapshot: the revision to read.
        path: a file or a directory; empty for the whole repository.
        destination: the new file or directory.

    Returns:
        Counts, and what was skipped.

    Raises:
        FileExistsError: the destination exists.
        Corrupt: the repository contains a name that no file can have, or is absurdly deep.
        CvmfsError: the path does not exist, or content does not verify; nothing is left at the destination.
    """
    if os.path.lexists(destination):
        raise FileExistsError(17, "exists already; name another destination", str(destination))
    entry = snapshot.lookup(path)
    copied = Copied()
    workshop = Path(tempfile.mkdtemp(prefix=".softman-get-", dir=destination.parent))
    try:
        made = os.path.join(os.fsencode(workshop), b"copy")  # noqa: PTH118 - names are bytes here
        _Copier(snapshot, copied).copy(entry, made)
        if os.path.lexists(made):
            os.rename(made, destination)  # noqa: PTH104 - one name is bytes
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return copied


def stays_inside(target: bytes, depth: int) -> bool:
    """Whether a symbolic link cannot lead out of the tree it is copied with.

    Only leading ``..`` count as safe, and no more of them than the link is deep: a later ``..`` could follow another
    symbolic link first.

    Args:
        target: the link's target.
        depth: directories between the link and the root of the copy.
    """
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    up = 0
    while up < len(parts) and parts[up] == b"..":
        up += 1
    return bool(target) and not target.startswith(b"/") and up <= depth and b".." not in parts[up:]


class _Copier:
    def __init__(self, snapshot: Content, copied: Copied) -> None:
        self._snapshot = snapshot
        self._copied = copied

    def copy(self, top: Entry, made: bytes) -> None:
        """Depth first without recursion, since the depth is the repository's choice."""
        open_directories: list[tuple[Entry, bytes, Iterator[Entry]]] = []
        self._one(top, made, open_directories)
        while open_directories:
            directory, here, children = open_directories[-1]
            child = next(children, None)
            if child is None:
                open_directories.pop()
                _set_times(here, directory, mode=directory.mode & _PERMISSIONS | _OWNER_MAY_ALL)
            else:
                self._one(child, here + b"/" + _checked_name(child), open_directories)

    def _one(self, entry: Entry, made: bytes, open_directories: list[tuple[Entry, bytes, Iterator[Entry]]]) -> None:
        if entry.is_dir:
            if len(open_directories) > _DEPTH_MAX:
                msg = f"the repository has directories more than {_DEPTH_MAX} levels deep below what is copied"
                raise Corrupt(msg)
            os.mkdir(made, _OWNER_MAY_ALL)  # noqa: PTH102 - names are bytes here
            self._copied.directories += 1
            open_directories.append((entry, made, iter(self._snapshot.listdir(entry.path))))
        elif entry.is_symlink:
            self._link(entry, made, depth=len(open_directories) - 1)
        elif stat.S_ISREG(entry.mode):
            self._file(entry, made)
        else:
            self._copied.skipped.append((entry.path, "is a special file"))

    def _file(self, entry: Entry, made: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(made, flags, 0o600), "wb") as file:
            for chunk in self._snapshot.read_file(entry.path):
                file.write(chunk)
                self._copied.size += len(chunk)
        _set_times(made, entry, mode=entry.mode & _PERMISSIONS)
        self._copied.files += 1

    def _link(self, entry: Entry, made: bytes, depth: int) -> None:
        if not stays_inside(entry.symlink, depth):
            self._copied.skipped.append((entry.path, "is a symbolic link that leads out of the copy"))
            return
        os.symlink(entry.symlink, made)  # noqa: PTH211 - names are bytes here
        self._copied.links += 1


def _checked_name(entry: Entry) -> bytes:
    name = entry.name
    if name in {b"", b".", b".."} or b"/" in name or b"\0" in name or len(name) > _NAME_MAX:
        msg = f"the repository has an entry with the impossible name {name[:80]!r}"
        raise Corrupt(msg)
    return name


def _set_times(made: bytes, entry: Entry, *, mode: int) -> None:
    os.chmod(made, mode)  # noqa: PTH101 - names are bytes here
    mtime = entry.mtime * 10**9 + (entry.mtime_ns or 0)
    os.utime(made, ns=(mtime, mtime))
