"""Changing entries by their paths, whatever catalogs they are in.

Where catalogs begin is not changed here: a marker is a file like any other until the transaction is sealed. Only
nested catalogs that go with their directory disappear at once.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from softman.cvmfs.catalog_tree import CatalogTree, Node
from softman.cvmfs.entries import check_values, directory_entry
from softman.cvmfs.errors import CvmfsError, PathError
from softman.cvmfs.format.catalog_rows import Row
from softman.cvmfs.format.catalog_writer import CatalogWriter
from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.paths import AUTO_MARKER, MARKER, check_writable

BATCH: Final = 1000
"""How many entries of a directory are held at a time while it is removed or moved."""
_MAX_KNOWN: Final = 4096
_NESTED = Flag.NESTED_MOUNTPOINT.value
_BIND = Flag.BIND_MOUNTPOINT.value


class Editor:
    """Looks up, puts and removes. Paths are normal: ``b""`` or ``b"/a/b"``.

    Args:
        tree: the catalogs.
        now: Unix time in seconds, for parents made by themselves.
        directory_made: told of every new directory.

    Attributes:
        marked: directories of which a catalog marker came or went.
    """

    def __init__(self, tree: CatalogTree, *, now: Callable[[], int], directory_made: Callable[[bytes], None]) -> None:
        self.marked: set[bytes] = set()
        self._tree = tree
        self._now = now
        self._directory_made = directory_made
        self._known: dict[bytes, Node] = {}

    def home(self, path: bytes) -> CatalogWriter:
        """The catalog that has, or would have, the row of ``path``; a mountpoint's is the one above."""
        return self._tree.writer(self._tree.catalog_of(path.rpartition(b"/")[0]))

    def inside(self, directory: bytes) -> CatalogWriter:
        """The catalog that has the entries of ``directory``."""
        return self._tree.writer(self._tree.catalog_of(directory))

    def lookup(self, path: bytes) -> Entry | None:
        """The entry at ``path``, or None."""
        entry = self.home(path).lookup(path)
        if entry is not None and entry.flags & _NESTED and self._tree.opened_at(path) is not None:
            root = self.inside(path).lookup(path)  # whose link count the mountpoint gets in the end
            entry = entry if root is None else replace(entry, linkcount=root.linkcount)
        return entry

    def listdir(self, directory: bytes) -> Iterator[Entry]:
        """The entries of a directory in the order of their names' bytes.

        Raises:
            PathError: there is no such directory. Raised at once.
        """
        if self.directory(directory) is None:
            raise PathError(f"{directory!r} is no directory")
        return self._listdir(directory)

    def directory(self, path: bytes) -> Node | None:
        """The catalog with the entries of the directory at ``path``; None when nothing is there.

        Raises:
            PathError: something else is there.
            CvmfsError: it shows the content of another catalog (bind mountpoint).
        """
        node = self._known.get(path)
        if node is None:
            entry = self.lookup(path)
            if entry is None:
                return None
            if not entry.is_dir:
                raise PathError(f"{path!r} is no directory")
            if entry.flags & _BIND:
                raise CvmfsError(f"{path!r} is a bind mountpoint; what it shows cannot be listed or changed here")
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            node = self._known[path] = self._tree.catalog_of(path)
        return node

    def check_place(self, path: bytes) -> None:
        """Make sure that ``path`` has, or can be given, a parent directory. Errors are those of ``directory``."""
        parent = path.rpartition(b"/")[0]
        while self.directory(parent) is None:
            parent = parent.rpartition(b"/")[0]

    def is_empty(self, directory: bytes) -> bool:
        """Whether nothing is in ``directory``, or nothing but the markers of an automatic catalog."""
        names = {entry.name for entry in self.inside(directory).some_children(directory, 3)}
        return not names or (AUTO_MARKER in names and names <= {MARKER, AUTO_MARKER})

    def put(self, entry: Entry) -> None:
        """Add or replace an entry; missing parents are made.

        A directory takes over from a directory with its content; anything else replaces all that is there.

        Raises:
            PathError: a parent is no directory.
            FormatError: values that the format cannot hold.
            CvmfsError: it would be at or below a bind mountpoint.
        """
        check_values(entry)
        node = self.directory(entry.parent)
        old = None if node is None else self._tree.writer(node).lookup(entry.path)
        if old is not None and old.is_dir and entry.is_dir:
            self._update_directory(old, entry)
            return
        if old == entry:
            return
        if node is None:
            node = self._make_parents(entry.path)
        elif old is not None and old.is_dir:
            self.remove(old)
            old = None
        self._tree.writer(node).replace(old, entry)
        if entry.is_dir and len(self._known) < _MAX_KNOWN:
            self._known[entry.path] = node  # what is in it is looked for next
        self._note(entry)

    def insert(self, directory: bytes, rows: Iterable[Row], added: Counters, fingerprint: int) -> None:
        """Insert rows of files below ``directory``, where no other catalog begins; see ``CatalogWriter.insert``.

        None of them may be there or mean anything to CVMFS, and their directories must be there.
        """
        self.inside(directory).insert(rows, added, fingerprint)

    def ensure(self, directory: bytes) -> None:
        """Make a directory, with those above it, when it is not there.

        Raises:
            PathError: something else is there, or above it; or it has a name that means something to CVMFS.
        """
        if self.directory(directory) is None:
            check_writable(directory, is_file=False)
            self._make_parents(directory + b"/")

    def remove(self, top: Entry) -> None:
        """Remove an entry, a directory with everything below it.

        Raises:
            CvmfsError: there is a bind mountpoint in it.
        """
        self._note(top, removed=True)
        if not top.is_dir:
            self.home(top.path).delete(top)
            return
        for bind in self.home(top.path).bind_mountpoints():
            if (bind.path + b"/").startswith(top.path + b"/"):
                raise CvmfsError(f"{bind.path!r} is a bind mountpoint, which cannot be removed")
        self._known.clear()
        pending = [top]
        while pending:
            entry = pending[-1]
            writer = self.home(top.path)
            if entry.flags & _NESTED:
                self.unmount(entry.path)
            elif entry.is_dir and (children := writer.some_children(entry.path, BATCH)):
                for child in children:
                    if child.is_dir:
                        pending.append(child)
                    else:
                        writer.discard(child)
                continue
            self.home(top.path).discard(pending.pop())

    def take(self, entry: Entry) -> None:
        """Take out the row of a file that comes back elsewhere in its directory: its hard-link group stays."""
        self._note(entry, removed=True)
        self.home(entry.path).discard(entry)

    def link(self, target: bytes, path: bytes) -> None:
        """Make ``path`` another name of the file or link at ``target``, which replaces what is there.

        Raises:
            PathError: ``target`` is no file or link, or in another directory; ``path`` is a directory.
        """
        original, there = self.lookup(target), self.lookup(path)
        if original is None or original.is_dir or original.is_special:
            raise PathError(f"{target!r} is no file or symbolic link, so there cannot be hard links to it")
        if original.parent != path.rpartition(b"/")[0]:
            raise PathError(f"{path!r}: hard links to {target!r} can only be in the same directory")
        if path == target or (there is not None and there.hardlink_group == original.hardlink_group != 0):
            return
        if there is not None:
            if there.is_dir:
                raise PathError(f"{path!r} is a directory")
            self.remove(there)
        self.home(path).add_to_group(original, path)
        self._note(original, name=path.rpartition(b"/")[2])

    def unmount(self, path: bytes) -> None:
        """Drop the nested catalog mounted at ``path`` and all below it. The mountpoint's row is left to the caller."""
        nested = self.home(path).nested_at(path)
        if nested is not None:
            share = self._tree.counted(nested)
            writer = self.home(path)
            writer.unmount(path)
            writer.set_subtree_counters(writer.counters.subtree - share)
            self._tree.forget_below(path)
            self._known.clear()

    def forget_directories(self) -> None:
        """To be called when directories went by other means than ``remove``."""
        self._known.clear()

    def _listdir(self, directory: bytes) -> Iterator[Entry]:
        with self._tree.pinned(self._tree.catalog_of(directory)) as catalog:
            yield from catalog.listdir(directory)

    def _update_directory(self, old: Entry, entry: Entry) -> None:
        """Give a directory new attributes. Whether it is hidden or a mountpoint is none of them."""
        if old.flags & _BIND:
            raise CvmfsError(f"{old.path!r} is a bind mountpoint, which cannot be changed")
        kept = old.flags & (Flag.HIDDEN.value | _NESTED)
        entry = replace(entry, linkcount=old.linkcount, flags=entry.flags | kept)
        if entry == old:
            return
        self.home(entry.path).replace(old, entry)
        if old.flags & _NESTED:
            writer = self.inside(entry.path)
            flags = entry.flags & ~_NESTED | Flag.NESTED_ROOT.value
            writer.replace(writer.lookup(entry.path), replace(entry, flags=flags))

    def _make_parents(self, path: bytes) -> Node:
        missing: list[bytes] = []
        parent = path.rpartition(b"/")[0]
        while (node := self.directory(parent)) is None:
            missing.append(parent)
            parent = parent.rpartition(b"/")[0]
        for directory in reversed(missing):
            entry = replace(directory_entry(directory), mtime=self._now())
            self._tree.writer(node).replace(None, entry)
            self._note(entry)
        return node

    def _note(self, entry: Entry, *, name: bytes | None = None, removed: bool = False) -> None:
        if (entry.name if name is None else name) == MARKER:
            self.marked.add(entry.parent)
        elif entry.is_dir and not removed:
            self._directory_made(entry.path)
