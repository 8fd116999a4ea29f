"""Watching a repository over HTTP as a client would, and comparing it with what it should show."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from softman.cli.demo.tree import Tree
from softman.cli.failures import Mismatch
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.snapshot import Snapshot

_POLL_SECONDS = 0.02
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Sight:
    """When something became visible: seconds since the start given, and the revision that shows it."""

    seconds: float
    revision: int


def wait_visible(
    reader: RepositoryReader,
    what: str,
    condition: Callable[[Snapshot], bool],
    *,
    since: float,
    seconds: float,
) -> Sight:
    """Ask for the manifest again and again until a revision satisfies ``condition``.

    Args:
        reader: of the repository, over HTTP.
        what: what is waited for, for the message.
        condition: looks at a revision; called once for each.
        since: ``time.monotonic()`` when the clock began to run.
        seconds: how long to wait from now.

    Raises:
        Mismatch: it did not happen in time.
        CvmfsError: the repository cannot be read, or does not verify.
    """
    deadline = time.monotonic() + seconds
    seen = -1
    while time.monotonic() < deadline:
        revision = reader.manifest().revision
        if revision != seen:
            with reader.snapshot() as snapshot:
                seen = snapshot.manifest.revision
                if condition(snapshot):
                    return Sight(time.monotonic() - since, seen)
        time.sleep(_POLL_SECONDS)
    msg = f"{what} is not visible after {seconds:g} s (revision {seen})"
    raise Mismatch(msg)


def files_of(snapshot: Snapshot) -> dict[str, int]:
    """Names, relative to the root, and sizes of all regular files of a revision."""
    return {entry.path.decode(errors="surrogateescape")[1:]: entry.size for entry in snapshot.walk() if entry.is_file}


def content(snapshot: Snapshot, name: str) -> bytes:
    """A small file of a revision."""
    return b"".join(snapshot.read_file(f"/{name}"))


def compare(snapshot: Snapshot, tree: Tree) -> None:
    """Compare listing and every byte of a revision with a tree on disk.

    Raises:
        Mismatch: they differ; the message names the first differences.
        CvmfsError: something does not verify.
    """
    shown = files_of(snapshot)
    missing, extra = sorted(tree.files.keys() - shown.keys()), sorted(shown.keys() - tree.files.keys())
    if missing or extra:
        msg = f"{len(missing)} files are missing {missing[:_SHOWN]}, {len(extra)} are too many {extra[:_SHOWN]}"
        raise Mismatch(msg)
    for name in tree.files:
        digest = hashlib.sha256()
        for chunk in snapshot.read_file(f"/{name}"):
            digest.update(chunk)
        if digest.digest() != tree.digest(name):
            msg = f"the repository's {name} is not the same as the source's"
            raise Mismatch(msg)
