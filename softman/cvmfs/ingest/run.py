"""One publish: items of a source in, objects made by workers, entries of a transaction out.

Everything is a stream: what is in flight is bounded in number and, where content comes through memory, in bytes.
"""

import marshal
import os
import sys
import tempfile
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final

from softman.cvmfs.direct import DirectArea
from softman.cvmfs.dirtab import DIRTAB_PATH, MAX_DIRTAB_SIZE
from softman.cvmfs.errors import FormatError, PathError
from softman.cvmfs.format.chunker import Chunker, ChunkSizes
from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Chunk, Entry
from softman.cvmfs.format.hashes import ContentHash, ObjectKind
from softman.cvmfs.ingest.items import (
    DirectoryItem,
    Extent,
    FileItem,
    HardLinkItem,
    IngestOptions,
    IngestReport,
    Item,
    LinkItem,
    Progress,
    Refusal,
    Source,
    xattrs_of,
)
from softman.cvmfs.ingest.jobs import Jobs
from softman.cvmfs.ingest.objects import SMALL, Made, Part, Recipe, make_objects, read_extent
from softman.cvmfs.ingest.pieces import chunker, cut
from softman.cvmfs.ingest.small import Batch, Filed, SmallFiles, digests
from softman.cvmfs.ingest.workers import Workers
from softman.cvmfs.paths import AUTO_MARKER, MARKER
from softman.cvmfs.staging import ChunkedContent, Staging, StoredObject
from softman.cvmfs.transaction import Transaction

_BATCH_FILES: Final = 128
_BATCH_BYTES: Final = 2 * 1024 * 1024
_MAX_REFUSED: Final = 1000
"""Refusals that are kept; more are counted."""
_MARKERS = frozenset({MARKER, AUTO_MARKER})


@dataclass(slots=True)
class _Pending:
    """A file whose objects are in the making: ``made`` has a place for each."""

    item: FileItem
    sizes: list[int]
    made: list[Made | None]
    left: int
    """How many of them are missing."""
    followers: list[bytes] = field(default_factory=list)
    """Other names of it that came meanwhile."""


class Ingest:
    """Publishes one source into a transaction. To be used once.

    Args:
        transaction: where entries go; ``seal`` is left to the caller.
        staging: of the transaction.
        workers: make the objects.
        options: how.
        base: the directory of the repository that becomes a copy of the source; ``b""`` for the root.
        progress: is told what is done.
        work_dir: for temporary files; None takes the system's directory.
    """

    def __init__(
        self,
        transaction: Transaction,
        staging: Staging,
        workers: Workers,
        *,
        options: IngestOptions,
        base: bytes = b"",
        progress: Progress | None = None,
        work_dir: Path | None = None,
    ) -> None:
        self._tx = transaction
        self._options = options
        self._base = base
        self._progress = progress
        self._work_dir = work_dir
        self._algorithm = staging.algorithm
        self._recipe = Recipe(staging.area, staging.published, staging.algorithm, options.compression, options.level)
        self._area = staging.area if isinstance(staging.area, DirectArea) else None
        self._report = IngestReport()
        self._batch: list[tuple[_Pending, int, Part]] = []
        self._batch_bytes = 0
        self._jobs = Jobs(workers)
        sizes = options.chunks
        self._largest = sizes.minimum if isinstance(sizes, ChunkSizes) else sizes or sys.maxsize
        self._small = SmallFiles(self._recipe, self._jobs, self._enter_small, largest=self._largest)
        self._parent: bytes | None = None
        self._names: dict[bytes, _Pending] = {}

    def run(self, source: Source) -> IngestReport:
        """Publish everything in ``source``.

        Returns:
            What was done. Entries that cannot be published are left out and named there.

        Raises:
            SourceError: the source cannot be read, is damaged, or changed meanwhile; the transaction is of no use then.
            StoreUnavailable: the staging area cannot be written now.
            PathError: the base of the publish is no directory.
        """
        before = self._tx.lookup(self._base)
        if before is not None and not before.is_dir:
            raise PathError(f"{_shown(self._base)} is no directory")
        self._is_new = before is None or next(self._tx.listdir(self._base), None) is None
        try:
            with tempfile.TemporaryDirectory(prefix="softman-ingest-", dir=self._work_dir) as scratch:
                self._scratch = os.fsencode(scratch)
                for item in source.items():
                    self._take(item)
                self._small.flush()
                self._flush()
                self._jobs.finish()
        finally:
            self._jobs.cancel()
        if self._options.delete and not self._is_new:
            self._delete(source)
        return self._report

    def _take(self, item: Item) -> None:
        try:
            if isinstance(item, FileItem):
                self._file(item)
            elif isinstance(item, DirectoryItem):
                self._directory(item)
            elif isinstance(item, LinkItem):
                self._symlink(item)
            elif isinstance(item, HardLinkItem):
                self._hard_link(item)
            else:
                self._refuse(item.path, item.reason)
        except (PathError, FormatError) as exc:
            self._refuse(item.path, str(exc))

    def _place(self, path: bytes) -> bytes:
        return self._base + b"/" + path if path else self._base

    def _refuse(self, path: bytes, reason: str) -> None:
        self._report.refusals += 1
        if len(self._report.refused) < _MAX_REFUSED:
            self._report.refused.append(Refusal(path, reason))

    def _directory(self, item: DirectoryItem) -> None:
        self._report.directories += 1
        place = self._place(item.path)
        if place:  # the root of a repository keeps its attributes
            found = item.attributes
            self._tx.add_directory(place, found.mode, found.seconds, xattrs_of(found), mtime_ns=found.nanoseconds)

    def _symlink(self, item: LinkItem) -> None:
        self._report.links += 1
        found = item.attributes
        self._tx.add_symlink(
            self._place(item.path), item.target, found.seconds, xattrs_of(found), mtime_ns=found.nanoseconds
        )

    def _hard_link(self, item: HardLinkItem) -> None:
        if self._small.follow(item.path, item.target):
            return
        if (pending := self._names.get(item.target)) is not None:
            self._names[item.path] = pending
            pending.followers.append(item.path)
        else:
            self._link(self._place(item.target), item.path)

    def _link(self, target: bytes, path: bytes) -> None:
        """Give the file at ``target``, which is in the transaction, another name."""
        place, entry = self._place(path), self._tx.lookup(target)
        if entry is None or not entry.is_file:
            self._refuse(path, f"is a hard link to {_shown(target)}, which was refused")
            return
        if place.rpartition(b"/")[0] == entry.parent:
            self._tx.add_hardlink(place, target)
        else:  # CVMFS has no hard links between directories
            found = entry.xattrs
            self._tx.add_file(
                place, _content_of(entry), entry.permissions, entry.mtime, mtime_ns=entry.mtime_ns, xattrs=found
            )
        self._done(entry.size)

    def _dirtab(self, item: FileItem) -> None:
        """Enter the rules at once: a transaction must know them to make the catalogs that they ask for."""
        when, entry = item.attributes.seconds, self._tx.lookup(DIRTAB_PATH)
        is_same = entry is not None and (entry.size, entry.mtime) == (item.size, when)
        if is_same and not self._options.compare_content:
            self._report.unchanged += 1
        elif item.size > MAX_DIRTAB_SIZE:
            raise FormatError(f"has {item.size} bytes; {MAX_DIRTAB_SIZE} are possible")
        else:
            content = read_extent(item.content) if isinstance(item.content, Extent) else item.content
            self._report.read += item.size
            self._tx.set_dirtab(b"".join(content), when)
        self._done(item.size)

    def _file(self, item: FileItem) -> None:
        place = self._place(item.path)
        if place == DIRTAB_PATH:
            self._dirtab(item)
            return
        if not self._is_new and self._is_unchanged(item, place):
            return
        self._report.read += item.size
        if self._is_new and self._small.takes(item, place):
            self._take_small(item, place)
            return
        if self._options.chunks is not None and item.size > self._largest:
            self._large(item, chunker(self._options.chunks))
        elif isinstance(item.content, Extent):
            self._add_part(self._begin(item, 1), 0, Part(item.content))
        elif item.size <= SMALL:
            self._add_part(self._begin(item, 1), 0, Part(b"".join(item.content)))
        else:
            self._large(item, None)

    def _is_unchanged(self, item: FileItem, place: bytes) -> bool:
        """Whether the catalog has the content already, judged by size and time; new attributes are entered."""
        found, entry = item.attributes, self._tx.lookup(place)
        if entry is None or not entry.is_file or entry.is_external or self._options.compare_content:
            return False
        same_time = entry.mtime == found.seconds and (entry.mtime_ns or found.nanoseconds) == found.nanoseconds
        if entry.size != item.size or not same_time or entry.algorithm is not self._algorithm:
            return False
        xattrs = entry.xattrs if found.xattrs is None else found.xattrs
        if (entry.permissions, entry.xattrs) != (found.mode, xattrs):
            self._tx.add_file(
                place, _content_of(entry), found.mode, found.seconds, mtime_ns=found.nanoseconds, xattrs=xattrs
            )
        self._report.unchanged += 1
        self._done(item.size)
        return True

    def _begin(self, item: FileItem, parts: int) -> _Pending:
        pending = _Pending(item, [item.size] * parts, [None] * parts, parts)
        self._names[item.path] = pending
        return pending

    def _large(self, item: FileItem, cutter: Chunker | None) -> None:
        """Cut a file into chunks, each a job of its own."""
        pending = self._begin(item, 0)
        pending.left = 1  # keeps it open until the last part is known
        for extent, is_whole in cut(item.content, cutter, self._scratch):
            pending.sizes.append(extent.length)
            pending.made.append(None)
            pending.left += 1
            kind = ObjectKind.FILE if is_whole else ObjectKind.CHUNK
            self._add_part(pending, len(pending.made) - 1, Part(extent, kind))
            self._flush()
        pending.left -= 1
        if not pending.left:
            self._enter(pending)

    def _add_part(self, pending: _Pending, index: int, part: Part) -> None:
        self._batch.append((pending, index, part))
        self._batch_bytes += part.content.length if isinstance(part.content, Extent) else len(part.content)
        if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._batch:
            return
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        places = [(pending, index) for pending, index, _ in batch]
        self._jobs.start(partial(self._settle, places), make_objects, self._recipe, [part for _, _, part in batch])

    def _settle(self, places: list[tuple[_Pending, int]], made: list[Made]) -> None:
        """Take objects that were made, and enter what is complete."""
        for (pending, index), found in zip(places, made, strict=True):
            pending.made[index] = found
            pending.left -= 1
            self._count(found)
            if not pending.left:
                self._enter(pending)

    def _take_small(self, item: FileItem, place: bytes) -> None:
        parent = place.rpartition(b"/")[0]
        if parent != self._parent:
            self._tx.editor.ensure(parent)
            self._parent = parent
        self._small.add(item, place)

    def _enter_small(self, batch: Batch, filed: Filed) -> None:
        count, report = len(batch.files), self._report
        added = Counters(regular=count, file_size=batch.size)
        self._tx.editor.insert(self._base, marshal.loads(filed.rows), added, filed.fingerprint)  # noqa: S302 - our own
        if self._area is not None:
            for digest in digests(filed.known):
                self._area.count_on(digest, ObjectKind.FILE)  # a worker process cannot tell it
        report.objects += filed.objects
        report.stored += filed.stored
        report.deduplicated += count - filed.objects
        self._done(batch.size, count)
        for path, target in batch.followers:
            self._follow(path, target)

    def _count(self, made: Made) -> None:
        _, size, is_new = made
        if is_new:
            self._report.objects += 1
            self._report.stored += size
        else:
            self._report.deduplicated += 1

    def _enter(self, pending: _Pending) -> None:
        """Enter a file whose objects are all made, and its other names."""
        item, found = pending.item, pending.item.attributes
        self._names.pop(item.path, None)
        kind = ObjectKind.FILE if len(pending.made) == 1 else ObjectKind.CHUNK
        for made in pending.made:
            if made is not None and not made[2] and self._area is not None:
                self._area.count_on(made[0], kind)  # a worker process cannot tell it
        try:
            self._tx.add_file(
                self._place(item.path),
                self._content(pending),
                found.mode,
                found.seconds,
                mtime_ns=found.nanoseconds,
                xattrs=xattrs_of(found),
            )
            self._done(item.size)
        except (PathError, FormatError) as exc:
            self._refuse(item.path, str(exc))
        for path in pending.followers:
            self._names.pop(path, None)
            self._follow(path, item.path)

    def _follow(self, path: bytes, target: bytes) -> None:
        try:
            self._link(self._place(target), path)
        except (PathError, FormatError) as exc:
            self._refuse(path, str(exc))

    def _content(self, pending: _Pending) -> StoredObject | ChunkedContent:
        made = [found for found in pending.made if found is not None]
        hashes = [ContentHash(digest, self._algorithm) for digest, _, _ in made]
        stored = sum(size for _, size, _ in made)
        compression = self._options.compression
        if len(made) == 1:
            return StoredObject(hashes[0], pending.item.size, stored, compression)
        offsets = accumulate(pending.sizes, initial=0)
        chunks = tuple(map(Chunk, offsets, pending.sizes, hashes))
        return ChunkedContent(chunks, pending.item.size, stored, compression)

    def _done(self, size: int, files: int = 1) -> None:
        self._report.files += files
        self._report.size += size
        if self._progress is not None:
            self._progress(files, size)

    def _delete(self, source: Source) -> None:
        """Remove what the source lacks; names that mean something to CVMFS stay."""
        with tempfile.TemporaryFile(prefix="softman-ingest-", dir=self._work_dir) as removals:
            below = None
            for entry in self._tx.walk(self._base):
                if below is not None and entry.path.startswith(below):
                    continue
                below = None
                if not self._is_reserved(entry) and source.lacks(entry.path[len(self._base) + 1 :]):
                    removals.write(len(entry.path).to_bytes(2, "big") + entry.path)
                    below = entry.path + b"/"
            removals.seek(0)
            while length := int.from_bytes(removals.read(2), "big"):
                self._tx.remove(removals.read(length))
                self._report.removed += 1

    def _is_reserved(self, entry: Entry) -> bool:
        """Whether a name means something to CVMFS: all ``.cvmfs*`` at the root, what balancing and the dirtab leave."""
        if entry.name.startswith(b".cvmfs") and not entry.parent:
            return True
        if entry.name == MARKER and self._tx.dirtab().matches(entry.parent):
            return True
        return entry.name in _MARKERS and self._tx.lookup(entry.parent + b"/" + AUTO_MARKER) is not None


def _content_of(entry: Entry) -> StoredObject | ChunkedContent:
    """The content of an entry, for another one."""
    if entry.hash is None:
        return ChunkedContent(entry.chunks, entry.size, 0, entry.compression)
    return StoredObject(entry.hash, entry.size, 0, entry.compression)


def _shown(path: bytes) -> str:
    return path.decode(errors="backslashreplace")
