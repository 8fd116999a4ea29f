"""Objects out of a store, verified: no byte is handed on before the hash of the whole object was compared.

That needs a place to wait: memory for small objects, a temporary file for large ones. Memory stays bounded whatever an
object's size.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from softman.cvmfs.errors import FormatError, HashMismatch, ObjectMissing, StoreUnavailable, TooLarge
from softman.cvmfs.format.entry import Compression
from softman.cvmfs.format.hashes import ContentHash, Hasher, ObjectKind
from softman.cvmfs.format.objects import PIECE_SIZE, compressed_bound, inflate
from softman.cvmfs.store.base import Readable, ReadableStore

SPOOL_SIZE: Final = 4 * 1024 * 1024
"""Bytes of an object that wait in memory; more wait in a file."""


class ObjectFetcher:
    """Fetches and verifies objects of one repository. Safe to be shared by threads.

    Args:
        store: where they are.
        work_dir: for temporary files; None takes the system's directory.
    """

    def __init__(self, store: ReadableStore, *, work_dir: Path | None = None) -> None:
        self._store = store
        self._work_dir = None if work_dir is None else str(work_dir)

    @contextmanager
    def open(self, content: ContentHash, kind: ObjectKind, *, max_stored: int) -> Iterator[BinaryIO]:
        """An object's stored bytes, verified, from their beginning.

        Args:
            content: the object's hash.
            kind: its kind.
            max_stored: the most bytes to accept.

        Raises:
            ObjectMissing: it is not in the store.
            StoreUnavailable: the store does not answer, or stopped twice in the middle.
            TooLarge: it has more than ``max_stored`` bytes; not more than that is read.
            HashMismatch: it does not have the hash it is named by.
        """
        name = content.object_path(kind)
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_SIZE, dir=self._work_dir) as spool:
            self._receive(name, spool, max_stored)
            spool.seek(0)
            hasher = Hasher(content.algorithm)
            for piece in pieces(spool.read):
                hasher.update(piece)
            if hasher.finish() != content:
                raise HashMismatch(f"{name} does not match its hash")
            spool.seek(0)
            yield spool  # type: ignore[misc]  # a BinaryIO in all that matters, says the documentation

    def content(
        self, content: ContentHash, kind: ObjectKind, *, size: int, compression: Compression = Compression.ZLIB
    ) -> Iterator[bytes]:
        """An object's content in pieces of bounded size, verified.

        Args:
            content: the object's hash.
            kind: its kind.
            size: the bytes that the content must have.
            compression: how it is stored.

        Raises:
            ObjectMissing: it is not in the store.
            StoreUnavailable: the store does not answer.
            HashMismatch: it does not have the hash it is named by.
            TooLarge: the content has more than ``size`` bytes.
            FormatError: the content has fewer, or is no zlib stream.
        """
        name = content.object_path(kind)
        plain = compression is Compression.NONE
        left = size
        try:
            with self.open(content, kind, max_stored=size if plain else compressed_bound(size)) as stored:
                source = pieces(stored.read)
                for piece in source if plain else inflate(source, max_size=size):
                    left -= len(piece)
                    yield piece
        except TooLarge as error:
            raise TooLarge(f"the content of {name} is longer than the {size} bytes announced") from error
        if left:
            raise FormatError(f"the content of {name} is {left} bytes shorter than announced")

    def inflate_to(self, target: Path, content: ContentHash, kind: ObjectKind, *, max_size: int) -> int:
        """Write the content of a compressed object into a new file.

        Args:
            target: the file; must not exist.
            content: the object's hash.
            kind: its kind.
            max_size: the most bytes of content to accept.

        Returns:
            How many bytes it has.

        Raises:
            ObjectMissing: it is not in the store.
            StoreUnavailable: the store does not answer.
            HashMismatch: it does not have the hash it is named by.
            TooLarge: the content has more than ``max_size`` bytes.
            FormatError: it is no zlib stream.
        """
        with self.open(content, kind, max_stored=compressed_bound(max_size)) as stored, target.open("xb") as file:
            for piece in inflate(pieces(stored.read), max_size=max_size):
                file.write(piece)
            return file.tell()

    def _receive(self, name: str, spool: tempfile.SpooledTemporaryFile[bytes], max_stored: int) -> None:
        """Copy a file into ``spool``; once more from the beginning when the store stops in the middle."""
        for last in (False, True):
            spool.seek(0)
            spool.truncate()
            with self._store.open(name) as source:
                try:
                    return _copy(source, spool, name, max_stored)
                except StoreUnavailable:
                    if last:
                        raise
        return None


def is_intact(store: ReadableStore, content: ContentHash, kind: ObjectKind) -> bool:
    """Whether an object is in a store, with the bytes that it is named by. It is read to its end.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    hasher = Hasher(content.algorithm)
    try:
        with store.open(content.object_path(kind)) as source:
            for piece in pieces(source.read):
                hasher.update(piece)
    except ObjectMissing:
        return False
    return hasher.finish() == content


def pieces(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """What ``read`` gives until it gives nothing, in pieces of bounded size."""
    while piece := read(PIECE_SIZE):
        yield piece


def _copy(source: Readable, spool: tempfile.SpooledTemporaryFile[bytes], name: str, max_stored: int) -> None:
    left = max_stored
    for piece in pieces(source.read):
        left -= len(piece)
        if left < 0:
            raise TooLarge(f"{name} has more than {max_stored} bytes")
        spool.write(piece)
