"""Checks of a whole repository: everything that is signed, every catalog, and, if wanted, every object.

Problems are values with advice, found one after the other in bounded memory; nothing is changed. What is asked of one
catalog is in ``check``.

Source: ``cvmfs/swissknife_check.cc`` of CernVM-FS 2.12, which agrees.
"""

import json
import tempfile
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from softman.cvmfs.catalogs import CatalogCache
from softman.cvmfs.check import CatalogCheck, mount_problems
from softman.cvmfs.errors import (
    CvmfsError,
    FormatError,
    ObjectMissing,
    StoreUnavailable,
    VerificationError,
    WhitelistExpired,
)
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.catalog import NestedCatalog
from softman.cvmfs.format.counters import COUNTER_NAMES, Counters
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.format.history import TRUNK, History
from softman.cvmfs.format.manifest import MANIFEST_NAME, MAX_MANIFEST_SIZE, Manifest
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.format.reflog import MAX_REFLOG_SIZE, REFLOG_NAME, Reflog
from softman.cvmfs.objectset import ObjectSets
from softman.cvmfs.paths import repository_path
from softman.cvmfs.problems import Problem, ProblemKind
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.revisions import read_history
from softman.cvmfs.store.base import ReadableStore, Store
from softman.cvmfs.unreferenced import unreferenced_objects

_MAX_METAINFO = 1024 * 1024
_BATCH = 4096
_THREADS = 16
"""That ask for objects at the same time. A web server on the other side of an ocean answers 16 times as fast then."""
_DAMAGE = (ObjectMissing, VerificationError, FormatError)
_SHOWN = 256
"""Entries after which progress is told; where all content is read, after each."""
Progress = Callable[[int, int | None], object]
"""Is told how many more entries were checked, and how many there are in all as far as that is known."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How far a check goes.

    Attributes:
        path: only this directory: its catalog and those below. Everything that is not a tree is left out then.
        objects: look whether every referenced object is in the store.
        content: read every referenced object, and compare its hash and size.
        tags: check the trees of all tags, too.
        unreferenced: look for objects that nothing refers to; needs a store that can be listed.
    """

    path: str | bytes = b""
    objects: bool = True
    content: bool = False
    tags: bool = False
    unreferenced: bool = False


def check_repository(
    store: ReadableStore,
    repository: str,
    public_keys: Sequence[bytes],
    *,
    now: Callable[[], datetime],
    extent: Extent | None = None,
    storage: Store | None = None,
    progress: Progress | None = None,
    work_dir: Path | None = None,
) -> Iterator[Problem]:
    """Everything that is wrong with a repository, as it is found.

    Args:
        store: where its files are; a web server will do.
        repository: the fully qualified name.
        public_keys: public master keys, PEM.
        now: the clock, giving times with a time zone.
        extent: how far to go.
        storage: the same as ``store``, able to list: for ``Extent.unreferenced``.
        progress: is told how the check goes on.
        work_dir: for temporary files; None takes the system's directory.

    Raises:
        StoreUnavailable: the store does not answer; nothing can be said.
        PathError: ``Extent.path`` cannot be a path.
        ValueError: unreferenced objects are asked for without a ``storage`` to list.
    """
    extent = extent or Extent()
    if extent.unreferenced and storage is None:
        raise ValueError("unreferenced objects can only be found in a store that can be listed")
    path = repository_path(extent.path)
    reader = RepositoryReader(store, repository, public_keys, now=now, work_dir=work_dir)
    return _problems(store, reader, replace(extent, path=path), storage, progress, work_dir=work_dir)


def _problems(
    store: ReadableStore,
    reader: RepositoryReader,
    extent: Extent,
    storage: Store | None,
    progress: Progress | None,
    *,
    work_dir: Path | None,
) -> Iterator[Problem]:
    manifest = yield from _believed(store, reader)
    if manifest is None:
        return
    history = yield from _history(store, manifest)
    with tempfile.TemporaryDirectory(prefix="softman-check-", dir=work_dir) as work, ObjectSets(Path(work)) as sets:
        if not extent.path:
            yield from _metainfo(store, manifest)
            yield from _reflog(store, manifest)
            yield from _tags(manifest, history)
        trees = _Trees(store, Path(work), sets, extent, progress)
        with sets.batch():
            yield from trees.check(manifest.root_hash, manifest.root_size, manifest)
            for tag in history.tags if extent.tags else ():
                yield from trees.check(tag.root_hash, tag.size, None)
        if extent.unreferenced and storage is not None:
            yield from unreferenced_objects(storage, manifest, history, Path(work))


def _believed(store: ReadableStore, reader: RepositoryReader) -> Generator[Problem, None, Manifest | None]:
    """The manifest, if it can be believed; an expired whitelist alone does not end the check."""
    try:
        return reader.manifest()
    except WhitelistExpired as exc:
        yield Problem(ProblemKind.WHITELIST, ".cvmfswhitelist", str(exc))
        return Manifest.from_bytes(store.get(MANIFEST_NAME, max_size=MAX_MANIFEST_SIZE)).manifest
    except StoreUnavailable:
        raise
    except CvmfsError as exc:
        yield Problem(ProblemKind.SIGNATURE, MANIFEST_NAME, str(exc))
        return None


def _history(store: ReadableStore, manifest: Manifest) -> Generator[Problem, None, History]:
    try:
        return read_history(store, manifest)
    except _DAMAGE as exc:
        yield Problem(ProblemKind.HISTORY, "tag database", str(exc))
        return History(manifest.repository)


def _metainfo(store: ReadableStore, manifest: Manifest) -> Iterator[Problem]:
    if manifest.metainfo is None:
        return
    try:
        fetcher = ObjectFetcher(store)
        with fetcher.open(manifest.metainfo, ObjectKind.METAINFO, max_stored=_MAX_METAINFO) as stored:
            json.loads(decompress(stored.read(), max_size=_MAX_METAINFO))
    except (*_DAMAGE, ValueError, RecursionError) as exc:
        yield Problem(ProblemKind.METAINFO, "meta information", str(exc))


def _reflog(store: ReadableStore, manifest: Manifest) -> Iterator[Problem]:
    try:
        data = store.get(REFLOG_NAME, max_size=MAX_REFLOG_SIZE)
    except ObjectMissing as exc:
        if manifest.reflog is not None:
            yield Problem(ProblemKind.REFLOG, REFLOG_NAME, str(exc))
        return
    lacking = list(_lacking(data, manifest))
    if manifest.reflog is None or hash_bytes(data, manifest.reflog.algorithm) != manifest.reflog:
        # A crash between the two leaves it so, and so does the stock collector; see docs/format.md.
        kind = ProblemKind.REFLOG if lacking else ProblemKind.STALE
        yield Problem(kind, REFLOG_NAME, "is not the one that the manifest names in Y")
    for message in lacking:
        yield Problem(ProblemKind.REFLOG, REFLOG_NAME, message)


def _lacking(data: bytes, manifest: Manifest) -> Iterator[str]:
    """What the reflog should have and has not."""
    try:
        with Reflog.parse(data, manifest.repository) as reflog:
            fields = {"C": manifest.root_hash, "X": manifest.certificate, "H": manifest.history, "M": manifest.metainfo}
            for field, content in fields.items():
                if content is not None and content not in reflog:
                    yield f"does not list the manifest's {field}, {content}"
    except FormatError as exc:
        yield str(exc)


def _tags(manifest: Manifest, history: History) -> Iterator[Problem]:
    branches = {branch.name: branch for branch in history.branches}
    used = {tag.branch for tag in history.tags}
    if manifest.history is not None:
        for name in branches.keys() - used:
            yield Problem(ProblemKind.HISTORY, "tag database", f"no tag is on the branch {name!r}")
    for tag in history.tags:
        branch = branches.get(tag.branch)
        if branch is None or tag.revision < branch.initial_revision:
            yield Problem(ProblemKind.HISTORY, f"tag {tag.name!r}", "is on no branch, or older than its branch")
        if tag.revision > manifest.revision:
            yield Problem(ProblemKind.HISTORY, f"tag {tag.name!r}", f"revision {tag.revision} was never published")
        if tag.name == TRUNK and tag.root_hash != manifest.root_hash:
            yield Problem(ProblemKind.HISTORY, f"tag {tag.name!r}", "is not the revision in force")


class _Trees:
    """Checks trees of catalogs; a catalog that two trees share is looked at once."""

    def __init__(
        self, store: ReadableStore, work: Path, sets: ObjectSets, extent: Extent, progress: Progress | None
    ) -> None:
        self._store = store
        self._fetcher = ObjectFetcher(store, work_dir=work)
        self._cache = CatalogCache(self._fetcher, work)
        self._sets = sets
        self._extent = extent
        self._path = repository_path(extent.path)
        self._done: dict[tuple[bytes, ContentHash], Counters | None] = {}
        self._asked: list[tuple[str, bytes]] = []
        self._progress = progress
        self._untold = self._total = 0

    def check(self, root_hash: ContentHash, size: int, manifest: Manifest | None) -> Iterator[Problem]:
        """Check a tree; against ``manifest`` when it is that of the revision in force."""
        wanted, mountpoint = NestedCatalog(b"", root_hash, size), None
        if self._path:
            try:
                wanted, mountpoint = self._holder(wanted)
            except _DAMAGE as exc:
                yield _damage("/", exc)
                return
        if manifest is not None and not wanted.path:
            yield from self._properties(wanted, manifest)
        yield from self._catalog(wanted, mountpoint)
        yield from self._absent()

    def _holder(self, wanted: NestedCatalog) -> tuple[NestedCatalog, Entry | None]:
        """The catalog that holds the path to check, and its mountpoint."""
        mountpoint = None
        while True:
            catalog = self._cache.load(wanted)
            try:
                nested = catalog.reader.nested_above(self._path)
                if nested is None:
                    return wanted, mountpoint
                wanted, mountpoint = nested, catalog.reader.lookup(nested.path)
            finally:
                catalog.close()

    def _properties(self, wanted: NestedCatalog, manifest: Manifest) -> Iterator[Problem]:
        try:
            catalog = self._cache.load(wanted)
        except _DAMAGE:
            return  # which is found again, and told
        found = catalog.reader.properties
        catalog.close()
        if found.revision != manifest.revision:
            message = f"is revision {found.revision}, but the manifest says {manifest.revision}"
            yield Problem(ProblemKind.CATALOG, "/", message)
        if found.ttl not in {None, manifest.ttl}:
            yield Problem(ProblemKind.CATALOG, "/", f"has the TTL {found.ttl}, but the manifest says {manifest.ttl}")

    def _catalog(self, wanted: NestedCatalog, mountpoint: Entry | None) -> Generator[Problem, None, Counters | None]:
        """Check a catalog and those below; what they add up to, or None when not all were looked at."""
        key = (wanted.path, wanted.hash)
        if key in self._done:
            found = self._done[key]
            self._advance(found.entries if found is not None and wanted.path else 0)
            return found
        where = _shown(wanted.path)
        self._done[key] = None
        try:
            catalog = self._cache.load(wanted)
        except _DAMAGE as exc:
            yield _damage(where, exc)
            return None
        try:
            self._total += 0 if wanted.path else catalog.reader.counters.total.entries
            check = CatalogCheck(catalog.reader, self._visit)
            for problem in check.problems():
                yield Problem(ProblemKind.CATALOG, where, problem) if isinstance(problem, str) else problem
            yield from self._mounting(mountpoint, catalog.reader.lookup(wanted.path), where)
            stored = catalog.reader.counters.subtree
            below = [(nested, catalog.reader.lookup(nested.path)) for nested in catalog.reader.nested()]
        except FormatError as exc:
            yield _damage(where, exc)
            return None
        finally:
            catalog.close()
        total = yield from self._below(below, stored, where)
        self._done[key] = None if total is None else check.own + total
        return self._done[key]

    def _below(
        self, below: list[tuple[NestedCatalog, Entry | None]], stored: Counters, where: str
    ) -> Generator[Problem, None, Counters | None]:
        total: Counters | None = Counters()
        for nested, mountpoint in below:
            part = None
            if self._wants(nested.path):
                part = yield from self._catalog(nested, mountpoint)
            total = None if total is None or part is None else total + part
        for name in COUNTER_NAMES if total is not None else ():
            if getattr(stored, name) != getattr(total, name):
                message = f"counter subtree_{name} is {getattr(stored, name)}, should be {getattr(total, name)}"
                yield Problem(ProblemKind.CATALOG, where, message)
        return total

    def _mounting(self, mountpoint: Entry | None, root: Entry | None, where: str) -> Iterator[Problem]:
        if mountpoint is not None and root is not None:
            for text in mount_problems(mountpoint, root):
                yield Problem(ProblemKind.CATALOG, where, text)

    def _wants(self, path: bytes) -> bool:
        return not self._path or path == self._path or path.startswith(self._path + b"/")

    def _advance(self, entries: int) -> None:
        self._untold += entries
        if self._progress is not None and self._untold >= (1 if self._extent.content else _SHOWN):
            self._progress(self._untold, None if self._path else self._total)
            self._untold = 0

    def _visit(self, entry: Entry) -> Iterator[Problem]:
        self._advance(1)
        if (self._extent.objects or self._extent.content) and not entry.is_external and self._wants(entry.path):
            for (content, kind), size in zip(entry.objects(), _sizes(entry), strict=True):
                if self._sets.marked.add(content, kind):
                    yield from self._object(entry, content, kind, size)

    def _object(self, entry: Entry, content: ContentHash, kind: ObjectKind, size: int) -> Iterator[Problem]:
        if not self._extent.content:
            self._asked.append((content.object_path(kind), entry.path))
            if len(self._asked) >= _BATCH:
                yield from self._absent()
            return
        where = _shown(entry.path)
        try:
            for _ in self._fetcher.content(content, kind, size=size, compression=entry.compression):
                pass
        except _DAMAGE as exc:
            yield _damage(where, exc)

    def _absent(self) -> Iterator[Problem]:
        """Those of the objects asked for that are not in the store; each takes a round trip where that is remote."""
        asked, self._asked = self._asked, []
        share = -(-len(asked) // _THREADS) or 1
        with ThreadPoolExecutor(_THREADS) as pool:
            for absent in pool.map(self._not_there, [asked[at : at + share] for at in range(0, len(asked), share)]):
                for name, path in absent:
                    yield Problem(ProblemKind.MISSING, _shown(path), f"{name} does not exist")

    def _not_there(self, asked: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        return [(name, path) for name, path in asked if not self._store.exists(name)]


def _sizes(entry: Entry) -> tuple[int, ...]:
    """The bytes of content in each of the entry's objects."""
    bulk = () if entry.hash is None else (entry.size,)
    return bulk + tuple(chunk.size for chunk in entry.chunks)


def _damage(where: str, error: CvmfsError) -> Problem:
    kind = ProblemKind.MISSING if isinstance(error, ObjectMissing) else ProblemKind.DAMAGED
    return Problem(kind, where, str(error))


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace") or "/"
