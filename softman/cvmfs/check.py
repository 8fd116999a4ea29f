"""Whether one catalog keeps the rules of the format: what ``cvmfs_swissknife check`` recomputes, recomputed.

Every entry is visited once, in bounded memory. What spans catalogs (a mountpoint and the root of the catalog there,
the sums of subtrees) is compared by ``mount_problems`` and by whoever walks the tree of catalogs.

Source: ``cvmfs/swissknife_check.cc`` of CernVM-FS 2.12.
"""

import stat
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Generic, TypeVar

from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.counters import COUNTER_NAMES, Counters
from softman.cvmfs.format.entry import Chunk, Entry, Flag

T = TypeVar("T")

MARKER = b".cvmfscatalog"
"""The file that every nested catalog has in its root directory, and no other directory has."""

_FILE_TYPES: tuple[tuple[Callable[[Entry], bool], frozenset[int]], ...] = (
    (lambda entry: entry.is_dir, frozenset({stat.S_IFDIR})),
    (lambda entry: entry.is_symlink, frozenset({stat.S_IFLNK})),
    (lambda entry: entry.is_file, frozenset({stat.S_IFREG})),
    (lambda entry: entry.is_special, frozenset({stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK})),
)


def catalog_problems(catalog: CatalogReader) -> Iterator[str]:
    """What is wrong with ``catalog`` by itself, one sentence each that names the path.

    Raises:
        FormatError: the database or a row cannot be read at all.
    """
    return CatalogCheck(catalog, _nothing).problems()


def _nothing(_entry: Entry) -> tuple[str, ...]:
    return ()


def mount_problems(mountpoint: Entry, root: Entry) -> Iterator[str]:
    """How the row of a mountpoint and the root row of the catalog mounted there differ, where they must not."""
    for name in ("linkcount", "size", "mode", "mtime", "symlink", "hash"):
        if getattr(mountpoint, name) != getattr(root, name):
            yield f"{root.path!r}: {name} differs between the mountpoint and the root of the nested catalog"
    if bool(mountpoint.xattrs) != bool(root.xattrs):
        yield f"{root.path!r}: only one of mountpoint and nested root has extended attributes"
    if not root.flags & Flag.NESTED_ROOT.value:
        yield f"{root.path!r}: the root of the nested catalog is not marked as such"


class CatalogCheck(Generic[T]):
    """One walk over a catalog.

    Args:
        catalog: open as long as the walk lasts.
        visit: called with every entry; what it gives is among the problems.
    """

    def __init__(self, catalog: CatalogReader, visit: Callable[[Entry], Iterable[T]]) -> None:
        self._catalog = catalog
        self._visit = visit
        self._mountpoints = {n.path for n in (*catalog.nested(), *catalog.bind_mountpoints())}
        self._unmounted = set(self._mountpoints)
        self._visited = 0
        self.own = Counters()
        """What the rows add up to; right when all problems were taken."""

    def problems(self) -> Iterator[str | T]:
        """Everything, in the order in which it is found.

        Raises:
            FormatError: the database or a row cannot be read at all.
        """
        root = self._catalog.lookup(self._catalog.root_path)
        if root is None or not root.is_dir:
            yield "the catalog has no root directory"
            return
        yield from self._entry_problems(root)
        pending = [root]
        while pending:
            directory = pending.pop()
            yield from self._directory_problems(directory, pending)
        if self._visited != (rows := self._catalog.row_count()):
            yield f"{rows} rows, but {self._visited} entries can be reached from the root"
        for path in sorted(self._unmounted):
            yield f"{path!r}: is registered as a mountpoint, but has no row that says so"
        yield from self._counter_problems()

    def _directory_problems(self, directory: Entry, pending: list[Entry]) -> Iterator[str | T]:
        groups: dict[int, list[Entry]] = {}
        subdirectories = 0
        marker = False
        for entry in self._catalog.listdir(directory.path):
            yield from self._entry_problems(entry)
            marker = marker or entry.name == MARKER
            if entry.is_dir:
                subdirectories += 1
                pending.append(entry)
            if entry.hardlink_group:
                groups.setdefault(entry.hardlink_group, []).append(entry)
            if directory.is_mountpoint:
                yield f"{entry.path!r}: lies below the mountpoint of another catalog"
        if not directory.is_mountpoint and directory.linkcount != 2 + subdirectories:
            yield f"{directory.path!r}: link count {directory.linkcount}, with {subdirectories} sub-directories"
        if marker != (directory.flags & Flag.NESTED_ROOT.value != 0):
            yield f"{directory.path!r}: {'abandoned' if marker else 'missing'} catalog marker"
        for members in groups.values():
            yield from _group_problems(members)

    def _entry_problems(self, entry: Entry) -> Iterator[str | T]:
        self._visited += 1
        kinds = [types for is_kind, types in _FILE_TYPES if is_kind(entry)]
        if len(kinds) != 1 or stat.S_IFMT(entry.mode) not in kinds[0]:
            yield f"{entry.path!r}: flags {entry.flags:#x} and mode {entry.mode:o} do not name one type of file"
        if entry.is_file:
            yield from _content_problems(entry)
        elif entry.hash is not None or entry.chunks:
            yield f"{entry.path!r}: has content, but is no regular file"
        if entry.is_symlink and (not entry.symlink or entry.size not in {0, len(entry.symlink)}):
            # Stock `ingest` stores 0.
            yield f"{entry.path!r}: size {entry.size} is not that of the link's target"
        if entry.is_dir and entry.is_mountpoint != (entry.path in self._mountpoints):
            yield f"{entry.path!r}: is a mountpoint only in its flags, or only in the list of catalogs"
        self._unmounted.discard(entry.path)
        yield from self._visit(entry)

    def _counter_problems(self) -> Iterator[str]:
        stored, self.own = self._catalog.counters.own, self._catalog.row_sums()
        for name in COUNTER_NAMES:
            if getattr(stored, name) != getattr(self.own, name):
                yield f"counter self_{name} is {getattr(stored, name)}, should be {getattr(self.own, name)}"


def _content_problems(entry: Entry) -> Iterator[str]:
    if not entry.is_chunked:
        if entry.hash is None:
            yield f"{entry.path!r}: has no content hash"
        return
    yield from chunk_problems(entry.path, entry.chunks, entry.size)


def chunk_problems(path: bytes, chunks: tuple[Chunk, ...], size: int) -> Iterator[str]:
    """Whether ``chunks``, in order of offset, cover a file of ``size`` bytes without gap or overlap."""
    if not chunks or chunks[0].offset != 0 or chunks[-1].offset + chunks[-1].size != size:
        yield f"{path!r}: the chunks do not begin and end with the file"
    elif any(a.offset + a.size != b.offset for a, b in pairwise(chunks)) or any(c.size < 0 for c in chunks):
        yield f"{path!r}: the chunks have gaps or overlap"


def _group_problems(members: list[Entry]) -> Iterator[str]:
    first = members[0]
    if any(member.linkcount != len(members) for member in members):
        yield f"{first.path!r}: {len(members)} hard links, but a link count of {first.linkcount}"
    same = ("mode", "size", "mtime", "hash", "symlink", "uid", "gid", "flags", "xattrs", "chunks")
    if any(getattr(member, name) != getattr(first, name) for member in members for name in same):
        yield f"{first.path!r}: hard links with different attributes"
