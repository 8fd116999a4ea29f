"""Makes a candidate on the revision in force of what a publisher sent, in a process of its own (``merging``)."""

import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from softman.cvmfs.areas import StagingArea, check_transaction_id, new_transaction_id, staged_name
from softman.cvmfs.confined import ask_confined
from softman.cvmfs.errors import CandidateRejected, ObjectMissing, PathConflict
from softman.cvmfs.format.hashes import ContentHash, Hasher, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import PIECE_SIZE
from softman.cvmfs.gateway.merging import ABSENT, MergeRequest
from softman.cvmfs.rebase import WithStaged
from softman.cvmfs.store.base import Readable, StagedStore, is_name
from softman.cvmfs.transaction import Candidate

_GIB = 1024**3
_SENT, _STORED = "candidate", "base"


@dataclass(frozen=True, slots=True)
class MergeLimits:
    """What a merge may take: bytes, seconds."""

    object_bytes: int = 4 * _GIB
    """Of a catalog as stored."""
    timeout: float = 900.0
    cpu_seconds: int = 600
    memory_bytes: int = _GIB
    file_bytes: int = 16 * _GIB


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose an entry is, by extended attributes."""

    kept_xattr: bytes
    """Entries that have it are not the publisher's."""
    closed: bytes
    """A pattern of its values: neither is what is below such a directory."""
    own_xattr: bytes
    """What the publisher's entries get."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a publisher wants: the root catalogs it began and ended with, and the directory that it may change."""

    old_root: ContentHash
    new_root: ContentHash
    lease_path: bytes = b""
    publisher: str = ""
    """The id of its key."""


class Merger:
    """Merges into one repository.

    Args:
        store: of the repository, with the right to read and to stage.
        ownership: whose entries are.
        now: Unix time, seconds.
        limits: what a merge may take.
    """

    def __init__(
        self, store: StagedStore, *, ownership: Ownership, now: Callable[[], int], limits: MergeLimits | None = None
    ) -> None:
        self._store = store
        self._ownership = ownership
        self._now = now
        self._limits = limits or MergeLimits()

    def merge(self, change: Change, area: StagingArea, current: Manifest, work: Path) -> Candidate | None:
        """Build on the revision in force what a publisher built on an older one.

        Args:
            change: what it wants; its objects are in ``area``.
            area: takes the new catalogs, too.
            current: the manifest in force.
            work: an empty directory for copies and scratch files.

        Returns:
            The candidate, or None when there is nothing to change any more.

        Raises:
            PathConflict: what is in force differs from what the publisher changed.
            CandidateRejected: the change is not one that a publisher may make, or cannot be read.
            StoreUnavailable: the storage or this machine cannot do it now.
        """
        made = work / new_transaction_id()
        limits = self._limits
        request = MergeRequest(
            old=str(change.old_root),
            new=str(change.new_root),
            current=str(current.root_hash),
            current_revision=current.revision,
            ttl=current.ttl,
            lease_path=os.fsdecode(change.lease_path),
            kept_xattr=os.fsdecode(self._ownership.kept_xattr),
            closed=os.fsdecode(self._ownership.closed),
            own_xattr=os.fsdecode(self._ownership.own_xattr),
            publisher=change.publisher,
            work=str(work),
            area=made.name,
            now=self._now(),
            memory_bytes=limits.memory_bytes,
            cpu_seconds=limits.cpu_seconds,
            file_bytes=limits.file_bytes,
        )
        supply = _Supply(self._store, check_transaction_id(area.transaction), work, limits.object_bytes)
        answer = ask_confined(
            "softman.cvmfs.gateway.merging",
            request.to_json(),
            work,
            supply,
            timeout=limits.timeout,
            what="the merge of the change",
            packages=True,
        )
        if "conflict" in answer:
            raise PathConflict(str(answer["conflict"]), os.fsencode(str(answer["path"])))
        if "root_hash" not in answer:
            return None
        _take(made, area, current.root_hash)
        root = ContentHash.parse(str(answer["root_hash"]))
        return Candidate(current.revision, current.root_hash, root, int(answer["root_size"]))


class _Supply:
    """Copies objects out of the reach of others, for the process that asks for them."""

    def __init__(self, store: StagedStore, transaction: str, work: Path, most: int) -> None:
        self._store = store
        self._transaction = transaction
        self._work = work
        self._most = most
        self._names = (f"{number}.z" for number in count())

    def __call__(self, question: bytes) -> Path:
        try:
            origin, _, name = question.decode("ascii").removesuffix("\n").partition(" ")
        except ValueError as exc:
            raise CandidateRejected("the merge asks for what is no object") from exc
        if origin not in {_SENT, _STORED} or not is_name(name) or not name.startswith("data/"):
            raise CandidateRejected("the merge asks for what is no object")
        target = self._work / next(self._names)
        try:
            with self._open(origin, name) as file:
                self._copy(file, name, target)
        except ObjectMissing:
            return self._work / ABSENT
        return target

    def _open(self, origin: str, name: str) -> AbstractContextManager[Readable]:
        return WithStaged(self._store, self._transaction).open(name) if origin == _SENT else self._store.open(name)

    def _copy(self, source: Readable, name: str, target: Path) -> None:
        left = self._most
        with target.open("xb") as file:
            while piece := source.read(PIECE_SIZE):
                left -= len(piece)
                if left < 0:
                    raise CandidateRejected(f"{name} has more than {self._most} bytes")
                file.write(piece)


def _take(made: Path, area: StagingArea, like: ContentHash) -> None:
    """Stage what the process made, under the names of its hashes: the process is believed nothing."""
    for path in made.iterdir() if made.is_dir() else ():
        if path.is_symlink() or not path.is_file() or path.name.startswith("."):
            continue
        hasher = Hasher(like.algorithm)
        with area.spool() as spool, path.open("rb") as file:
            while piece := file.read(PIECE_SIZE):
                hasher.update(piece)
                spool.write(piece)
            content = hasher.finish()
            kind = ObjectKind.CATALOG if path.name.endswith(ObjectKind.CATALOG.value) else ObjectKind.FILE
            name = staged_name(content, kind)
            if not area.holds(name):
                spool.keep_as(name)
    shutil.rmtree(made, ignore_errors=True)
