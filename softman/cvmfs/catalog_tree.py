"""The catalogs of the revision that is being made: opened when they are needed, written anew when they differ.

Only catalogs that something happens in are fetched, each into a scratch file; of those only a few stay open. What
leads to a catalog is the list of nested catalogs in the one above it, as for readers.
"""

import heapq
import shutil
import sqlite3
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.catalog import NestedCatalog, sqlite_errors
from softman.cvmfs.format.catalog_writer import CatalogWriter, create_catalog
from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.staging import Staging

MAX_OPEN: Final = 8
"""Catalogs that are open at a time. Each may take ``CACHE_KIB`` of memory; no single change needs more than three."""
CACHE_KIB: Final = 12 * 1024
_PIECE: Final = 1024 * 1024
_MAX_KNOWN: Final = 4096


class Base(Protocol):
    """What a transaction starts from; ``reader.Snapshot`` is one."""

    @property
    def manifest(self) -> Manifest:
        """The manifest of the revision."""

    @property
    def catalog_path(self) -> Path:
        """Its root catalog, verified, as a database file."""

    def copy_catalog(self, wanted: NestedCatalog, target: Path) -> None:
        """Leave the database of one of its nested catalogs, verified, in the new file ``target``."""

    def read_entry(self, entry: Entry) -> Iterator[bytes]:
        """The content of one of its files."""


@dataclass(slots=True, eq=False)
class Node:
    """One catalog. ``path`` is its mountpoint, ``b""`` for the root catalog."""

    path: bytes
    database: Path
    registered: NestedCatalog | None
    """What the base has; None for a catalog that is new."""
    counted: Counters | None = None
    """Its share of the subtree counters above it, None until it was opened."""
    writer: CatalogWriter | None = None
    changes: int = 0
    """``CatalogWriter.changes`` while it is closed."""
    kept: bool = False
    """The scratch file has changes: it must not be thrown away."""
    restructured: bool = False
    """Must be written, whatever its rows add up to."""
    users: int = 0
    """Iterators that need it open."""

    @property
    def differs(self) -> bool:
        """Whether it must be written."""
        return self.restructured or (self.changes if self.writer is None else self.writer.changes) != 0

    @property
    def depth(self) -> int:
        """How deep its mountpoint lies."""
        return self.path.count(b"/")


class CatalogTree:
    """All catalogs of a transaction.

    Args:
        base: the revision to build on.
        directory: for scratch files; belongs to this tree alone.

    Raises:
        FormatError: the root catalog cannot be read, or is of a schema revision that cannot be written.
    """

    def __init__(self, base: Base, directory: Path) -> None:
        self._base = base
        self._directory = directory
        self._files = 0
        self._nodes: dict[bytes, Node] = {}
        self._open: OrderedDict[bytes, Node] = OrderedDict()
        self._known: dict[bytes, Node] = {}
        manifest = base.manifest
        self.root = self._add(NestedCatalog(b"", manifest.root_hash, manifest.root_size))

    def close(self) -> None:
        """Close all catalogs."""
        for node in self._open.values():
            if node.writer is not None:
                node.writer.connection.close()
                node.writer = None
        self._open.clear()

    def writer(self, node: Node) -> CatalogWriter:
        """The catalog itself, opened, and fetched if that was not done. Good until the next few are asked for."""
        if node.writer is None:
            self._make_room()
            node.writer = self._opened(node)
            self._open[node.path] = node
        else:
            self._open.move_to_end(node.path)
        return node.writer

    def catalog_of(self, directory: bytes) -> Node:
        """The catalog that has, or would have, the entries of ``directory``."""
        found = self._known.get(directory)
        if found is not None:
            return found
        node = self.root
        while True:
            writer = self.writer(node)
            nested = writer.nested_above(directory) if writer.counters.own.nested else None
            if nested is None:
                break
            node = self._nodes.get(nested.path) or self._add(nested)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[directory] = node
        return node

    def above(self, node: Node) -> Node:
        """The catalog that has the mountpoint of ``node``."""
        return self.catalog_of(node.path.rpartition(b"/")[0])

    def opened_at(self, path: bytes) -> Node | None:
        """The catalog mounted at ``path`` if anything was done with it."""
        return self._nodes.get(path)

    @contextmanager
    def pinned(self, node: Node) -> Iterator[CatalogWriter]:
        """The catalog, open as long as the context lasts."""
        node.users += 1
        try:
            yield self.writer(node)
        finally:
            node.users -= 1

    def counted(self, nested: NestedCatalog) -> Counters:
        """What the subtree counters above a catalog have for it and all below it."""
        node = self._nodes.get(nested.path) or self._add(nested)
        if node.counted is None:
            self.writer(node)
        assert node.counted is not None  # noqa: S101 - opening sets it
        return node.counted

    def add_new(self, root: Entry) -> Node:
        """Make an empty catalog whose root directory is ``root``. It is to be mounted by the caller."""
        self._make_room()
        node = Node(root.path, self._new_file(), None, kept=True, restructured=True)
        connection = self._connect(node.database)
        flags = (root.flags & ~Flag.NESTED_MOUNTPOINT.value) | Flag.NESTED_ROOT.value
        node.writer = create_catalog(connection, replace(root, flags=flags))
        with sqlite_errors():
            connection.execute("BEGIN")
        self._nodes[node.path] = self._open[node.path] = node
        self._known.clear()
        return node

    def forget(self, node: Node) -> None:
        """Drop a catalog that is mounted no more."""
        self._drop(node)
        self._nodes.pop(node.path, None)
        self._known.clear()

    def forget_below(self, directory: bytes) -> None:
        """Drop all catalogs below ``directory``, and one that is mounted there."""
        inside = directory + b"/"
        for node in [n for n in self._nodes.values() if n.path == directory or n.path.startswith(inside)]:
            self.forget(node)

    def differs(self) -> bool:
        """Whether anything differs from the base."""
        return any(node.differs for node in self._nodes.values())

    def from_below(self) -> Iterator[Node]:
        """The catalogs that differ, those that lie deeper first.

        Those that come to differ meanwhile are included, provided that they lie above the last one given.
        """
        waiting: list[tuple[int, bytes]] = []
        seen: set[bytes] = set()
        while True:
            for node in self._nodes.values():
                if node.differs and node.path not in seen:
                    seen.add(node.path)
                    heapq.heappush(waiting, (-node.depth, node.path))
            if not waiting:
                return
            depth = waiting[0][0]
            while waiting and waiting[0][0] == depth:
                node_or_none = self._nodes.get(heapq.heappop(waiting)[1])
                if node_or_none is not None:
                    yield node_or_none

    def write(self, staging: Staging, *, now: int) -> NestedCatalog:
        """Stage every catalog that differs and all above them, from below.

        Args:
            staging: where to.
            now: Unix time of the change, seconds.

        Returns:
            The root catalog.
        """
        self.root.restructured = True
        written = None
        for node in self.from_below():
            written = self._write(node, staging, now)
        assert written is not None  # noqa: S101 - the root comes last
        return written

    def _write(self, node: Node, staging: Staging, now: int) -> NestedCatalog:
        writer = self.writer(node)
        properties, manifest = writer.properties, self._base.manifest
        writer.finish(
            revision=properties.revision + 1 if node.path else manifest.revision + 1,
            last_modified=max(now, properties.last_modified),
            previous=None if node.registered is None else node.registered.hash,
            ttl=None if node.path else manifest.ttl,
        )
        total, root = writer.counters.total, writer.lookup(node.path)
        if root is None:
            raise FormatError(f"the catalog of {node.path!r} has no entry for its own root")
        with sqlite_errors():
            writer.connection.execute("COMMIT")
        writer.compact()
        self._drop(node, keep_file=True)
        size = node.database.stat().st_size
        with node.database.open("rb") as file:
            stored = staging.write_object(iter(lambda: file.read(_PIECE), b""), ObjectKind.CATALOG)
        node.database.unlink()
        written = NestedCatalog(node.path, stored.hash, size)
        if node.path:
            self._register(written, root, total - (node.counted or total))
        return written

    def _register(self, written: NestedCatalog, root: Entry, difference: Counters) -> None:
        """Enter a catalog that was written in the one above."""
        above = self.catalog_of(root.parent)
        writer = self.writer(above)
        writer.mount(written)
        writer.set_subtree_counters(writer.counters.subtree + difference)
        flags = (root.flags & ~Flag.NESTED_ROOT.value) | Flag.NESTED_MOUNTPOINT.value
        mountpoint = writer.lookup(root.path)
        if mountpoint is None or not mountpoint.is_mountpoint:
            raise FormatError(f"the nested catalog at {root.path!r} has no mountpoint")
        writer.replace(mountpoint, replace(root, flags=flags))
        # The link count that is there was kept; the nested catalog knows better.
        writer.add_links(root.path, root.linkcount - mountpoint.linkcount)
        above.restructured = True

    def _add(self, nested: NestedCatalog) -> Node:
        node = self._nodes[nested.path] = Node(nested.path, self._new_file(), nested)
        return node

    def _new_file(self) -> Path:
        self._files += 1
        return self._directory / f"{self._files}.db"

    def _opened(self, node: Node) -> CatalogWriter:
        if not node.kept:
            if node.path and node.registered is not None:
                self._base.copy_catalog(node.registered, node.database)
            else:
                shutil.copyfile(self._base.catalog_path, node.database)
        connection = self._connect(node.database)
        try:
            writer = CatalogWriter(connection)
            with sqlite_errors():
                connection.execute("BEGIN")
        except BaseException:
            connection.close()
            raise
        writer.changes = node.changes
        if node.counted is None:
            node.counted = writer.counters.total
        return writer

    def _connect(self, database: Path) -> sqlite3.Connection:
        with sqlite_errors():
            connection = sqlite3.connect(f"file:{quote(str(database))}", uri=True, isolation_level=None)
            # A scratch file needs no protection against crashes; the header stays that of a rollback journal.
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "trusted_schema=OFF"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        return connection

    def _make_room(self) -> None:
        idle = [node for node in self._open.values() if not node.users and node is not self.root]
        for node in idle[: max(0, len(self._open) + 1 - MAX_OPEN)]:
            self._close(node)

    def _close(self, node: Node) -> None:
        """Close a catalog; one without changes is fetched again when it is needed."""
        writer = node.writer
        if writer is not None and (writer.touched or node.kept):
            writer.save_counters()
            with sqlite_errors():
                writer.connection.execute("COMMIT")
            node.kept = True
            self._drop(node, keep_file=True)
        else:
            self._drop(node)

    def _drop(self, node: Node, *, keep_file: bool = False) -> None:
        if node.writer is not None:
            node.changes = node.writer.changes
            node.writer.connection.close()
            node.writer = None
        self._open.pop(node.path, None)
        if not keep_file:
            node.database.unlink(missing_ok=True)


def placeholder(path: bytes, algorithm: HashAlgorithm) -> NestedCatalog:
    """What stands in the list of nested catalogs for one that was not written yet."""
    return NestedCatalog(path, ContentHash(bytes(20), algorithm), 0)
