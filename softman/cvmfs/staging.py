"""Staging areas: where a publisher leaves new objects until stratum 0 has checked and promoted them.

A transaction's area is the directory ``data/txn/<transaction>`` of the repository's storage, flat, one file an object,
named as in ``data/`` without the slash (``abcdef...P``). Every file appears under its name whole, by rename.
"""

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from softman.cvmfs.errors import ObjectMissing, PathError, StoreUnavailable
from softman.cvmfs.format.entry import Chunk, Compression
from softman.cvmfs.format.hashes import ContentHash, HashAlgorithm, Hasher, ObjectKind
from softman.cvmfs.format.objects import Compressor

STAGING_DIRECTORY = "data/txn"
"""Below a repository's root; stock tools keep temporary files there."""
CHUNK_SIZE = 16 * 1024 * 1024
"""Bytes of every chunk but the last; the largest that stock writers make."""
CHUNK_THRESHOLD = 24 * 1024 * 1024
"""Files of more bytes are stored in chunks."""
_SPOOL_BYTES = 1024 * 1024
_TRANSACTION = re.compile(r"[0-9a-f]{32}")
_TEMPORARY = ".tmp-"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A publisher might leave a fifo: opening must not wait for it.
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


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


def new_transaction_id() -> str:
    """A name for a transaction that nobody can guess: 32 hex digits."""
    return secrets.token_hex(16)


def check_transaction_id(text: str) -> str:
    """Return ``text`` when it is a transaction's name.

    Raises:
        PathError: it is not 32 lower-case hex digits.
    """
    if not _TRANSACTION.fullmatch(text):
        raise PathError(f"{text[:80]!r} is no transaction: 32 hex digits are")
    return text


def staged_name(content_hash: ContentHash, kind: ObjectKind) -> str:
    """The file name of a staged object."""
    return f"{content_hash}{kind.value}"


class Staging:
    """A transaction's staging area, for its publisher. All ``write_`` methods may be called from many threads.

    Args:
        directory: its last component is the transaction's id; made if it does not exist, its parents must.
        algorithm: of the hashes, the repository's.
        published: tells whether the object at a path (``data/ab/cd...``) is stored already; such objects are not
            staged again. May be called from many threads.

    Raises:
        PathError: the last component is no transaction id.
        StoreUnavailable: the directory cannot be made.
    """

    def __init__(
        self,
        directory: Path,
        *,
        algorithm: HashAlgorithm = HashAlgorithm.SHA1,
        published: Callable[[str], bool] | None = None,
    ) -> None:
        self.transaction = check_transaction_id(directory.name)
        self.directory = directory
        self.algorithm = algorithm
        self._published = published
        with _storage_errors():
            directory.mkdir(mode=0o770, exist_ok=True)

    @classmethod
    def create(
        cls,
        repository_root: Path,
        *,
        algorithm: HashAlgorithm = HashAlgorithm.SHA1,
        published: Callable[[str], bool] | None = None,
    ) -> "Staging":
        """Begin a transaction with a new id in the storage of a repository."""
        directory = repository_root / STAGING_DIRECTORY / new_transaction_id()
        return cls(directory, algorithm=algorithm, published=published)

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
        with _Spool(self.directory) as spool:
            for piece in pieces:
                size += len(piece)
                stored_size += _store(spool, hasher, compressor.update(piece) if compressor else piece)
            if compressor:
                stored_size += _store(spool, hasher, compressor.finish())
            content_hash = hasher.finish()
            self._keep(spool, content_hash, kind)
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
        _remove_tree(self.directory)

    def _write_chunks(self, source: "_Cutter", compression: Compression, chunk_size: int) -> ChunkedContent:
        chunks: list[Chunk] = []
        offset = stored_size = 0
        while source.more():
            stored = self.write_object(source.pieces(chunk_size), ObjectKind.CHUNK, compression=compression)
            chunks.append(Chunk(offset, stored.size, stored.hash))
            offset += stored.size
            stored_size += stored.stored_size
        return ChunkedContent(tuple(chunks), offset, stored_size, compression)

    def _keep(self, spool: "_Spool", content_hash: ContentHash, kind: ObjectKind) -> None:
        target = self.directory / staged_name(content_hash, kind)
        if target.exists() or (self._published is not None and self._published(content_hash.object_path(kind))):
            return
        spool.keep_as(target)


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


class _Spool:
    """Collects the bytes of an object: in memory while they are few, else in a temporary file of the area."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None
        self._path: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Add ``data``."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _SPOOL_BYTES:
            with _storage_errors():
                self._flush()

    def keep_as(self, target: Path) -> None:
        """Give the object its name. To be called once, last."""
        with _storage_errors():
            file, path = self._flush()
            file.close()
            path.replace(target)
        self._path = None

    def _flush(self) -> tuple[BinaryIO, Path]:
        if self._file is None or self._path is None:
            self._path = self._directory / (_TEMPORARY + secrets.token_hex(8))
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            self._file = os.fdopen(descriptor, "wb")
        self._file.writelines(self._pieces)
        self._pieces.clear()
        self._size = 0
        return self._file, self._path


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StoreUnavailable(f"the staging area cannot be written: {exc.strerror or exc}") from exc


def _store(spool: _Spool, hasher: Hasher, data: bytes) -> int:
    hasher.update(data)
    spool.write(data)
    return len(data)


@contextmanager
def open_staged(staging_root: Path, transaction: str, name: str) -> Iterator[BinaryIO]:
    """A staged file as stratum 0 must open it: a plain file, no link on the way followed.

    Args:
        staging_root: ``data/txn`` of the repository.
        transaction: its id.
        name: see ``staged_name``.

    Raises:
        ObjectMissing: there is no such plain file.
    """
    try:
        directory = os.open(staging_root / check_transaction_id(transaction), _OPEN_DIRECTORY)
        try:
            descriptor = os.open(name, _OPEN_FILE, dir_fd=directory)
        finally:
            os.close(directory)
    except OSError as exc:
        raise ObjectMissing(f"staged {name} cannot be read: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ObjectMissing(f"staged {name} is no plain file")
    with os.fdopen(descriptor, "rb") as file:
        yield file


def discard_area(staging_root: Path, transaction: str) -> None:
    """Remove a transaction's area; what cannot be removed is left for ``sweep_staging``."""
    _remove_tree(staging_root / check_transaction_id(transaction))


def sweep_staging(staging_root: Path, older_than: float) -> int:
    """Remove staging areas and temporary files of which nothing changed since ``older_than``.

    Symbolic links are removed, never followed. What is not ours to remove stays.

    Args:
        staging_root: ``data/txn`` of the repository.
        older_than: Unix time, seconds.

    Returns:
        How many were removed.
    """
    removed = 0
    for item in staging_root.iterdir() if staging_root.is_dir() else ():
        try:
            if _last_change(item) >= older_than:
                continue
            if stat.S_ISDIR(item.lstat().st_mode):
                removed += _remove_tree(item)
            else:
                item.unlink()
                removed += 1
        except OSError:  # gone meanwhile, or another user's: the next sweep sees
            continue
    return removed


def _remove_tree(directory: Path) -> bool:
    """Remove a directory with all that is in it, as far as possible; whether it is gone.

    Areas are flat, but a publisher could build one so deep that ``rmtree`` gives up.
    """
    with suppress(RecursionError):
        shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def _last_change(item: Path) -> float:
    status = item.lstat()
    if not stat.S_ISDIR(status.st_mode):
        return status.st_mtime
    with os.scandir(item) as entries:
        return max(chain((status.st_mtime,), (e.stat(follow_symlinks=False).st_mtime for e in entries)))
