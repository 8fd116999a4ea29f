"""The process that merges a publisher's change into the revision in force: ``main`` with a request and a descriptor.

A publisher sends root catalogs that were made elsewhere, on a revision that may be an old one. What they differ in
below the leased directory is done once more, by our own code, on the revision in force; so the catalogs that come out
are ours. Their inspection by stratum 0 comes later, and is the same as for any publisher. SQLite meets a stranger's
bytes here: see ``confined``. ``merger`` is the side that starts this process.
"""

import json
import os
import re
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
_WITHIN = frozenset({Aspect.MTIME, Aspect.XATTRS})
_PUBLISHED = frozenset({stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK})
_OURS = frozenset({Aspect.MTIME, Aspect.XATTRS, Aspect.LINKS, Aspect.OWNER})
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
    closed: str
    """A pattern of its values: what is below such a directory is somebody else's, too."""
    own_xattr: str
    """The attribute that the publisher's entries get."""
    publisher: str
    """Its value."""
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
        replay(_Rules(request, before).allowed(changes), after, transaction)
        candidate = transaction.seal()
    if candidate is None:
        return {}
    return {"root_hash": str(candidate.root_hash), "root_size": candidate.root_size}


class _Rules:
    """What a publisher may do, and how it is done here: owners become root, and what is somebody else's stays."""

    def __init__(self, request: MergeRequest, before: Snapshot) -> None:
        self._kept = os.fsencode(request.kept_xattr)
        self._mark = {os.fsencode(request.own_xattr): os.fsencode(request.publisher)}
        self._closed = re.compile(os.fsencode(request.closed))
        self._before = before
        self._folder: tuple[bytes, bool] = (b"", False)

    def allowed(self, changes: Iterable[Difference]) -> Iterator[Difference]:
        for change in changes:
            self._check_folder(change.path)
            if isinstance(change, Removed):
                self._check(change.old, "removed")
                yield change
            elif isinstance(change, Added):
                yield Added(change.path, self._plain(change.new))
            else:
                yield from self._changed(change)

    def _changed(self, change: Changed) -> Iterator[Difference]:
        old, new = change.old, self._plain(change.new)
        if self._kept in old.xattrs or not change.path:
            if not (old.is_dir and set(change.what) <= _OURS):
                self._check(old, "changed")
            new = replace(old, mtime=new.mtime, mtime_ns=new.mtime_ns)
        if old.is_dir and set(aspects(old, new)) <= _WITHIN and {**old.xattrs, **self._mark} == new.xattrs:
            new = replace(new, xattrs=old.xattrs)  # something was done in it: it stays whose it is
        what = aspects(old, new)
        if what:
            yield Changed(change.path, old, new, what)

    def _plain(self, entry: Entry) -> Entry:
        if entry.flags & Flag.SPECIAL.value or stat.S_IFMT(entry.mode) not in _PUBLISHED:
            reason = "is a special file; files, directories and symbolic links are published"
            raise CandidateRejected(f"{_shown(entry.path)} {reason}")
        xattrs = {name: value for name, value in entry.xattrs.items() if name != self._kept}
        return replace(entry, uid=0, gid=0, xattrs={**xattrs, **self._mark})

    def _check(self, old: Entry, what: str) -> None:
        if self._kept in old.xattrs:
            raise CandidateRejected(f"{_shown(old.path)} was {what}, but it comes from the bucket")

    def _check_folder(self, path: bytes) -> None:
        """Refuse what is inside of a closed directory of the revision that the publisher began with."""
        folder = path.rpartition(b"/")[0]
        if self._folder[0] != folder:
            self._folder = folder, any(self._is_closed(folder[:end]) for end in _ends(folder))
        if self._folder[1]:
            raise CandidateRejected(f"{_shown(path)} was changed, but it is part of an archive of the bucket")

    def _is_closed(self, path: bytes) -> bool:
        try:
            entry = self._before.lookup(path)
        except PathError:
            return False
        return self._closed.fullmatch(entry.xattrs.get(self._kept, b"")) is not None


def _ends(path: bytes) -> Iterator[int]:
    """Where each directory above ``path`` ends, and ``path`` itself."""
    position = path.find(b"/", 1)
    while position != -1:
        yield position
        position = path.find(b"/", position + 1)
    if path:
        yield len(path)


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace") or "/"


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
