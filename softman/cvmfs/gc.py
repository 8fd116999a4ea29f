"""Garbage collection: what no kept revision refers to goes.

Mark: the revision in force, those before it that are to be kept, and every tagged one, with all their catalogs and
objects. Sweep: every other root catalog that the reflog knows, with all that only it refers to. Objects go before the
catalogs that name them, and catalogs before those that mount them, so that a collection that was interrupted finds
the rest again. At last the reflog forgets, and the manifest is signed with the reflog's new hash.

Source: ``cvmfs/garbage_collection/`` of CernVM-FS 2.12.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
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
        complete: that is all; otherwise time was over, and the next collection finds the rest.
    """

    dry_run: bool
    kept: tuple[int, ...]
    revisions: int
    objects: int
    bytes: int
    young: int
    manifest: Manifest
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Turns:
    """How long a collection keeps others from committing.

    Attributes:
        seconds: so long it removes objects before it lets others commit.
        go_on: asked after each such turn, without the lock; False ends the collection.
    """

    seconds: float
    go_on: Callable[[], bool]


def collect(
    head: Head,
    retention: Retention,
    *,
    running_since: Callable[[], float | None],
    dry_run: bool = False,
    unreferenced: bool = False,
    on_object: Callable[[StoredFile], object] | None = None,
    turns: Turns | None = None,
) -> Collection:
    """See ``Repository.collect_garbage``.

    Args:
        head: of the repository.
        retention: what to keep.
        running_since: since when the oldest running transaction may have looked at what is stored; None: none runs.
        dry_run: only count.
        unreferenced: also remove objects that no catalog of the reflog refers to.
        on_object: told of every object that goes, before it goes.
        turns: how long it may take; None for as long as it takes, in one go.
    """
    with head.scratch() as work, ObjectSets(work) as sets:
        run = _Collector(head, CatalogTrees(head.store, work), sets)
        with suppress(ObjectMissing):  # another collection runs: what is missing must be so under the lock, too
            run.mark(head.manifest(), retention)
        sweep = _Sweep(head, sets, dry_run=dry_run, everything=unreferenced, on_object=on_object)
        dead: list[Reference] | None = None
        while True:
            with _held(head, dry_run=dry_run) as current:
                kept, oldest = run.mark(current, retention)  # only what was published meanwhile is new
                if dead is None:
                    dead = run.condemn(current, oldest)
                manifest = current
                complete = sweep.run(running_since(), None if turns is None else turns.seconds)
                if complete and not dry_run and not sweep.young:
                    manifest = _forget(head, current, [each for each in dead if not run.is_kept(each)])
            if complete or turns is None or not turns.go_on():
                break
    roots = sum(1 for item in dead if item.kind is ReferenceKind.CATALOG) if complete else 0
    return Collection(dry_run, kept, roots, sweep.objects, sweep.bytes, sweep.young, manifest, complete)


@contextmanager
def _held(head: Head, *, dry_run: bool) -> Iterator[Manifest]:
    """The manifest in force, which stays in force; nobody waits for a dry run."""
    if dry_run:
        yield head.manifest()
        return
    with head.locked() as current:
        yield current


def _forget(head: Head, current: Manifest, dead: list[Reference]) -> Manifest:
    if not dead:
        return current
    return head.publish(replace(current, published_at=head.not_before(current)), forget=[item.hash for item in dead])


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

    def is_kept(self, reference: Reference) -> bool:
        """Whether a reference that was dead is needed again: a tag was made meanwhile."""
        return reference.kind is ReferenceKind.CATALOG and self._sets.marked.holds_catalog(reference.hash)

    def _mark_tree(self, root: ContentHash, *, tolerant: bool) -> None:
        for catalog in self._trees.walk(root, skip=self._sets.marked.holds_catalog, tolerant=tolerant):
            self._sets.marked.add_catalog(catalog)

    def _done(self, catalog: ContentHash) -> bool:
        return self._sets.marked.holds_catalog(catalog) or self._sets.condemned.holds_catalog(catalog)


class _Sweep:
    """Removes what is condemned, or counts it; what was marked meanwhile stays."""

    def __init__(
        self,
        head: Head,
        sets: ObjectSets,
        *,
        dry_run: bool,
        everything: bool,
        on_object: Callable[[StoredFile], object] | None,
    ) -> None:
        self._head = head
        self._sets = sets
        self._running_since: float | None = None
        self._dry_run = dry_run
        self._on_object = on_object
        self._steps = self._all(everything=everything)
        self.objects = 0
        self.bytes = 0
        self.young = 0

    def run(self, running_since: float | None, seconds: float | None) -> bool:
        """Go on for some time, or to the end; whether that was all.

        Args:
            running_since: since when the oldest running transaction may have looked at what is stored.
            seconds: so long; None for to the end.
        """
        self._running_since = running_since
        until = None if seconds is None else time.monotonic() + seconds
        return not any(until is not None and time.monotonic() >= until for _ in self._steps)

    def _all(self, *, everything: bool) -> Iterator[None]:
        """One object after the other: first those that refer to nothing, then catalogs, those last that name others."""
        prefixes = [f"data/{number:02x}/" for number in range(256)] if everything else self._sets.condemned.prefixes()
        for prefix in prefixes:
            for file, content, kind in self._candidates(prefix, everything=everything):
                if kind is not ObjectKind.CATALOG or (content, kind) not in self._sets.condemned:
                    self._remove(file)
                    yield
        if self.young:
            return  # the catalogs are the only way to what is left
        for content in self._sets.condemned.catalogs_backwards():
            if self._sets.marked.holds_catalog(content):
                continue
            name = content.object_path(ObjectKind.CATALOG)
            for file in self._head.store.listing(name):
                self._remove(file)
            yield

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
