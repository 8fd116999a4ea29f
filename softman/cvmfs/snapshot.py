"""One revision of a repository, to be looked at: entries, directories, file content, all of it verified."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from softman.cvmfs.catalogs import CatalogCache, OpenCatalog
from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.catalog import CatalogReader, NestedCatalog
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.rows import Order
from softman.cvmfs.paths import MAX_PATH, repository_path
from softman.cvmfs.store.base import ReadableStore

_DIRECTORY = Flag.DIRECTORY.value
_NESTED = Flag.NESTED_MOUNTPOINT.value
_BIND = Flag.BIND_MOUNTPOINT.value
_MAX_NESTED: Final = 200
"""How deep catalogs may be nested: all on the way are open, and one of a few levels is the rule."""


class Snapshot:
    """A revision, fixed: what is published later does not show. A context manager; leaving it removes its files.

    Paths are absolute inside the repository, text or bytes; ``""``, ``"/"`` and their bytes are the root. Nested
    catalogs are fetched when they are entered. ``lookup`` and ``read_file`` may be used by many threads, an iterator by
    one.

    Args:
        store: where the objects are.
        manifest: of the revision; believed.
        work_dir: for temporary files; None takes the system's directory.

    Raises:
        ObjectMissing: the root catalog is not in the store.
        StoreUnavailable: the store does not answer.
        VerificationError: the root catalog is not the one the manifest names.
        FormatError: it is no catalog.
    """

    def __init__(self, store: ReadableStore, manifest: Manifest, *, work_dir: Path | None = None) -> None:
        self.manifest = manifest
        self._fetcher = ObjectFetcher(store, work_dir=work_dir)
        self._directory = Path(tempfile.mkdtemp(prefix="softman-snapshot-", dir=work_dir))
        self._cache = CatalogCache(self._fetcher, self._directory)
        try:
            self._root = self._cache.load(NestedCatalog(b"", manifest.root_hash, manifest.root_size))
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all catalogs and remove temporary files."""
        self._cache.close()
        self._root.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def catalog_path(self) -> Path:
        """The root catalog's database; only to be read, and only until the snapshot is closed."""
        return self._root.database

    def copy_catalog(self, wanted: NestedCatalog, target: Path) -> None:
        """Fetch and verify one of the nested catalogs, and leave its database in the new file ``target``.

        Raises:
            CvmfsError: as ``CatalogCache.load``.
        """
        catalog = self._cache.load(wanted)
        catalog.connection.close()
        shutil.move(catalog.database, target)

    def mounted_at(self, path: bytes) -> NestedCatalog | None:
        """The nested catalog whose mountpoint is ``path`` itself, or None.

        Raises:
            FormatError: a catalog above it breaks the format.
            VerificationError: a catalog above it is not the one that was named.
        """
        with self.holding(path.rpartition(b"/")[0]) as catalog:
            return catalog.reader.nested_at(path) if path else None

    @contextmanager
    def holding(self, directory: bytes) -> Iterator[OpenCatalog]:
        """The catalog that holds the content of ``directory``; only to be read, and only as long as the context lasts.

        Raises:
            CvmfsError: as ``mounted_at``.
        """
        with ExitStack() as using:
            catalog = self._root
            while (nested := catalog.reader.nested_above(directory)) is not None:
                catalog = using.enter_context(self._cache.use(catalog.reader, nested))
            yield catalog

    @property
    def catalog(self) -> CatalogReader:
        """The root catalog: its properties, counters and nested catalogs."""
        return self._root.reader

    def lookup(self, path: str | bytes) -> Entry:
        """The entry at ``path``; hidden ones too. Symbolic links are not followed.

        Raises:
            PathError: there is none, or ``path`` cannot be one.
            FormatError: the row of the entry, or a catalog above it, breaks the format.
            VerificationError: a catalog above it is not the one that was named.
        """
        where = repository_path(path)
        with self.holding(where.rpartition(b"/")[0]) as catalog:
            entry = catalog.reader.lookup(where)
        if entry is None:
            raise PathError(f"{_shown(where)} does not exist")
        return entry

    def listdir(self, path: str | bytes = b"", *, hidden: bool = False) -> Iterator[Entry]:
        """The entries of a directory in the order of their names' bytes.

        A nested catalog's mountpoint comes with the attributes that its parent catalog has for it.

        Args:
            path: of the directory.
            hidden: also those entries that clients do not list.

        Raises:
            PathError: there is no such directory. Raised at once, all else while iterating.
            FormatError: a row or a catalog breaks the format.
            VerificationError: a catalog is not the one that was named.
        """
        return self._children(self._directory_at(path), hidden=hidden)

    def page(self, path: str | bytes = b"", *, after: bytes = b"", limit: int) -> list[Entry]:
        """Some entries of a directory in the order of their names' bytes, without hidden ones; many threads may ask.

        Args:
            path: of the directory.
            after: only names that come after this one.
            limit: how many at most; fewer are all there are.

        Raises:
            CvmfsError: as ``listdir``.
        """
        directory = self._directory_at(path)
        found: list[Entry] = []
        if not _can_be_entered(directory):
            return found
        with self._inside(directory) as catalog:
            while len(found) < limit:
                wanted = limit - len(found)
                entries = catalog.children_after(directory.path, after, wanted)
                found += [entry for entry in entries if not entry.is_hidden]
                if len(entries) < wanted:
                    break
                after = entries[-1].name
        return found

    def walk(
        self,
        path: str | bytes = b"",
        *,
        hidden: bool = False,
        order: Order = Order.NAME,
        arrange: Callable[[Iterator[Entry]], Iterator[Entry]] | None = None,
        enter: Callable[[Entry], bool] | None = None,
    ) -> Iterator[Entry]:
        """Everything below a directory, depth first, nested catalogs included.

        Memory is bounded by the depth of the tree, not by its size or that of a directory.

        Args:
            path: of the directory.
            hidden: also those entries that clients do not list.
            order: of the entries of a directory. With ``Order.KEY`` the whole walk is in the order of an S3 listing:
                that of the bytes of paths, those of directories with a slash at the end.
            arrange: brings the entries of one directory, which come in ``order``, into another.
            enter: whether to walk over what is below a directory; None for all of them.

        Raises:
            CvmfsError: as ``listdir``.
        """
        way = _Way(order, 0 if hidden else Flag.HIDDEN.value, arrange or _as_it_is, enter or _always)
        return self._walk(self._directory_at(path), way)

    def read_file(self, path: str | bytes) -> Iterator[bytes]:
        """The content of a regular file, in pieces of bounded size.

        No byte comes out before the object it is from was verified; size and order of the pieces are checked.

        Args:
            path: of the file.

        Raises:
            PathError: there is no such file, or its content is on another server. Raised at once, all else while
                iterating.
            FormatError: the pieces do not make up the file, or content is shorter than the catalog says.
            TooLarge: content is longer than the catalog says.
            HashMismatch: an object is not the one that was named.
            ObjectMissing: an object is not in the store.
            StoreUnavailable: the store does not answer.
        """
        return self.read_entry(self.lookup(path))

    def read_entry(self, entry: Entry) -> Iterator[bytes]:
        """As ``read_file``, for an entry of this snapshot that is at hand."""
        if not entry.is_file:
            raise PathError(f"{_shown(entry.path)} is not a regular file")
        if entry.is_external:
            raise PathError(f"{_shown(entry.path)} is an external file: its content is on another server")
        return self._chunks(entry) if entry.is_chunked else self._whole(entry)

    def _whole(self, entry: Entry) -> Iterator[bytes]:
        if entry.hash is None:
            raise FormatError(f"{_shown(entry.path)}: the catalog has no hash for the file")
        yield from self._fetcher.content(entry.hash, ObjectKind.FILE, size=entry.size, compression=entry.compression)

    def _chunks(self, entry: Entry) -> Iterator[bytes]:
        position = 0
        for chunk in entry.chunks:
            if chunk.offset != position or chunk.size <= 0:
                break
            position += chunk.size
        if position != entry.size or not entry.chunks:
            raise FormatError(f"{_shown(entry.path)}: the chunks do not cover the file")
        for chunk in entry.chunks:
            yield from self._fetcher.content(
                chunk.hash, ObjectKind.CHUNK, size=chunk.size, compression=entry.compression
            )

    def _directory_at(self, path: str | bytes) -> Entry:
        entry = self.lookup(path)
        if not entry.is_dir:
            raise PathError(f"{_shown(entry.path)} is not a directory")
        return entry

    def _children(self, directory: Entry, *, hidden: bool) -> Iterator[Entry]:
        if not _can_be_entered(directory):
            return
        with self._inside(directory) as catalog:
            for entry in catalog.listdir(directory.path):
                if hidden or not entry.is_hidden:
                    yield entry

    @contextmanager
    def _inside(self, directory: Entry) -> Iterator[CatalogReader]:
        with self.holding(directory.path) as held:
            if directory.flags & _NESTED and held.reader.root_path != directory.path:
                raise _without_catalog(directory)
            yield held.reader

    def _walk(self, top: Entry, way: "_Way") -> Iterator[Entry]:
        if _can_be_entered(top):
            with self.holding(top.path) as catalog:
                if top.flags & _NESTED and catalog.reader.root_path != top.path:
                    raise _without_catalog(top)
                yield from self._walk_catalog(catalog.reader, top, way)

    def _walk_catalog(self, catalog: CatalogReader, top: Entry, way: "_Way", depth: int = 0) -> Iterator[Entry]:
        """What is below ``top``, which is in ``catalog``. Every entry passes here, so this is kept short."""
        if depth > _MAX_NESTED:
            raise FormatError(f"{_shown(top.path[:80])}...: more than {_MAX_NESTED} catalogs inside each other")
        order, left_out, arrange, enter = way
        has_nested = next(catalog.nested(), None) is not None
        pending = [arrange(catalog.listdir(top.path, order))]
        while pending:
            for entry in pending[-1]:
                flags = entry.flags
                if flags & left_out:
                    continue
                yield entry
                if not flags & _DIRECTORY or not _can_be_entered(entry) or not enter(entry):
                    continue
                nested = catalog.nested_at(entry.path) if has_nested else None
                if nested is not None:
                    with self._cache.use(catalog, nested) as below:
                        yield from self._walk_catalog(below.reader, entry, way, depth + 1)
                elif flags & _NESTED:
                    raise _without_catalog(entry)
                else:
                    pending.append(arrange(catalog.listdir(entry.path, order)))
                    break
            else:
                pending.pop()


class _Way(NamedTuple):
    """How a walk goes. ``left_out`` are flags of entries that do not show."""

    order: Order
    left_out: int
    arrange: Callable[[Iterator[Entry]], Iterator[Entry]]
    enter: Callable[[Entry], bool]


def _always(_directory: Entry) -> bool:
    return True


def _as_it_is(entries: Iterator[Entry]) -> Iterator[Entry]:
    return entries


def _can_be_entered(directory: Entry) -> bool:
    if directory.flags & _BIND:
        return False  # shows another revision; no part of this one
    if len(directory.path) > MAX_PATH:  # no client could enter it; a walk would go on and on
        raise FormatError(f"{_shown(directory.path[:80])}...: the path has more than {MAX_PATH} bytes")
    return True


def _without_catalog(directory: Entry) -> FormatError:
    return FormatError(f"{_shown(directory.path)} is a mountpoint without a nested catalog")


def _shown(path: bytes) -> str:
    """A path for messages, whatever its bytes."""
    return path.decode(errors="backslashreplace") or "/"
