"""Storing the content of an archive's files: read by one thread, compressed and hashed by some, in bounded memory."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import accumulate
from types import TracebackType
from typing import Final, Self

from softman.cvmfs.format.chunker import ChunkSizes, ContentChunker
from softman.cvmfs.format.entry import Chunk
from softman.cvmfs.format.hashes import ObjectKind
from softman.cvmfs.format.objects import PIECE_SIZE
from softman.cvmfs.staging import WHOLE_SIZE, ChunkedContent, Staging, StoredObject, cut
from softman.services.archives.spool import Spool

_MAX_THREADS: Final = 4
_WAITING_BYTES: Final = 32 * 1024 * 1024
"""Content that may wait to be stored."""
_MAX_CHUNK: Final = ChunkSizes().maximum
_BATCH_FILES: Final = 64
_BATCH_BYTES: Final = 1024 * 1024
"""Small files are handed over together: one alone is stored in less time than that takes."""

Pieces = list[bytes]
Take = Callable[[int], Pieces]


@dataclass(slots=True)
class _Job:
    """What one thread stores: files, or one chunk of a file."""

    paths: list[bytes] = field(default_factory=list)
    contents: list[Pieces] = field(default_factory=list)
    size: int = 0
    large: "_Large | None" = None
    index: int = 0


@dataclass(slots=True)
class _Large:
    """A file in chunks; ``left`` are not stored yet, or not known yet."""

    path: bytes
    size: int
    left: int = 1
    chunks: list[StoredObject | None] = field(default_factory=list)


class ContentStore:
    """Stores content and enters it into the spool. A context manager: leaving it waits for its threads.

    Args:
        staging: where objects go.
        spool: whose files get the content.
    """

    def __init__(self, staging: Staging, spool: Spool) -> None:
        self._staging = staging
        self._spool = spool
        self._threads = min(_MAX_THREADS, len(os.sched_getaffinity(0)))
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="archive")
        self._jobs: dict[Future[list[StoredObject]], _Job] = {}
        self._waiting = 0
        self._batch = _Job()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, path: bytes, size: int, take: Take) -> None:
        """Store the content of the file at ``path``.

        Args:
            path: in the spool.
            size: of the content, in bytes.
            take: gives the next so many bytes of it.

        Raises:
            StoreUnavailable: the staging area cannot be written now. Errors of ``take`` pass through.
        """
        if size > WHOLE_SIZE:
            self._add_large(path, size, take)
            return
        if size > _BATCH_BYTES:
            self._make_room(size)
            self._submit(_Job([path], [take(size)], size))
            return
        self._batch.paths.append(path)
        self._batch.contents.append(take(size))
        self._batch.size += size
        if len(self._batch.paths) >= _BATCH_FILES or self._batch.size >= _BATCH_BYTES:
            self._flush()

    def finish(self) -> None:
        """Wait until everything is stored and entered.

        Raises:
            StoreUnavailable: the staging area cannot be written now.
        """
        self._flush()
        while self._jobs:
            self._settle()

    def _add_large(self, path: bytes, size: int, take: Take) -> None:
        """Cut a file by its content, as stock writers do; chunks are handed over as they come."""
        self._make_room(_MAX_CHUNK)
        parts = cut(_pieces(size, take), ContentChunker())
        part, following = next(parts), next(parts, None)
        if following is None:
            self._submit(_Job([path], [part], size))
            return
        large = _Large(path, size)
        while True:
            self._submit(_Job(contents=[part], size=sum(map(len, part)), large=large, index=len(large.chunks)))
            large.chunks.append(None)
            large.left += 1
            if following is None:
                break
            self._make_room(_MAX_CHUNK)
            part, following = following, next(parts, None)
        self._count_down(large)

    def _flush(self) -> None:
        if self._batch.paths:
            self._make_room(self._batch.size)
            self._submit(self._batch)
            self._batch = _Job()

    def _make_room(self, size: int) -> None:
        while self._jobs and (self._waiting + size > _WAITING_BYTES or len(self._jobs) > 4 * self._threads):
            self._settle()

    def _submit(self, job: _Job) -> None:
        self._waiting += job.size
        kind = ObjectKind.FILE if job.large is None else ObjectKind.CHUNK
        self._jobs[self._pool.submit(self._store, job.contents, kind)] = job

    def _store(self, contents: Iterable[Pieces], kind: ObjectKind) -> list[StoredObject]:
        return [self._staging.write_object(pieces, kind) for pieces in contents]

    def _settle(self) -> None:
        """Wait for a job, and enter what it stored."""
        done, _ = wait(self._jobs, return_when=FIRST_COMPLETED)
        for future in done:
            job = self._jobs.pop(future)
            self._waiting -= job.size
            stored = future.result()
            if job.large is None:
                self._spool.set_content(zip(job.paths, stored, strict=True))
            else:
                self._enter_chunk(job.large, job.index, stored[0])

    def _enter_chunk(self, large: _Large, index: int, stored: StoredObject) -> None:
        large.chunks[index] = stored
        self._count_down(large)

    def _count_down(self, large: _Large) -> None:
        """One chunk of ``large`` is stored, or its last one is known; all of it is entered together."""
        large.left -= 1
        if large.left:
            return
        chunks = [chunk for chunk in large.chunks if chunk is not None]
        offsets = accumulate((chunk.size for chunk in chunks), initial=0)
        found = tuple(Chunk(at, chunk.size, chunk.hash) for at, chunk in zip(offsets, chunks, strict=False))
        total = sum(chunk.stored_size for chunk in chunks)
        self._spool.set_content([(large.path, ChunkedContent(found, large.size, total))])


def _pieces(size: int, take: Take) -> Iterator[bytes]:
    for start in range(0, size, PIECE_SIZE):
        yield from take(min(PIECE_SIZE, size - start))
