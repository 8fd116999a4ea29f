"""The past of a repository: which revisions are still kept, found by hash from the signed manifest.

A root catalog names the one it replaced, and the manifest names the tag database. Both are hashes, so everything here
is as trustworthy as the manifest it begins with. What garbage collection took is simply not there any more.
"""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from softman.cvmfs.catalogs import CatalogCache
from softman.cvmfs.errors import FormatError, ObjectMissing, RevisionMissing, TagError
from softman.cvmfs.fetch import ObjectFetcher
from softman.cvmfs.format.catalog import NestedCatalog
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.history import MAX_HISTORY_SIZE, History, Tag
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import decompress
from softman.cvmfs.store.base import ReadableStore

MAX_STEPS: Final = 100_000
"""Revisions that a search goes back before it gives up."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One kept revision.

    Attributes:
        number: counts up with every publication.
        root_hash: its root catalog.
        root_size: bytes of that catalog's database, uncompressed.
        modified: when the catalog was last modified, Unix seconds.
        previous: the root catalog that it replaced, if any.
        tags: the names it has.
    """

    number: int
    root_hash: ContentHash
    root_size: int
    modified: int
    previous: ContentHash | None = None
    tags: tuple[str, ...] = ()

    def manifest(self, current: Manifest) -> Manifest:
        """What the manifest of this revision says, as far as reading goes, by the word of the ``current`` one."""
        if self.root_hash == current.root_hash:
            return current
        return replace(
            current,
            root_hash=self.root_hash,
            root_size=self.root_size,
            revision=self.number,
            published_at=self.modified,
        )

    def tag(self, name: str, description: str = "") -> Tag:
        """A tag for this revision."""
        return Tag(name, self.root_hash, self.number, self.modified, self.root_size, description)


class Revisions:
    """The revisions that can be reached from one manifest.

    Args:
        store: where the objects are.
        manifest: where to begin; believed.
        work_dir: for temporary files; None takes the system's directory.
    """

    def __init__(self, store: ReadableStore, manifest: Manifest, *, work_dir: Path | None = None) -> None:
        self._store = store
        self._manifest = manifest
        self._work_dir = work_dir
        self._history: History | None = None

    @property
    def history(self) -> History:
        """The tags; see ``read_history`` for the errors."""
        if self._history is None:
            self._history = read_history(self._store, self._manifest, work_dir=self._work_dir)
        return self._history

    def load(self, root_hash: ContentHash, size: int = 0) -> Revision:
        """The revision with this root catalog, without its tags.

        Raises:
            ObjectMissing: the catalog is not in the store.
            VerificationError: it is not the one that was named.
            FormatError: it is no root catalog.
        """
        with tempfile.TemporaryDirectory(prefix="softman-revision-", dir=self._work_dir) as directory:
            cache = CatalogCache(ObjectFetcher(self._store, work_dir=Path(directory)), Path(directory))
            catalog = cache.load(NestedCatalog(b"", root_hash, size))
            try:
                found, stored = catalog.reader.properties, catalog.database.stat().st_size
            finally:
                catalog.close()
        return Revision(found.revision, root_hash, stored, found.last_modified, found.previous_revision)

    def chain(self, first: ContentHash | None = None) -> Iterator[Revision]:
        """The revision in force and those before it, newest first, until one is not there any more.

        Args:
            first: the root catalog of an earlier one to begin with.

        Raises:
            ObjectMissing: the root catalog in force is not in the store.
            VerificationError: a root catalog is not the one that was named.
            FormatError: a root catalog breaks the format, or numbers do not go down.
        """
        begin = (self._manifest.root_hash, self._manifest.root_size) if first is None else (first, 0)
        revision = self.load(*begin)
        yield revision
        yield from self._before(revision)

    def kept(self, first: ContentHash | None = None) -> Iterator[Revision]:
        """Every revision that can still be looked at, newest first, with its tags.

        Beyond the unbroken chain these are the tagged ones, and what is left before each of them. Errors are those of
        ``chain`` and ``history``.

        Args:
            first: the root catalog of the first one to give; None for the one in force.
        """
        names: defaultdict[ContentHash, list[str]] = defaultdict(list)
        for tag in self.history.tags:
            names[tag.root_hash].append(tag.name)
        for revision in self._reachable(first):
            yield replace(revision, tags=tuple(names.get(revision.root_hash, ())))

    def numbered(self, number: int) -> Revision:
        """The revision of this number.

        Raises:
            RevisionMissing: there is none, or none any more, or it lies too far back.
            CvmfsError: as for ``kept``.
        """
        if number == self._manifest.revision:
            return self.load(self._manifest.root_hash, self._manifest.root_size)
        for tag in self.history.tags:
            if tag.revision == number:
                return self.tagged(tag.name)
        for steps, revision in enumerate(self._reachable()):
            if revision.number == number:
                return revision
            if revision.number < number or steps >= MAX_STEPS:
                break
        raise RevisionMissing(f"revision {number} of {self._manifest.repository} is not there (any more)")

    def tagged(self, name: str) -> Revision:
        """The revision with this tag.

        Raises:
            TagError: there is no such tag.
            CvmfsError: as for ``load``; also when tag and catalog disagree.
        """
        tag = self.history.tag(name)
        if tag is None:
            raise TagError(f"{self._manifest.repository} has no tag {name!r}")
        revision = self.load(tag.root_hash, tag.size)
        if revision.number != tag.revision:
            raise FormatError(
                f"tag {name!r} is said to be revision {tag.revision}, but its catalog is {revision.number}"
            )
        return replace(revision, tags=(name,))

    def earlier_histories(self) -> Iterator[ContentHash]:
        """The tag databases before the one in force, newest first, until one is not there any more.

        Raises:
            VerificationError: one is not the one that was named.
            FormatError: one breaks the format.
        """
        history = self.history
        while history.previous is not None:
            earlier = replace(self._manifest, history=history.previous)
            try:
                history = read_history(self._store, earlier, work_dir=self._work_dir)
            except ObjectMissing:
                return
            if earlier.history is not None:
                yield earlier.history

    def _before(self, revision: Revision) -> Iterator[Revision]:
        while revision.previous is not None:
            try:
                earlier = self.load(revision.previous)
            except ObjectMissing:
                return
            if earlier.number >= revision.number:
                raise FormatError(f"revision {revision.number} says that it replaced revision {earlier.number}")
            revision = earlier
            yield revision

    def _reachable(self, first: ContentHash | None = None) -> Iterator[Revision]:
        last = None
        for last in self.chain(first):
            yield last
        while last is not None:
            below = [tag for tag in self.history.tags if tag.revision < last.number]
            newest = max(below, key=lambda tag: tag.revision, default=None)
            if newest is None:
                return
            last = self.tagged(newest.name)
            yield last
            for earlier in self._before(last):
                last = earlier
                yield last


def read_history(store: ReadableStore, manifest: Manifest, *, work_dir: Path | None = None) -> History:
    """The tags as of ``manifest``, which is believed; none when it names no tag database.

    Raises:
        ObjectMissing: the tag database is not in the store.
        VerificationError: it is not the one that was named, or too large.
        FormatError: it is no tag database.
    """
    if manifest.history is None:
        return History(manifest.repository)
    fetcher = ObjectFetcher(store, work_dir=work_dir)
    with fetcher.open(manifest.history, ObjectKind.HISTORY, max_stored=MAX_HISTORY_SIZE) as stored:
        data = decompress(stored.read(), max_size=MAX_HISTORY_SIZE)
    return History.parse(data, manifest.repository)
