"""Where catalogs begin: split off at a directory with a marker, merged back where the marker is gone.

Sub-trees keep their rows as they are; only the catalog that holds them changes, and the counters of the two.

Source: ``cvmfs/catalog_mgr_rw.cc`` and ``catalog_rw.cc`` of CernVM-FS 2.12.
"""

from collections.abc import Iterable
from dataclasses import replace

from softman.cvmfs.catalog_tree import CatalogTree, Node, placeholder
from softman.cvmfs.entries import marker_entry
from softman.cvmfs.format.catalog_moves import move_below, shift_groups
from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm
from softman.cvmfs.paths import AUTO_MARKER, MARKER


class Nesting:
    """Changes which catalogs there are.

    Args:
        tree: the catalogs.
        algorithm: of the repository's hashes.
    """

    def __init__(self, tree: CatalogTree, algorithm: HashAlgorithm) -> None:
        self._tree = tree
        self._algorithm = algorithm

    def follow_markers(self, directories: Iterable[bytes]) -> None:
        """Split or merge at each of ``directories``, as its marker says. Those that are gone do not matter."""
        split, merge = [], []
        for directory in directories:
            node = self._tree.catalog_of(directory)
            writer = self._tree.writer(node)
            marker = writer.lookup(directory + b"/" + MARKER)
            marked = marker is not None and marker.is_file
            if marked and node.path != directory:
                split.append(directory)
            elif directory and not marked and node.path == directory:
                merge.append(directory)
        for directory in sorted(merge, key=lambda path: path.count(b"/")):  # so that no row moves twice
            self.merge(self._tree.catalog_of(directory))
        for directory in sorted(split, key=lambda path: -path.count(b"/")):
            self.split(directory)

    def split(self, directory: bytes) -> None:
        """Give ``directory``, which has a marker or is about to get one, a catalog of its own."""
        tree = self._tree
        node = tree.catalog_of(directory)
        mountpoint = tree.writer(node).lookup(directory)
        assert mountpoint is not None  # noqa: S101 - something is in it
        new = tree.add_new(mountpoint)
        source, target = tree.writer(node), tree.writer(new)
        source.touched = True
        move_below(source.connection, target.connection, directory)
        shares = [tree.counted(nested) for nested in [*target.nested()]]
        source, target = tree.writer(node), tree.writer(new)
        target.recount()
        own, below = target.counters.own, sum(shares, Counters())
        target.set_subtree_counters(below)
        source.set_own_counters(source.counters.own - (own - Counters.of(mountpoint)))
        source.set_subtree_counters(source.counters.subtree + own)
        source.replace(mountpoint, replace(mountpoint, flags=mountpoint.flags | Flag.NESTED_MOUNTPOINT.value))
        source.mount(placeholder(directory, self._algorithm))
        new.counted = target.counters.total
        node.restructured = True

    def merge(self, node: Node) -> None:
        """Put what a nested catalog has into the one above. A marker of automatic catalogs goes."""
        tree = self._tree
        above = tree.above(node)
        target, source = tree.writer(above), tree.writer(node)
        root, mountpoint = source.lookup(node.path), target.lookup(node.path)
        assert root is not None  # noqa: S101 - catalogs are checked when they are fetched
        assert mountpoint is not None  # noqa: S101 - it led here
        shift_groups(source.connection, target.last_group)
        move_below(source.connection, target.connection, node.path)
        target.unmount(node.path)
        target.replace(mountpoint, replace(root, flags=root.flags & ~Flag.NESTED_ROOT.value))
        target.add_links(node.path, root.linkcount - mountpoint.linkcount)
        target.recount()
        assert node.counted is not None  # noqa: S101 - it is open
        target.set_subtree_counters(target.counters.subtree - node.counted + source.counters.subtree)
        above.restructured = True
        tree.forget(node)
        self._remove(above, node.path + b"/" + AUTO_MARKER)

    def make_automatic(self, directory: bytes, empty: ContentHash, now: int) -> None:
        """Split at ``directory`` and mark the new catalog as one that may be merged again.

        Args:
            directory: where.
            empty: the object of an empty file.
            now: Unix time, seconds.
        """
        node = self._tree.catalog_of(directory)
        writer = self._tree.writer(node)
        for name in (MARKER, AUTO_MARKER):
            writer.put(marker_entry(directory + b"/" + name, empty, now, 0o600))
        self.split(directory)

    def unmake_automatic(self, node: Node) -> None:
        """Merge an automatic catalog, and remove both its markers."""
        above = self._tree.above(node)
        self.merge(node)
        self._remove(above, node.path + b"/" + MARKER)

    def is_automatic(self, node: Node) -> bool:
        """Whether a nested catalog was made by balancing."""
        return bool(node.path) and self._marker(node, node.path + b"/" + AUTO_MARKER) is not None

    def _marker(self, node: Node, path: bytes) -> Entry | None:
        return self._tree.writer(node).lookup(path)

    def _remove(self, node: Node, path: bytes) -> None:
        entry = self._marker(node, path)
        if entry is not None and entry.is_file:
            self._tree.writer(node).delete(entry)
