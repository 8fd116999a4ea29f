"""All catalogs of a revision, recomputed: what every one says about itself, its place and what lies below it."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

from softman.cvmfs.check import catalog_problems, mount_problems
from softman.cvmfs.format.catalog import CatalogReader, NestedCatalog, Properties
from softman.cvmfs.format.counters import CatalogCounters, Counters
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.store.base import ReadableStore


@dataclass
class Catalogs:
    """What was found, by mountpoint."""

    hashes: dict[bytes, ContentHash] = field(default_factory=dict)
    counters: dict[bytes, CatalogCounters] = field(default_factory=dict)
    properties: dict[bytes, Properties] = field(default_factory=dict)
    entries: dict[bytes, Entry] = field(default_factory=dict)
    """By path; of a mountpoint the row in the catalog above."""
    problems: list[str] = field(default_factory=list)

    @property
    def paths(self) -> set[bytes]:
        return set(self.hashes)


def read_catalogs(root: ContentHash, fetch: Callable[[ContentHash], bytes]) -> Catalogs:
    """Read and check all catalogs from ``root`` on. ``fetch`` gives a catalog's database."""
    found = Catalogs()
    _read(found, NestedCatalog(b"", root, 0), fetch, None)
    return found


def stored_catalogs(root: ContentHash, store: ReadableStore) -> Catalogs:
    """As ``read_catalogs``, out of a repository's store."""
    return read_catalogs(
        root,
        lambda content: decompress(store.get(content.object_path(ObjectKind.CATALOG), max_size=2**26), max_size=2**28),
    )


def _read(
    found: Catalogs, nested: NestedCatalog, fetch: Callable[[ContentHash], bytes], mountpoint: Entry | None
) -> Counters:
    database = fetch(nested.hash)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(database)
        catalog = CatalogReader(connection)
        found.problems += [f"catalog {nested.path!r}: {problem}" for problem in catalog_problems(catalog)]
        if catalog.root_path != nested.path or (nested.path and nested.size != len(database)):
            found.problems.append(f"catalog {nested.path!r}: {catalog.root_path!r}, {len(database)} bytes: {nested}")
        found.problems += _row_problems(connection, nested.path)
        found.hashes[nested.path] = nested.hash
        found.counters[nested.path] = stored = catalog.counters
        found.properties[nested.path] = catalog.properties
        root = catalog.lookup(nested.path)
        if root is not None and mountpoint is not None:
            found.problems += mount_problems(mountpoint, root)
        found.entries.update((entry.path, entry) for entry in _entries(catalog, nested.path))
        below = Counters()
        for child in list(catalog.nested()):
            below += _read(found, child, fetch, catalog.lookup(child.path))
    if below != stored.subtree:
        found.problems.append(f"catalog {nested.path!r}: subtree counters {stored.subtree}, should be {below}")
    return stored.total


def _row_problems(connection: sqlite3.Connection, path: bytes) -> Iterator[str]:
    highest, rows = connection.execute("SELECT max(rowid), count(*) FROM catalog").fetchone()
    if highest > rows * 4 / 3 + 1:
        yield f"catalog {path!r}: row ids up to {highest} with {rows} rows"
    sql = "SELECT 1 FROM chunks LEFT JOIN catalog USING (md5path_1, md5path_2) WHERE name IS NULL"
    if connection.execute(sql).fetchall():
        yield f"catalog {path!r}: chunks without a file"
    sql = "SELECT 1 FROM catalog WHERE hardlinks >> 32 GROUP BY hardlinks >> 32 HAVING count(DISTINCT parent_1) > 1"
    if connection.execute(sql).fetchall():
        yield f"catalog {path!r}: one hard-link group in two directories"


def _entries(catalog: CatalogReader, path: bytes) -> Iterator[Entry]:
    for entry in catalog.listdir(path):
        yield entry
        if entry.is_dir:
            yield from _entries(catalog, entry.path)
