"""The catalogs in force, for comparison with those of a candidate: fetched when they are asked for, a few at a time."""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from softman.cvmfs.format.catalog import CatalogReader, NestedCatalog
from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Entry

_MAX_OPEN: Final = 32


@dataclass(frozen=True, slots=True)
class BaseCatalog:
    """One of them. ``path`` is its mountpoint."""

    path: bytes
    hash: str
    database: Path
    reader: CatalogReader
    connection: sqlite3.Connection

    def close(self) -> None:
        """Close it and remove its file."""
        self.connection.close()
        self.database.unlink(missing_ok=True)


class BaseCatalogs:
    """All of them. They were inspected when they were candidates, or are the stock tools' work; either way signed.

    Args:
        root: the root catalog.
        fetch: leaves a catalog's database in a file.
    """

    def __init__(self, root: NestedCatalog, fetch: Callable[[NestedCatalog], Path]) -> None:
        self._root = root
        self._fetch = fetch
        self._open: OrderedDict[bytes, BaseCatalog] = OrderedDict()

    def close(self) -> None:
        """Close them all."""
        for catalog in self._open.values():
            catalog.close()
        self._open.clear()

    def holding(self, directory: bytes) -> BaseCatalog:
        """The catalog that has, or would have, the entries of ``directory``. Good until a few others are asked for."""
        catalog = self._use(self._root)
        while (nested := catalog.reader.nested_above(directory)) is not None:
            catalog = self._use(nested)
        return catalog

    def at(self, path: bytes) -> BaseCatalog | None:
        """The catalog mounted at ``path`` itself."""
        catalog = self.holding(path)
        return catalog if catalog.path == path else None

    def lookup(self, path: bytes) -> Entry | None:
        """The entry at ``path``; of a mountpoint the row in the catalog above."""
        return self.holding(path.rpartition(b"/")[0]).reader.lookup(path)

    def nested_at(self, path: bytes) -> NestedCatalog | None:
        """What is registered for ``path``."""
        return self.holding(path.rpartition(b"/")[0]).reader.nested_at(path) if path else self._root

    def total(self, nested: NestedCatalog) -> Counters:
        """What a catalog and all below it add up to."""
        return self._use(nested).reader.counters.total

    def _use(self, nested: NestedCatalog) -> BaseCatalog:
        catalog = self._open.get(nested.path)
        if catalog is None:
            while len(self._open) >= _MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            database = self._fetch(nested)
            connection = sqlite3.connect(read_only_uri(database), uri=True, isolation_level=None)
            for pragma in ("trusted_schema=OFF", "query_only=ON", "cache_size=-4096"):
                connection.execute(f"PRAGMA {pragma}")
            catalog = BaseCatalog(nested.path, str(nested.hash), database, CatalogReader(connection), connection)
            self._open[nested.path] = catalog
        self._open.move_to_end(nested.path)
        return catalog


def read_only_uri(database: Path) -> str:
    """The address under which SQLite opens a file that nobody changes."""
    return f"file:{quote(str(database))}?mode=ro&immutable=1"
