"""The entries of one archive between its reading and its publishing, in a scratch database: memory stays bounded."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from secrets import token_hex
from typing import Final, NamedTuple

from softman.cvmfs.format.entry import Chunk
from softman.cvmfs.format.hashes import DIGEST_SIZE, ContentHash, HashAlgorithm
from softman.cvmfs.staging import ChunkedContent, StoredObject

_SIZE_BYTES: Final = 4
_CHUNK_RECORD: Final = DIGEST_SIZE + _SIZE_BYTES
_SCHEMA = """
CREATE TABLE entry (path BLOB PRIMARY KEY, kind INTEGER, mode INTEGER, mtime INTEGER, mtime_ns INTEGER, link BLOB,
    size INTEGER, stored INTEGER, digests BLOB) WITHOUT ROWID;
CREATE TABLE name (directory BLOB, file BLOB, path BLOB, PRIMARY KEY (directory, file)) WITHOUT ROWID;
CREATE TABLE doubtful (path BLOB PRIMARY KEY) WITHOUT ROWID;
"""
_CACHE_KIB: Final = 8192


class SpoolKind(IntEnum):
    """What an entry is. Numbers are those of the column."""

    IMPLIED = 0
    """A directory that the archive does not name, but has members of."""
    DIRECTORY = 1
    FILE = 2
    LINK = 3
    HARD_LINK = 4
    """Another name of the file at ``link``, in the same directory."""
    COPY = 5
    """The content of the file at ``link``, in another directory."""


DIRECTORIES: Final = frozenset({SpoolKind.IMPLIED, SpoolKind.DIRECTORY})


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """One entry. ``path`` is relative to the archive, ``mtime`` in whole seconds."""

    path: bytes
    kind: SpoolKind
    mode: int = 0
    mtime: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    content: StoredObject | ChunkedContent | None = None


class Found(NamedTuple):
    """What is known of a path."""

    kind: SpoolKind
    link: bytes
    size: int


class Spool:
    """A scratch database. It is used by one thread at a time, but not always the same.

    Args:
        scratch: the directory for its file, which has no name any more when this returns.
        algorithm: of the hashes.
    """

    def __init__(self, scratch: Path, algorithm: HashAlgorithm) -> None:
        self._algorithm = algorithm
        path = scratch / f"archive-{token_hex(8)}"
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                "journal_mode=OFF",
                "synchronous=OFF",
                f"cache_size=-{_CACHE_KIB}",
                "locking_mode=EXCLUSIVE",
            ):
                self._db.execute(f"PRAGMA {pragma}")
            self._db.executescript(_SCHEMA)
        except BaseException:
            self._db.close()
            raise
        finally:
            with suppress(FileNotFoundError):
                path.unlink()  # gone with the process, whatever happens to it
        self._db.execute("BEGIN")

    def close(self) -> None:
        """Remove it; nothing happens the second time."""
        self._db.close()

    def find(self, path: bytes) -> Found | None:
        """What is at ``path``, if anything."""
        row = self._db.execute("SELECT kind, link, size FROM entry WHERE path=?", (path,)).fetchone()
        return None if row is None else Found(SpoolKind(row[0]), row[1], row[2] or 0)

    def put(self, entry: SpoolEntry, size: int = 0) -> None:
        """Add an entry, or replace a directory by one. ``size`` is that of a file, whose content comes later."""
        self._db.execute(
            "INSERT OR REPLACE INTO entry (path, kind, mode, mtime, mtime_ns, link, size) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (entry.path, int(entry.kind), entry.mode, entry.mtime, entry.mtime_ns, entry.link, size),
        )

    def set_content(self, found: Iterable[tuple[bytes, StoredObject | ChunkedContent]]) -> None:
        """Add the content of files."""
        self._db.executemany(
            "UPDATE entry SET size=?, stored=?, digests=? WHERE path=?",
            [(content.size, content.stored_size, _digests(content), path) for path, content in found],
        )

    def name_in(self, directory: bytes, file: bytes) -> bytes | None:
        """The name that the file at ``file`` got first in ``directory`` by a hard link."""
        row = self._db.execute("SELECT path FROM name WHERE directory=? AND file=?", (directory, file)).fetchone()
        return None if row is None else bytes(row[0])

    def add_name(self, directory: bytes, file: bytes, path: bytes) -> None:
        """Note the first such name."""
        self._db.execute("INSERT INTO name VALUES (?, ?, ?)", (directory, file, path))

    def add_doubtful(self, path: bytes) -> None:
        """Note a symbolic link that is to be looked at in the end."""
        self._db.execute("INSERT INTO doubtful VALUES (?)", (path,))

    def doubtful(self) -> Iterator[bytes]:
        """Those links."""
        for (path,) in self._db.execute("SELECT path FROM doubtful"):
            yield path

    def entries(self) -> Iterator[SpoolEntry]:
        """All entries: directories before what is in them, files before their hard links."""
        attributes = "coalesce(f.mode, e.mode), coalesce(f.mtime, e.mtime), coalesce(f.mtime_ns, e.mtime_ns)"
        content = "coalesce(f.size, e.size), coalesce(f.stored, e.stored), coalesce(f.digests, e.digests)"
        select = (
            f"SELECT e.path, e.kind, {attributes}, e.link, {content} FROM entry e "  # noqa: S608 - constants
            f"LEFT JOIN entry f ON e.kind={SpoolKind.COPY:d} AND f.path=e.link"
        )
        for last in (f"WHERE e.kind<>{SpoolKind.HARD_LINK:d}", f"WHERE e.kind={SpoolKind.HARD_LINK:d}"):
            for path, kind, mode, mtime, mtime_ns, link, size, stored, digests in self._db.execute(
                f"{select} {last} ORDER BY e.path"
            ):
                stored_as = None if digests is None else self._content(size, stored, digests)
                yield SpoolEntry(path, SpoolKind(kind), mode, mtime, mtime_ns, link, stored_as)

    def _content(self, size: int, stored: int, digests: bytes) -> StoredObject | ChunkedContent:
        if len(digests) == DIGEST_SIZE:
            return StoredObject(ContentHash(digests, self._algorithm), size, stored)
        chunks, offset = [], 0
        for start in range(0, len(digests), _CHUNK_RECORD):
            middle, end = start + DIGEST_SIZE, start + _CHUNK_RECORD
            length = int.from_bytes(digests[middle:end], "big")
            chunks.append(Chunk(offset, length, ContentHash(digests[start:middle], self._algorithm)))
            offset += length
        return ChunkedContent(tuple(chunks), size, stored)


def _digests(content: StoredObject | ChunkedContent) -> bytes:
    """The digest of an object; of chunks, each digest with the chunk's size."""
    if isinstance(content, StoredObject):
        return content.hash.digest
    return b"".join(chunk.hash.digest + chunk.size.to_bytes(_SIZE_BYTES, "big") for chunk in content.chunks)
