"""All catalogs of a revision, one after the other, each loaded once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from softman.cvmfs.catalogs import MAX_CATALOG_SIZE, connect_read_only
from softman.cvmfs.errors import ObjectMissing
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.catalog import CatalogReader
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.store.base import ReadableStore


@dataclass(frozen=True, slots=True)
class TreeCatalog:
    """A catalog on disk, for as long as the walk stands at it."""

    hash: ContentHash
    database: Path


class CatalogTrees:
    """Walks over catalogs for those who only want to know what they refer to.

    Args:
        store: where the catalogs are.
        work: an empty directory for one database at a time.
    """

    def __init__(self, store: ReadableStore, work: Path) -> None:
        self._fetcher = ObjectFetcher(store, work_dir=work)
        self._work = work
        self._count = 0

    def walk(
        self, root: ContentHash, *, skip: Callable[[ContentHash], bool], tolerant: bool = False
    ) -> Iterator[TreeCatalog]:
        """The catalogs below ``root`` and itself, every one before those it mounts.

        Catalogs behind bind mountpoints are part of it: clients fetch them too.

        Args:
            root: a root catalog.
            skip: which catalogs to leave out, with all below; asked when a catalog's turn comes.
            tolerant: pass over catalogs that are not in the store.

        Raises:
            ObjectMissing: a catalog is not in the store, unless ``tolerant``.
            VerificationError: a catalog is not the one that was named.
            FormatError: a catalog breaks the format.
        """
        pending = [root]
        while pending:
            wanted = pending.pop()
            if skip(wanted):
                continue
            self._count += 1
            database = self._work / f"tree-{self._count}.db"
            try:
                below = self._load(wanted, database)
                yield TreeCatalog(wanted, database)
            except ObjectMissing:
                if not tolerant:
                    raise
                continue
            finally:
                database.unlink(missing_ok=True)
            pending += below

    def _load(self, wanted: ContentHash, database: Path) -> list[ContentHash]:
        self._fetcher.inflate_to(database, wanted, ObjectKind.CATALOG, max_size=MAX_CATALOG_SIZE)
        connection = connect_read_only(database)
        try:
            reader = CatalogReader(connection)
            return [nested.hash for nested in (*reader.nested(), *reader.bind_mountpoints())]
        finally:
            connection.close()
