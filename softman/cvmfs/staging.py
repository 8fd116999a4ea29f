"""Writing content into a staging area: compressed, hashed, cut into chunks, whatever the area is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from softman.cvmfs.areas import (
    STAGING_DIRECTORY,
    DirectoryArea,
    Spool,
    StagingArea,
    check_transaction_id,
    new_transaction_id,
    staged_name,
)
from softman.cvmfs.format.entry import Chunk, Compression
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, Hasher, ObjectKind
from softman.cvmfs.format.objects import Compressor

__all__ = [
    "CHUNK_SIZE",
    "CHUNK_THRESHOLD",
    "ChunkedContent",
    "Published",
    "Staging",
    "StoredObject",
    "check_transaction_id",
    "new_transaction_id",
    "staged_name",
]

CHUNK_SIZE = 16 * 1024 * 1024
"""Bytes of every chunk but the last; the largest that stock writers make."""
CHUNK_THRESHOLD = 24 * 1024 * 1024
"""Files of more bytes are stored in chunks."""


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
    ) -> None:
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
        compressor = Compressor() if compression is Compression.ZLIB else None
        hasher, size, stored_size = Hasher(self.algorithm), 0, 0
        with self.area.spool() as spool:
            for piece in pieces:
                size += len(piece)
                stored_size += _store(spool, hasher, compressor.update(piece) if compressor else piece)
            if compressor:
                stored_size += _store(spool, hasher, compressor.finish())
            content_hash = hasher.finish()
            name = staged_name(content_hash, kind)
            if not self.area.holds(name) and not self.published(content_hash, kind, size=stored_size):
                spool.keep_as(name)
        return StoredObject(content_hash, size, stored_size, compression)

    def write_file(
        self,
        pieces: Iterable[bytes],
        *,
        size_hint: int | None = None,
        compression: Compression = Compression.ZLIB,
        threshold: int = CHUNK_THRESHOLD,
        chunk_size: int = CHUNK_SIZE,
    ) -> StoredObject | ChunkedContent:
        """Store a file's content: as one object, or in chunks when it has more than ``threshold`` bytes.

        Args:
            pieces: the content.
            size_hint: how many bytes it is said to have, which saves memory: without a hint up to ``threshold`` bytes
                are held to find out, with a larger one ``chunk_size``, with a smaller one none. When it is wrong the
                content is stored correctly all the same.
            compression: of the stored objects.
            threshold: bytes.
            chunk_size: bytes of each chunk but the last.

        Raises:
            StoreUnavailable: the staging area cannot be written now. Errors of ``pieces`` pass through.
        """
        if size_hint is not None and size_hint <= threshold:
            return self.write_object(pieces, compression=compression)
        source = _Cutter(pieces)
        head = source.take(max(threshold, chunk_size) if size_hint is None else chunk_size)
        if not source.more():
            return self.write_object(head, compression=compression)
        return self._write_chunks(_Cutter(chain(head, source.rest())), compression, chunk_size)

    def discard(self) -> None:
        """Remove the area with all that is in it; nothing happens when it is gone."""
        self.area.discard()

    def _write_chunks(self, source: "_Cutter", compression: Compression, chunk_size: int) -> ChunkedContent:
        chunks: list[Chunk] = []
        offset = stored_size = 0
        while source.more():
            stored = self.write_object(source.pieces(chunk_size), ObjectKind.CHUNK, compression=compression)
            chunks.append(Chunk(offset, stored.size, stored.hash))
            offset += stored.size
            stored_size += stored.stored_size
        return ChunkedContent(tuple(chunks), offset, stored_size, compression)


class _Cutter:
    """Reads a stream of pieces and cuts it where asked."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._source = iter(source)
        self._pending = b""

    def more(self) -> bool:
        """Whether there is anything left."""
        while not self._pending:
            piece = next(self._source, None)
            if piece is None:
                return False
            self._pending = piece
        return True

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next ``size`` bytes, fewer at the end."""
        while size and self.more():
            piece, self._pending = self._pending[:size], self._pending[size:]
            size -= len(piece)
            yield piece

    def take(self, size: int) -> list[bytes]:
        """The next ``size`` bytes at once."""
        return list(self.pieces(size))

    def rest(self) -> Iterator[bytes]:
        """Everything that is left."""
        while self.more():
            piece, self._pending = self._pending, b""
            yield piece


def _none_published(content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
    del content, kind, size
    return False


def _store(spool: Spool, hasher: Hasher, data: bytes) -> int:
    hasher.update(data)
    spool.write(data)
    return len(data)
