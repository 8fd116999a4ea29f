"""The process that merges a publisher's change into the revision in force: ``main`` with a request and a descriptor.

A publisher sends root catalogs that were made elsewhere, on a revision that may be an old one. What they differ in
below the leased directory is done once more, by our own code, on the revision in force; so the catalogs that come out
are ours. Their inspection by stratum 0 comes later, and is the same as for any publisher. SQLite meets a stranger's
bytes here: see ``confined``. ``merger`` is the side that starts this process.
"""

import json
import os
import sqlite3
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from softman.cvmfs.areas import DirectoryArea
from softman.cvmfs.confinement import DONE, FAILED, REJECTED, asking, limit
from softman.cvmfs.diff import Added, Aspect, Changed, Difference, Removed, aspects, differences
from softman.cvmfs.errors import CandidateRejected, CvmfsError, ObjectMissing, PathConflict, PathError, StoreUnavailable
from softman.cvmfs.format.entry import Entry, Flag
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.rebase import replay
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.base import Readable, ReadableStore, read_all
from softman.cvmfs.transaction import Transaction

ABSENT = "-"
"""What is answered for an object that is not there."""
_OURS = frozenset({Aspect.MTIME, Aspect.XATTRS, Aspect.LINKS})
"""What may differ in a directory that is not the publisher's, when something was done in it."""


@dataclass(frozen=True, slots=True)
class MergeRequest:
    """What to merge. ``work`` is a directory for scratch files; ``area`` in it takes the catalogs that come out."""

    old: str
    """The hash of the root catalog that the publisher began with."""
    new: str
    """The hash of the one that it made."""
    current: str
    current_revision: int
    ttl: int
    lease_path: str
    """As ``os.fsdecode`` makes it."""
    kept_xattr: str
    """Entries with this attribute are somebody else's: the publisher may not change them, nor give it to any."""
    work: str
    area: str
    now: int
    memory_bytes: int
    cpu_seconds: int
    file_bytes: int

    def to_json(self) -> str:
        """The text that ``main`` takes as its argument."""
        return json.dumps(asdict(self))


class AskingStore(ReadableStore):
    """A repository as the process that started this one sees it.

    Args:
        ask: asks for a file; see ``asking``.
        origin: which of the objects, put before each name.
    """

    def __init__(self, ask: Callable[[str], Path], origin: str) -> None:
        self._ask = ask
        self._origin = origin

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """See ``ReadableStore.open``."""
        path = self._ask(f"{self._origin} {name}")
        if path.name == ABSENT:
            raise ObjectMissing(f"{name} was neither sent nor stored")
        try:
            with path.open("rb") as file:
                yield file
        finally:
            path.unlink(missing_ok=True)

    def get(self, name: str, *, max_size: int) -> bytes:
        """See ``ReadableStore.get``."""
        with self.open(name) as file:
            return read_all(file, name, max_size=max_size)

    def exists(self, name: str) -> bool:
        """See ``ReadableStore.exists``."""
        try:
            with self.open(name):
                return True
        except ObjectMissing:
            return False


def merge(request: MergeRequest, ask: Callable[[str], Path]) -> dict[str, object]:
    """Do it; what is to be answered: the root catalog, or nothing where there is nothing to change.

    Raises:
        PathConflict: what is in force differs from what the publisher changed.
        CandidateRejected: the change is not the publisher's to make.
        CvmfsError: a catalog is missing or damaged.
    """
    stored, sent = AskingStore(ask, "base"), AskingStore(ask, "candidate")
    work = Path(request.work)
    current = ContentHash.parse(request.current)
    staging = Staging(DirectoryArea(work / request.area), algorithm=current.algorithm, threads=1)

    def now() -> datetime:
        return datetime.fromtimestamp(request.now, UTC)

    in_force = replace(_manifest(request.current), revision=request.current_revision, ttl=request.ttl)
    with (
        Snapshot(stored, _manifest(request.old), work_dir=work) as before,
        Snapshot(sent, _manifest(request.new), work_dir=work) as after,
        Snapshot(stored, in_force, work_dir=work) as onto,
        Transaction(onto, staging, now=now, work_dir=work) as transaction,
    ):
        try:
            changes = differences(before, after, os.fsencode(request.lease_path))
        except PathError:  # the leased directory was not made
            return {}
        replay(_allowed(changes, os.fsencode(request.kept_xattr)), after, transaction)
        candidate = transaction.seal()
    if candidate is None:
        return {}
    return {"root_hash": str(candidate.root_hash), "root_size": candidate.root_size}


def _allowed(changes: Iterable[Difference], kept: bytes) -> Iterator[Difference]:
    """The changes as they are done here: owners become root, and what is not the publisher's stays."""
    for change in changes:
        if isinstance(change, Removed):
            _check_own(change.path, change.old, kept, "removed")
            yield change
        elif isinstance(change, Added):
            yield Added(change.path, _plain(change.new, kept))
        else:
            yield from _changed(change, kept)


def _changed(change: Changed, kept: bytes) -> Iterator[Difference]:
    old, new = change.old, _plain(change.new, kept)
    if kept in old.xattrs:
        if not (old.is_dir and set(change.what) <= _OURS | {Aspect.OWNER}):
            _check_own(change.path, old, kept, "changed")
        new = replace(old, mtime=new.mtime, mtime_ns=new.mtime_ns)
    what = aspects(old, new)
    if what:
        yield Changed(change.path, old, new, what)


def _plain(entry: Entry, kept: bytes) -> Entry:
    if entry.flags & Flag.SPECIAL.value or stat.S_IFMT(entry.mode) not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}:
        raise CandidateRejected(
            f"{entry.path!r} is a special file; files, directories and symbolic links are published"
        )
    xattrs = {name: value for name, value in entry.xattrs.items() if name != kept}
    return replace(entry, uid=0, gid=0, xattrs=xattrs)


def _check_own(path: bytes, old: Entry, kept: bytes, what: str) -> None:
    if kept in old.xattrs:
        raise CandidateRejected(f"{path.decode(errors='backslashreplace')} was {what}, but it comes from the bucket")


def _manifest(root_hash: str) -> Manifest:
    """A manifest that names a root catalog, and nothing else that means anything."""
    content = ContentHash.parse(root_hash)
    nothing = ContentHash(b"\0" * 20, HashAlgorithm.SHA1)
    return Manifest(
        root_hash=content, root_size=0, ttl=0, revision=0, repository="", certificate=nothing, published_at=0
    )


def main(arguments: list[str]) -> int:
    """Merge what the first argument asks for (see ``MergeRequest``), asking for objects through the second."""
    request = MergeRequest(**json.loads(arguments[0]))
    limit(request.memory_bytes, request.cpu_seconds, request.file_bytes)
    answer: dict[str, object]
    try:
        answer, code = merge(request, asking(int(arguments[1]), Path(request.work))), DONE
    except PathConflict as exc:
        answer, code = {"conflict": str(exc), "path": os.fsdecode(exc.path)}, DONE
    except (OSError, sqlite3.OperationalError, StoreUnavailable) as exc:
        answer, code = {"failed": str(exc)}, FAILED
    except CvmfsError as exc:
        answer, code = {"rejected": str(exc)}, REJECTED
    except (MemoryError, RecursionError):
        answer, code = {"rejected": "the change needs more memory than allowed"}, REJECTED
    except (sqlite3.DatabaseError, OverflowError, ValueError) as exc:
        answer, code = {"rejected": f"a catalog is damaged: {exc}"}, REJECTED
    sys.stdout.write(json.dumps(answer))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
