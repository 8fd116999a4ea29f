"""Garbage collection: what no kept revision refers to goes.

Mark: the revision in force, those before it that are to be kept, and every tagged one, with all their catalogs and
objects. Sweep: every other root catalog that the reflog knows, with all that only it refers to. Objects go before the
catalogs that name them, and catalogs before those that mount them, so that a collection that was interrupted finds
the rest again. At last the reflog forgets, and the manifest is signed with the reflog's new hash.

Source: ``cvmfs/garbage_collection/`` of CernVM-FS 2.12.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from softman.cvmfs.errors import CvmfsError, ObjectMissing
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.reflog import Reference, ReferenceKind
from softman.cvmfs.head import Head
from softman.cvmfs.objectset import ObjectSets, object_of
from softman.cvmfs.revisions import Revisions
from softman.cvmfs.store.base import StoredFile
from softman.cvmfs.trees import CatalogTrees

DEFAULT_AGE: Final = timedelta(days=3)
"""For which time the past is kept when nobody says otherwise; that of the stock tools."""

_AUXILIARY = {
    ReferenceKind.CERTIFICATE: ObjectKind.CERTIFICATE,
    ReferenceKind.HISTORY: ObjectKind.HISTORY,
    ReferenceKind.METAINFO: ObjectKind.METAINFO,
}


@dataclass(frozen=True, slots=True)
class Retention:
    """Which untagged revisions to keep besides the one in force: those that meet one of the two.

    Attributes:
        revisions: so many before the one in force.
        age: those that were in force within that time; None leaves time out.
    """

    revisions: int = 0
    age: timedelta | None = DEFAULT_AGE


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection did, or would do.

    Attributes:
        dry_run: nothing was changed.
        kept: the numbers of the revisions that stay, newest first.
        revisions: how many root catalogs went.
        objects: how many objects went, catalogs included.
        bytes: of those, as stored.
        young: objects left for the next time, as a running transaction may count on them.
        manifest: the one in force afterwards.
    """

    dry_run: bool
    kept: tuple[int, ...]
    revisions: int
    objects: int
    bytes: int
    young: int
    manifest: Manifest


def collect(
    head: Head,
    retention: Retention,
    *,
    running_since: Callable[[], float | None],
    dry_run: bool = False,
    unreferenced: bool = False,
    on_object: Callable[[StoredFile], object] | None = None,
) -> Collection:
    """See ``Repository.collect_garbage``.

    Args:
        head: of the repository.
        retention: what to keep.
        running_since: since when the oldest running transaction may have looked at what is stored; None: none runs.
        dry_run: only count.
        unreferenced: also remove objects that no catalog of the reflog refers to.
        on_object: told of every object that goes, before it goes.
    """
    with head.scratch() as work, ObjectSets(work) as sets:
        run = _Collector(head, CatalogTrees(head.store, work), sets)
        with suppress(ObjectMissing):  # another collection runs: what is missing must be so under the lock, too
            run.mark(head.manifest(), retention)
        with head.locked() as before:
            current = before
            kept, oldest = run.mark(current, retention)  # only what was published meanwhile is new
            dead = run.condemn(current, oldest)
            sweep = _Sweep(head, sets, running_since(), dry_run=dry_run, on_object=on_object)
            sweep.run(everything=unreferenced)
            if not dry_run and not sweep.young and dead:
                current = head.publish(
                    replace(current, published_at=head.not_before(current)), forget=[item.hash for item in dead]
                )
    roots = sum(1 for item in dead if item.kind is ReferenceKind.CATALOG)
    return Collection(dry_run, kept, roots, sweep.objects, sweep.bytes, sweep.young, current)


class _Collector:
    """Finds out what stays and what goes."""

    def __init__(self, head: Head, trees: CatalogTrees, sets: ObjectSets) -> None:
        self._head = head
        self._trees = trees
        self._sets = sets
        self._references: tuple[Reference, ...] = ()

    def mark(self, current: Manifest, retention: Retention) -> tuple[tuple[int, ...], int]:
        """Mark all that stays.

        Called once without the lock, which takes as long as it takes, and once with it.

        Returns:
            The numbers of the kept revisions, and since when the oldest one on the chain is there.
        """
        if not current.garbage_collectable:
            raise CvmfsError(f"{current.repository} is not marked as garbage collectable (G in its manifest)")
        with self._head.reflog(current) as reflog:
            self._references = tuple(reflog.references())
        entered = {r.hash: r.timestamp for r in self._references if r.kind is ReferenceKind.CATALOG}
        revisions = Revisions(self._head.store, current, work_dir=self._head.work_dir)
        age = retention.age
        since = None if age is None else self._head.seconds() - int(age.total_seconds())
        kept: set[int] = set()
        oldest = 0
        for place, revision in enumerate(revisions.chain()):
            # An earlier revision that an interrupted collection began to take may be kept again now; what is left of
            # it stays, what is gone is gone. The revision in force must be whole.
            self._mark_tree(revision.root_hash, tolerant=place > 0)
            kept.add(revision.number)
            oldest = entered.get(revision.root_hash, revision.modified)
            if place >= retention.revisions and (since is None or oldest < since):
                break  # the revision before it was replaced before `since`
        for tag in revisions.history.tags:
            try:
                self._mark_tree(tag.root_hash, tolerant=False)
            except ObjectMissing as exc:
                raise ObjectMissing(f"tag {tag.name!r} cannot be kept, remove it or repair the store: {exc}") from exc
            kept.add(tag.revision)
        return tuple(sorted(kept, reverse=True)), oldest

    def condemn(self, current: Manifest, oldest: int) -> list[Reference]:
        """Condemn all that goes; the references that go with it."""
        in_force = {current.certificate, current.history, current.metainfo}
        dead = []
        with self._sets.batch():
            for reference in self._references:
                kind = _AUXILIARY.get(reference.kind)
                if kind is not None and (reference.hash in in_force or reference.timestamp >= oldest):
                    self._sets.marked.add(reference.hash, kind)
                elif kind is not None:
                    self._sets.condemned.add(reference.hash, kind)
                    dead.append(reference)
        for reference in self._references:
            if reference.kind is ReferenceKind.CATALOG and not self._sets.marked.holds_catalog(reference.hash):
                for catalog in self._trees.walk(reference.hash, skip=self._done, tolerant=True):
                    self._sets.condemned.add_catalog(catalog, unless=self._sets.marked)
                dead.append(reference)
        return dead

    def _mark_tree(self, root: ContentHash, *, tolerant: bool) -> None:
        for catalog in self._trees.walk(root, skip=self._sets.marked.holds_catalog, tolerant=tolerant):
            self._sets.marked.add_catalog(catalog)

    def _done(self, catalog: ContentHash) -> bool:
        return self._sets.marked.holds_catalog(catalog) or self._sets.condemned.holds_catalog(catalog)


class _Sweep:
    """Removes what is condemned, or counts it."""

    def __init__(
        self,
        head: Head,
        sets: ObjectSets,
        running_since: float | None,
        *,
        dry_run: bool,
        on_object: Callable[[StoredFile], object] | None,
    ) -> None:
        self._head = head
        self._sets = sets
        self._running_since = running_since
        self._dry_run = dry_run
        self._on_object = on_object
        self.objects = 0
        self.bytes = 0
        self.young = 0

    def run(self, *, everything: bool) -> None:
        """First the objects that refer to nothing, then catalogs, those last that name others."""
        prefixes = [f"data/{number:02x}/" for number in range(256)] if everything else self._sets.condemned.prefixes()
        for prefix in prefixes:
            for file, content, kind in self._candidates(prefix, everything=everything):
                if kind is not ObjectKind.CATALOG or (content, kind) not in self._sets.condemned:
                    self._remove(file)
        if self.young:
            return  # the catalogs are the only way to what is left
        for content in self._sets.condemned.catalogs_backwards():
            name = content.object_path(ObjectKind.CATALOG)
            for file in self._head.store.listing(name):
                self._remove(file)

    def _candidates(self, prefix: str, *, everything: bool) -> Iterator[tuple[StoredFile, ContentHash, ObjectKind]]:
        for file in self._head.store.listing(prefix):
            found = object_of(file)
            if found is None or found in self._sets.marked:
                continue
            if everything or found in self._sets.condemned:
                yield file, *found

    def _remove(self, file: StoredFile) -> None:
        if self._running_since is not None and file.modified >= self._running_since:
            self.young += 1
            return
        self.objects += 1
        self.bytes += file.size
        if self._on_object is not None:
            self._on_object(file)
        if not self._dry_run:
            self._head.store.delete(file.name)
