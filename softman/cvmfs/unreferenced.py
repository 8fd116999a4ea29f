"""Objects in the storage that nothing refers to, as crashes leave them."""

from collections.abc import Iterator
from pathlib import Path

from softman.cvmfs.errors import FormatError, ObjectMissing, VerificationError
from softman.cvmfs.format.hashes import ObjectKind
from softman.cvmfs.format.history import History
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.reflog import MAX_REFLOG_SIZE, REFLOG_NAME, ReferenceKind, Reflog
from softman.cvmfs.objectset import ObjectSets, object_of
from softman.cvmfs.problems import Problem, ProblemKind
from softman.cvmfs.store.base import Store
from softman.cvmfs.trees import CatalogTrees

_DAMAGE = (ObjectMissing, VerificationError, FormatError)
_KINDS = {
    ReferenceKind.CERTIFICATE: ObjectKind.CERTIFICATE,
    ReferenceKind.HISTORY: ObjectKind.HISTORY,
    ReferenceKind.METAINFO: ObjectKind.METAINFO,
}


def unreferenced_objects(storage: Store, manifest: Manifest, history: History, work: Path) -> Iterator[Problem]:
    """A problem for each object that no revision of the reflog, no tag and no manifest refers to.

    Args:
        storage: of the repository; is listed whole.
        manifest: the one in force.
        history: the tags that it names.
        work: a directory for temporary files.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    roots = [manifest.root_hash, *(tag.root_hash for tag in history.tags)]
    folder = work / "unreferenced"
    folder.mkdir()
    with ObjectSets(folder) as sets:
        named = sets.marked
        try:
            with Reflog.parse(storage.get(REFLOG_NAME, max_size=MAX_REFLOG_SIZE), manifest.repository) as reflog:
                for reference in reflog.references():
                    if reference.kind is ReferenceKind.CATALOG:
                        roots.append(reference.hash)
                    else:
                        named.add(reference.hash, _KINDS[reference.kind])
        except _DAMAGE as exc:
            yield Problem(ProblemKind.REFLOG, REFLOG_NAME, f"what nothing refers to cannot be told: {exc}")
            return
        trees = CatalogTrees(storage, folder)
        for root in roots:
            try:
                for catalog in trees.walk(root, skip=named.holds_catalog, tolerant=True):
                    named.add_catalog(catalog)
            except _DAMAGE as exc:
                yield Problem(ProblemKind.DAMAGED, "revision", f"{root} cannot be read: {exc}")
                return
        for file in storage.listing("data/"):
            item = object_of(file)
            if item is not None and item not in named:
                yield Problem(ProblemKind.UNREFERENCED, file.name, f"nothing refers to these {file.size} bytes")
