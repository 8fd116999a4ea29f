"""Paths inside a repository as callers give them."""

import os

from softman.cvmfs.errors import PathError
from softman.cvmfs.format.entry import check_name

MAX_PATH = 4095
"""Bytes of a path that the system calls of a client take."""
MARKER = b".cvmfscatalog"
"""The file that begins a nested catalog in its directory; no other directory has one."""
AUTO_MARKER = b".cvmfsautocatalog"
"""The file beside it that says that the catalog was made by balancing."""
_RESERVED_AT_ROOT = b".cvmfs"
_DIRTAB = b".cvmfsdirtab"
_MARKERS = frozenset({MARKER, AUTO_MARKER})


def repository_path(path: str | bytes) -> bytes:
    """The bytes of ``path``: absolute, no slash at the end, ``b""`` for the root.

    Args:
        path: ``""`` or ``"/"`` for the root, else absolute. Text is encoded as file names are (``os.fsencode``).

    Raises:
        PathError: it does not begin with a slash, or a component cannot be a name.
    """
    raw = os.fsencode(path)
    if raw in {b"", b"/"}:
        return b""
    if not raw.startswith(b"/"):
        raise PathError(f"{raw!r} does not begin with a slash")
    for name in raw[1:].split(b"/"):
        check_name(name)
    return raw


def check_writable(path: bytes, *, is_file: bool) -> None:
    """Accept ``path``, already normal, as the place of an entry that a writer makes.

    Args:
        path: the place.
        is_file: whether the entry is a regular file: only those may be catalog markers, or the dirtab at the root.

    Raises:
        PathError: it is the root, has over 4095 bytes (no client could open it), or a name that means something in
            CVMFS: any other ``.cvmfs*`` at the root, catalog markers as directories or links.
    """
    if not path:
        raise PathError("the root of the repository is always there")
    if len(path) > MAX_PATH:
        raise PathError(f"{path[:80]!r}... has {len(path)} bytes; {MAX_PATH} are possible")
    names = path[1:].split(b"/")
    if names[0].startswith(_RESERVED_AT_ROOT) and not (is_file and names == [_DIRTAB]):
        raise PathError(f"{path!r}: names that begin with .cvmfs are reserved at the root of a repository")
    if not _MARKERS.isdisjoint(names[:-1] if is_file else names):
        raise PathError(f"{path!r}: {MARKER.decode()} and {AUTO_MARKER.decode()} can only be regular files")
