"""Whether the objects of a repository are stored with the bytes that they are named by, as far as time allows.

The kept trees say which objects there must be; they are read in the order of their hashes, so that a check goes on
where the one before ended, and each is read once in a cycle, whatever is published meanwhile. What is in the catalogs
themselves is ``integrity``'s.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from softman.cvmfs.errors import FormatError, ObjectMissing, VerificationError
from softman.cvmfs.fetch import is_intact
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.objectset import ObjectSets
from softman.cvmfs.revisions import read_history
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.store.base import Store
from softman.cvmfs.trees import CatalogTrees

_DAMAGE = (ObjectMissing, VerificationError, FormatError)

Named = tuple[ContentHash, ObjectKind]


@dataclass(frozen=True, slots=True)
class Sounding:
    """What one check came to.

    Attributes:
        objects: that were read.
        bytes: of those, as stored.
        bad: objects that are missing or damaged.
        unread: trees that cannot be walked, in words: their catalogs are missing or damaged.
        after: the last hash that was read, in hexadecimal; empty when the end of the range was reached.
    """

    objects: int
    bytes: int
    bad: tuple[Named, ...]
    unread: tuple[str, ...]
    after: str


def sound(
    store: Store,
    manifest: Manifest,
    work: Path,
    *,
    after: str = "",
    until: str = "",
    over: Callable[[], bool] = lambda: False,
    again: Iterable[Named] = (),
) -> Sounding:
    """Read objects of the revision in force and of tagged ones, in the order of their hashes.

    Args:
        store: where they are.
        manifest: the one in force, verified.
        work: an empty directory.
        after: begin behind this hash, in hexadecimal; empty for the first.
        until: end before this hash; empty for the last.
        over: whether time is over; asked for each object, after the first.
        again: further objects to read, unless nothing refers to them any more.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    bad: dict[Named, None] = {}
    objects = size = 0
    last = after
    with ObjectSets(work) as sets:
        unread = tuple(_mark(store, manifest, work, sets))
        bad |= {
            item: None for item in again if (item in sets.marked or unread) and not is_intact(store, *item)
        }  # of trees that cannot be read nobody knows what they refer to
        for content, kind in sets.marked:
            name = content.digest.hex()
            if name <= after:
                continue
            if until and name >= until:
                break
            if objects and over():
                return Sounding(objects, size, tuple(bad), unread, last)
            objects += 1
            size += next((file.size for file in store.listing(content.object_path(kind))), 0)
            if not is_intact(store, content, kind):
                bad[content, kind] = None
            last = name
    return Sounding(objects, size, tuple(bad), unread, "")


def paths_of(store: Store, manifest: Manifest, wanted: Iterable[Named], work: Path) -> Iterator[tuple[Named, bytes]]:
    """The files of the revision in force whose objects are among ``wanted``; those in readable catalogs.

    Args:
        store: where they are.
        manifest: the one in force, verified.
        wanted: objects.
        work: for temporary files.
    """
    searched = set(wanted)
    if not searched:
        return
    with suppress(*_DAMAGE), Snapshot(store, manifest, work_dir=work) as snapshot:
        for entry in snapshot.walk():
            for item in entry.objects():
                if item in searched:
                    yield item, entry.path


def _mark(store: Store, manifest: Manifest, work: Path, sets: ObjectSets) -> Iterator[str]:
    roots = [("the revision in force", manifest.root_hash)]
    try:
        roots += [(f"tag {tag.name!r}", tag.root_hash) for tag in read_history(store, manifest).tags]
    except _DAMAGE as exc:
        yield f"the tag database: {exc}"
    for item in ((manifest.certificate, ObjectKind.CERTIFICATE), (manifest.metainfo, ObjectKind.METAINFO)):
        if item[0] is not None:
            sets.marked.add(item[0], item[1])
    trees = CatalogTrees(store, work)
    for name, root in roots:
        try:
            for catalog in trees.walk(root, skip=sets.marked.holds_catalog):
                sets.marked.add_catalog(catalog)
        except _DAMAGE as exc:
            yield f"{name}: {exc}"
