"""Looking into repositories for many people at once: directories, entries, revisions and differences, in pages.

Everything comes through the verifying reader. A revision that somebody looks at stays open for the next one, a bounded
number of them, and the manifest is believed for ``FRESH`` seconds. When the web server does not answer, the manifest
that was read last serves, as long as what it leads to is at hand.
"""

import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from softman.cvmfs.diff import Added, Aspect, Changed, Difference, Removed, differences
from softman.cvmfs.errors import FormatError, RevisionMissing, StoreUnavailable
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.format.history import TRUNK, TRUNK_PREVIOUS
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.revisions import Revision
from softman.cvmfs.snapshot import Snapshot
from softman.errors import InvalidInput, NotFound
from softman.model import Usage
from softman.names import RepositoryName
from softman.services.translate import cvmfs_errors

FRESH: Final = 2.0
"""Seconds for which a manifest is not asked for again."""
MAX_OPEN: Final = 32
"""Revisions that are kept open, with the catalogs that were fetched of them."""
MAX_HEADS: Final = 10_000
_OWN = b"user.softman."
"""How the names of the service's own attributes begin."""


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of a repository. Names are bytes: they need not be UTF-8. Times are Unix seconds, sizes bytes."""

    path: bytes
    kind: str
    """``file``, ``directory``, ``symlink`` or ``special``."""
    size: int
    mode: int
    """Permissions."""
    mtime: int
    target: bytes | None = None
    """Of a symbolic link."""
    content: str | None = None
    """The content hash of a file that is stored in one piece."""
    chunks: int = 0
    """In how many pieces it is stored otherwise."""

    @property
    def name(self) -> bytes:
        """The last part of the path; empty for the root."""
        return self.path.rpartition(b"/")[2]


@dataclass(frozen=True, slots=True)
class Items:
    """A page of a directory, as of one revision. ``after`` asks for the next page; None when this is the last."""

    directory: Item
    items: tuple[Item, ...]
    revision: int
    published_at: int
    after: bytes | None = None


@dataclass(frozen=True, slots=True)
class PastRevision:
    """A revision that can still be looked at, and be rolled back to."""

    number: int
    published_at: int
    root_hash: str
    tags: tuple[str, ...] = ()
    """Names that people gave it."""
    description: str = ""
    current: bool = False


@dataclass(frozen=True, slots=True)
class PastRevisions:
    """A page of revisions, the newest first."""

    revisions: tuple[PastRevision, ...]
    after: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One entry that differs between two revisions."""

    change: str
    """``added``, ``removed`` or ``changed``."""
    path: bytes
    what: tuple[str, ...] = ()
    """In what an entry that both have differs."""
    old_size: int | None = None
    new_size: int | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """A page of what changed from one revision to another."""

    old: int
    new: int
    changes: tuple[Change, ...]
    after: bytes | None = None


@dataclass
class _Open:
    snapshot: Snapshot
    users: int = 0
    dropped: bool = False


@dataclass
class _Head:
    manifest: Manifest
    read_at: float = field(default=0.0)


class Browser:
    """Reads repositories for many. Safe to be shared by threads.

    Args:
        open_reader: the verifying reader of a repository.
        clock: seconds that never go back.
    """

    def __init__(
        self, open_reader: Callable[[RepositoryName], RepositoryReader], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._open_reader = open_reader
        self._clock = clock
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[RepositoryName, ContentHash], _Open] = OrderedDict()
        self._heads: OrderedDict[RepositoryName, _Head] = OrderedDict()

    def close(self) -> None:
        """Close every revision that nobody looks at, and the others when they are done."""
        with self._lock:
            for key in list(self._open):
                self._drop(key)

    def head(self, name: RepositoryName) -> Manifest:
        """The manifest, at most ``FRESH`` seconds old, or older when the web server does not answer.

        Raises:
            SoftmanError: it cannot be read, and never was.
        """
        known = self._heads.get(name)
        if known is not None and self._clock() - known.read_at < FRESH:
            return known.manifest
        with cvmfs_errors(f"read {name}"):
            try:
                manifest = self._open_reader(name).manifest()
            except StoreUnavailable:
                if known is None:
                    raise
                return known.manifest
        with self._lock:
            self._heads[name] = _Head(manifest, self._clock())
            while len(self._heads) > MAX_HEADS:
                self._heads.popitem(last=False)
        return manifest

    def usage(self, name: RepositoryName) -> Usage:
        """What the repository holds."""
        with cvmfs_errors(f"read {name}"), self._snapshot(name, None) as snapshot:
            total = snapshot.catalog.counters.total
        return Usage(total.entries, total.file_size)

    def directory(
        self, name: RepositoryName, path: bytes, *, after: bytes = b"", limit: int, revision: int | None = None
    ) -> Items:
        """A page of a directory, by the bytes of the names.

        Args:
            name: the repository.
            path: of the directory; empty for the root.
            after: only names that come after this one.
            limit: entries of a page.
            revision: another one than the current.

        Raises:
            NotFound: there is no such directory or revision.
        """
        with cvmfs_errors(f"read {name}"), self._snapshot(name, revision) as snapshot:
            directory = item_of(snapshot.lookup(path))
            entries = snapshot.page(path, after=after, limit=limit + 1)
            manifest = snapshot.manifest
        items = tuple(item_of(entry) for entry in entries[:limit])
        more = items[-1].name if len(entries) > limit else None
        return Items(directory, items, manifest.revision, manifest.published_at, more)

    def entry(self, name: RepositoryName, path: bytes, *, revision: int | None = None) -> Item:
        """One entry.

        Raises:
            NotFound: there is none, or no such revision.
        """
        with cvmfs_errors(f"read {name}"), self._snapshot(name, revision) as snapshot:
            return item_of(snapshot.lookup(path))

    def revisions(self, name: RepositoryName, *, after: str | None = None, limit: int) -> PastRevisions:
        """A page of the revisions that are still kept, the newest first.

        Args:
            name: the repository.
            after: what the page before said.
            limit: revisions of a page.

        Raises:
            InvalidInput: ``after`` makes no sense.
            NotFound: what ``after`` names is gone.
        """
        first = None if after is None else _root_hash(after)
        with cvmfs_errors(f"read {name}"):
            head, reader = self.head(name), self._open_reader(name)
            found = list(islice(reader.revisions(head=head, first=first), limit + 1))
            texts = {tag.name: tag.description for tag in reader.history(head=head).tags}
        past = tuple(_past(revision, head, texts) for revision in found[:limit])
        return PastRevisions(past, str(found[limit].root_hash) if len(found) > limit else None)

    def differences(self, name: RepositoryName, old: int, new: int, *, after: bytes | None, limit: int) -> Changes:
        """A page of what changed from one revision to another, in the order of a walk.

        Args:
            name: the repository.
            old: the number of a revision.
            new: that of another one.
            after: the last path of the page before.
            limit: changes of a page.

        Raises:
            NotFound: one of them is not there any more.
        """
        with (
            cvmfs_errors(f"compare revisions of {name}"),
            self._snapshot(name, old) as before,
            self._snapshot(name, new) as now,
            closing(_rest(differences(before, now), after)) as found,
        ):
            changes = [_change(each) for each in islice(found, limit + 1)]
        return Changes(old, new, tuple(changes[:limit]), changes[limit - 1].path if len(changes) > limit else None)

    @contextmanager
    def published(self, name: RepositoryName) -> Iterator[Snapshot]:
        """What is published now, to be looked at."""
        with cvmfs_errors(f"read {name}"), self._snapshot(name, None) as snapshot:
            yield snapshot

    @contextmanager
    def _snapshot(self, name: RepositoryName, revision: int | None) -> Iterator[Snapshot]:
        manifest = self.head(name)
        if revision is not None and revision != manifest.revision:
            manifest = self._manifest_of(name, revision, manifest)
        key = (name, manifest.root_hash)
        held = self._take(key)
        if held is None:
            held = self._put(key, self._open_reader(name).snapshot(head=manifest))
        try:
            yield held.snapshot
        finally:
            self._give_back(held)

    def _manifest_of(self, name: RepositoryName, revision: int, head: Manifest) -> Manifest:
        for (repository, _), held in list(self._open.items()):
            if repository == name and held.snapshot.manifest.revision == revision:
                return held.snapshot.manifest
        try:
            with self._open_reader(name).snapshot(revision=revision, head=head) as snapshot:
                return snapshot.manifest
        except RevisionMissing as exc:
            raise NotFound(str(exc)) from exc

    def _take(self, key: tuple[RepositoryName, ContentHash]) -> _Open | None:
        with self._lock:
            held = self._open.get(key)
            if held is not None:
                held.users += 1
                self._open.move_to_end(key)
            return held

    def _put(self, key: tuple[RepositoryName, ContentHash], snapshot: Snapshot) -> _Open:
        with self._lock:
            other = self._open.get(key)
            if other is None:
                other = self._open[key] = _Open(snapshot)
                snapshot_to_close = None
            else:  # another thread was faster
                snapshot_to_close = snapshot
            other.users += 1
            while len(self._open) > MAX_OPEN:
                self._drop(next(iter(self._open)))
        if snapshot_to_close is not None:
            snapshot_to_close.close()
        return other

    def _drop(self, key: tuple[RepositoryName, ContentHash]) -> None:
        held = self._open.pop(key)
        held.dropped = True
        if not held.users:
            held.snapshot.close()

    def _give_back(self, held: _Open) -> None:
        with self._lock:
            held.users -= 1
            if held.dropped and not held.users:
                held.snapshot.close()


def item_of(entry: Entry) -> Item:
    """What people see of an entry."""
    return Item(
        path=entry.path,
        kind=kind_of(entry),
        size=entry.size,
        mode=stat.S_IMODE(entry.mode),
        mtime=entry.mtime,
        target=entry.symlink if entry.is_symlink else None,
        content=None if entry.hash is None or not entry.is_file else str(entry.hash),
        chunks=len(entry.chunks),
    )


def kind_of(entry: Entry) -> str:
    """The kind of an entry, in a word."""
    if entry.is_dir:
        return "directory"
    if entry.is_symlink:
        return "symlink"
    return "file" if stat.S_ISREG(entry.mode) else "special"


def changed_aspects(found: Changed) -> list[str]:
    """In what an entry differs. That the service notes another object as its source is said only if nothing else is."""
    said = [aspect.value for aspect in found.what]
    if Aspect.XATTRS not in found.what or _attributes(found.old) != _attributes(found.new):
        return said
    said.remove(Aspect.XATTRS.value)
    return said or ["source"]


def _root_hash(text: str) -> ContentHash:
    try:
        return ContentHash.parse(text)
    except FormatError as exc:
        msg = "the page of revisions to go on with is not one that was given"
        raise InvalidInput(msg) from exc


def _attributes(entry: Entry) -> dict[bytes, bytes]:
    return {name: value for name, value in entry.xattrs.items() if not name.startswith(_OWN)}


def _past(revision: Revision, head: Manifest, texts: dict[str, str]) -> PastRevision:
    tags = tuple(tag for tag in revision.tags if tag not in {TRUNK, TRUNK_PREVIOUS})
    return PastRevision(
        number=revision.number,
        published_at=revision.modified,
        root_hash=str(revision.root_hash),
        tags=tags,
        description=next((texts[tag] for tag in tags if texts.get(tag)), ""),
        current=revision.root_hash == head.root_hash,
    )


def _change(found: Difference) -> Change:
    if isinstance(found, Added):
        return Change("added", found.path, new_size=_size(found.new))
    if isinstance(found, Removed):
        return Change("removed", found.path, old_size=_size(found.old))
    what = tuple(changed_aspects(found))
    return Change("changed", found.path, what, old_size=_size(found.old), new_size=_size(found.new))


def _size(entry: Entry) -> int | None:
    return entry.size if entry.is_file else None


def _rest(found: Iterator[Difference], after: bytes | None) -> Generator[Difference, None, None]:
    """What comes after a path in the order of a walk, which is that of the names from the root on."""
    last = None if after is None else after.split(b"/")
    try:
        for each in found:
            if last is None or each.path.split(b"/") > last:
                last = None
                yield each
    finally:
        if hasattr(found, "close"):
            found.close()
