"""The revisions of a repository: the chain of root catalogs from the signed one back to the first."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from softman.cvmfs.errors import FormatError, ObjectMissing
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.store import ReadableStore


@dataclass(frozen=True, slots=True)
class Revision:
    """One revision: its number, Unix time, root hash, and entries in all its catalogs."""

    revision: int
    published_at: int
    root_hash: str
    entries: int


def revisions(store: ReadableStore, manifest: Manifest, limit: int) -> Iterator[Revision]:
    """Yield revisions, the newest first.

    Each root catalog names the one it replaced (property ``previous_revision``), and is itself named by a hash that a
    verified catalog or the manifest gave, so every one of them is as good as signed. The chain ends at the first
    revision, or silently where garbage collection removed what came before.

    Args:
        store: where the repository is read.
        manifest: verified.
        limit: how many at most.

    Raises:
        CvmfsError: the newest revision cannot be read, or an older one is not what it should be.
    """
    current = manifest
    newest = True
    for _ in range(limit):
        try:
            snapshot = Snapshot(store, current)
        except ObjectMissing:
            if newest:
                raise
            return
        with snapshot:
            properties = snapshot.catalog.properties
            counters = snapshot.catalog.counters
        total = counters.own + counters.subtree
        # A nested catalog's root is counted twice, as mountpoint and as root: once is enough.
        yield Revision(
            properties.revision, properties.last_modified, str(current.root_hash), total.entries - total.nested
        )
        if properties.previous_revision is None:
            return
        if not newest and properties.revision >= current.revision:
            msg = f"the chain of revisions does not go back: {properties.revision} follows {current.revision}"
            raise FormatError(msg)
        # The size of an older database is nowhere recorded: 0 stands for unknown.
        current = replace(current, root_hash=properties.previous_revision, root_size=0, revision=properties.revision)
        newest = False
