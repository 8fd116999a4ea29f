"""Writing content into a staging area: compressed, hashed, cut into chunks, whatever the area is."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Protocol

from softman.cvmfs.areas import (
    SPOOL_BYTES,
    STAGING_DIRECTORY,
    DirectoryArea,
    Spool,
    StagingArea,
    check_transaction_id,
    new_transaction_id,
    staged_name,
)
from softman.cvmfs.direct import DirectArea
from softman.cvmfs.format.chunker import Chunker, ChunkSizes, ContentChunker, FixedChunker
from softman.cvmfs.format.entry import Chunk, Compression
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, Hasher, ObjectKind, hash_bytes
from softman.cvmfs.format.objects import Compressor, compress

__all__ = [
    "CHUNK_SIZE",
    "CHUNK_THRESHOLD",
    "WHOLE_SIZE",
    "ChunkedContent",
    "Published",
    "Staging",
    "StoredObject",
    "check_transaction_id",
    "cut",
    "new_transaction_id",
    "staged_name",
]

CHUNK_SIZE = 16 * 1024 * 1024
"""Bytes of every chunk but the last; the largest that stock writers make."""
CHUNK_THRESHOLD = 24 * 1024 * 1024
"""Files of more bytes are stored in chunks, where chunks are of a fixed size."""
WHOLE_SIZE = ChunkSizes().minimum
"""Files of up to so many bytes are never cut by their content."""
_THREADS = min(2, len(os.sched_getaffinity(0)))
"""Chunks of a file that are compressed at the same time: each more takes up to 16 MiB of memory."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Content as one object: ``size`` counts its bytes, ``stored_size`` those of the object."""

    hash: ContentHash
    size: int
    stored_size: int
    compression: Compression = Compression.ZLIB


@dataclass(frozen=True, slots=True)
class ChunkedContent:
    """Content in at least two chunks, each an object of its own."""

    chunks: tuple[Chunk, ...]
    size: int
    stored_size: int
    compression: Compression = Compression.ZLIB


class Published(Protocol):
    """Tells whether an object is in the repository's storage, in full; ``Store.is_stored`` does."""

    def __call__(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """Whether it is there, with ``size`` bytes as stored. May be called from many threads."""


class Staging:
    """A transaction's staging area, for its publisher. All ``write_`` methods may be called from many threads.

    Args:
        area: where objects go; a path stands for ``DirectoryArea(path)``.
        algorithm: of the hashes, the repository's.
        published: objects that it says are stored are not staged again.
        threads: chunks of one file that are compressed at the same time.

    Raises:
        PathError: the last component of the path is no transaction id.
        StoreUnavailable: the directory cannot be made.
    """

    def __init__(
        self,
        area: StagingArea | Path,
        *,
        algorithm: HashAlgorithm = HashAlgorithm.SHA1,
        published: Published | None = None,
        threads: int = _THREADS,
    ) -> None:
        self._threads = threads
        self.area: StagingArea = DirectoryArea(area) if isinstance(area, Path) else area
        self.algorithm = algorithm
        self.published: Published = published or _none_published

    @classmethod
    def create(
        cls,
        repository_root: Path,
        *,
        algorithm: HashAlgorithm = HashAlgorithm.SHA1,
        published: Published | None = None,
    ) -> "Staging":
        """Begin a transaction with a new id in the directory of a repository."""
        directory = repository_root / STAGING_DIRECTORY / new_transaction_id()
        return cls(directory, algorithm=algorithm, published=published)

    @property
    def transaction(self) -> str:
        """The transaction's id."""
        return self.area.transaction

    @property
    def directory(self) -> Path:
        """The area as a directory.

        Raises:
            TypeError: it is none.
        """
        if not isinstance(self.area, DirectoryArea):
            raise TypeError("this staging area is no directory")
        return self.area.directory

    def write_object(
        self,
        pieces: Iterable[bytes],
        kind: ObjectKind = ObjectKind.FILE,
        *,
        compression: Compression = Compression.ZLIB,
    ) -> StoredObject:
        """Store ``pieces`` as one object. Memory stays bounded whatever its size.

        Raises:
            StoreUnavailable: the staging area cannot be written now. Errors of ``pieces`` pass through.
        """
        source = iter(pieces)
        head, is_all = _take(source, SPOOL_BYTES)
        if is_all:
            return self._write_whole(b"".join(head), kind, compression)
        compressor = Compressor() if compression is Compression.ZLIB else None
        hasher, size, stored_size = Hasher(self.algorithm), 0, 0
        with self.area.spool() as spool:
            for piece in chain(_drained(head), source):
                size += len(piece)
                stored_size += _store(spool, hasher, compressor.update(piece) if compressor else piece)
            if compressor:
                stored_size += _store(spool, hasher, compressor.finish())
            content_hash = hasher.finish()
            self._keep(spool, content_hash, kind, stored_size)
        return StoredObject(content_hash, size, stored_size, compression)

    def write_file(
        self,
        pieces: Iterable[bytes],
        *,
        compression: Compression = Compression.ZLIB,
        threshold: int = WHOLE_SIZE,
        chunk_size: int | None = None,
    ) -> StoredObject | ChunkedContent:
        """Store a file's content: as one object, or in chunks where it is cut.

        Chunks are compressed and hashed in threads of their own while ``pieces`` come. Memory holds up to ``threads``
        chunks, the next one, and what ``pieces`` hold.

        Args:
            pieces: the content.
            compression: of the stored objects.
            threshold: files of up to so many bytes are not cut.
            chunk_size: bytes of each chunk but the last; None cuts by content, as stock writers do, and may leave a
                file whole.

        Raises:
            StoreUnavailable: the staging area cannot be written now. Errors of ``pieces`` pass through.
        """
        source = iter(pieces)
        head, is_all = _take(source, threshold)
        if is_all:
            return self.write_object(head, compression=compression)
        cutter = ContentChunker() if chunk_size is None else FixedChunker(chunk_size)
        return self._write_cut(cut(chain(_drained(head), source), cutter), compression)

    def discard(self) -> None:
        """Remove the area with all that is in it; nothing happens when it is gone."""
        self.area.discard()

    def _write_whole(self, content: bytes, kind: ObjectKind, compression: Compression) -> StoredObject:
        stored = compress(content) if compression is Compression.ZLIB else content
        content_hash = hash_bytes(stored, self.algorithm)
        if not isinstance(self.area, DirectoryArea | DirectArea):
            with self.area.spool() as spool:
                spool.write(stored)
                self._keep(spool, content_hash, kind, len(stored))
        elif not self.published(content_hash, kind, size=len(stored)):
            self.area.keep(staged_name(content_hash, kind), stored)
        return StoredObject(content_hash, len(content), len(stored), compression)

    def _write_cut(self, parts: Iterator[list[bytes]], compression: Compression) -> StoredObject | ChunkedContent:
        def write(part: list[bytes]) -> StoredObject:
            return self.write_object(_drained(part), ObjectKind.CHUNK, compression=compression)

        first = next(parts)
        second = next(parts, None)
        if second is None:
            return self.write_object(first, compression=compression)
        done: list[StoredObject] = []
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - for large content only

        with ThreadPoolExecutor(self._threads, thread_name_prefix="chunks") as pool:
            running = deque([pool.submit(write, first)])
            del first
            while second is not None:
                if len(running) == self._threads:
                    done.append(running.popleft().result())
                running.append(pool.submit(write, second))
                second = next(parts, None)
            done.extend(future.result() for future in running)
        offsets = accumulate((chunk.size for chunk in done), initial=0)
        chunks = tuple(Chunk(offset, chunk.size, chunk.hash) for offset, chunk in zip(offsets, done, strict=False))
        stored_size = sum(chunk.stored_size for chunk in done)
        return ChunkedContent(chunks, sum(chunk.size for chunk in done), stored_size, compression)

    def _keep(self, spool: Spool, content_hash: ContentHash, kind: ObjectKind, stored_size: int) -> None:
        name = staged_name(content_hash, kind)
        if not self.area.holds(name) and not self.published(content_hash, kind, size=stored_size):
            spool.keep_as(name)


def _take(source: Iterator[bytes], size: int) -> tuple[list[bytes], bool]:
    """Pieces of ``source`` until they have more than ``size`` bytes; whether they are all there is."""
    taken: list[bytes] = []
    for piece in source:
        taken.append(piece)
        size -= len(piece)
        if size < 0:
            return taken, False
    return taken, True


def _drained(pieces: list[bytes]) -> Iterator[bytes]:
    """The same pieces, each forgotten as it is taken."""
    pieces.reverse()
    while pieces:
        yield pieces.pop()


def cut(source: Iterable[bytes], cutter: Chunker) -> Iterator[list[bytes]]:
    """The pieces of ``source`` chunk by chunk; at least one chunk.

    Args:
        source: the content of one file.
        cutter: a new one, for this file.
    """
    part: list[bytes] = []
    position = 0
    for piece in source:
        start = 0
        for end in cutter.feed(piece):
            part.append(piece[start : end - position])
            yield part
            part, start = [], end - position
        part.append(piece[start:])
        position += len(piece)
    yield part


def _none_published(content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
    del content, kind, size
    return False


def _store(spool: Spool, hasher: Hasher, data: bytes) -> int:
    hasher.update(data)
    spool.write(data)
    return len(data)
