"""``.cvmfsreflog``, the log of references: every root catalog, certificate, tag database and metainfo ever published.

Garbage collection knows the past only from here. The file is a raw SQLite database; its hash is the manifest's ``Y``.

Source: ``cvmfs/reflog_sql.cc`` of CernVM-FS 2.12.
"""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Self

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import ContentHash

REFLOG_NAME = ".cvmfsreflog"
"""The reflog's file in the repository's root directory."""
MAX_REFLOG_SIZE = 512 * 1024 * 1024
"""Bytes of a reflog to accept."""
_SCHEMA = "1.0"
_TABLES = (
    "CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key))",
    "CREATE TABLE refs (hash TEXT, type INTEGER, timestamp INTEGER, CONSTRAINT pk_refs PRIMARY KEY (hash))",
)


class ReferenceKind(IntEnum):
    """What a reference points to."""

    CATALOG = 0
    """A root catalog; nested ones are not listed."""
    CERTIFICATE = 1
    HISTORY = 2
    METAINFO = 3


@dataclass(frozen=True, slots=True)
class Reference:
    """One row: an object, and when it was entered, in Unix seconds."""

    hash: ContentHash
    kind: ReferenceKind
    timestamp: int


class Reflog:
    """A reflog in memory. Make one with ``create`` or ``parse``; use it as a context manager."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._db.close()

    @classmethod
    def create(cls, repository: str) -> "Reflog":
        """An empty reflog of ``repository``."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.execute("PRAGMA page_size=1024")
        for statement in _TABLES:
            connection.execute(statement)
        properties = {"schema": _SCHEMA, "schema_revision": "0", "fqrn": repository}
        connection.executemany("INSERT INTO properties (key, value) VALUES (?, ?)", properties.items())
        return cls(connection)

    @classmethod
    def parse(cls, data: bytes, repository: str) -> "Reflog":
        """Read a reflog file, whose hash the caller has verified.

        Raises:
            FormatError: no reflog, or that of another repository.
        """
        if not data:  # SQLite would take it for a new database, `deserialize` for a lack of memory
            raise FormatError("the reflog is empty")
        connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.deserialize(data)
            properties = dict(connection.execute("SELECT key, value FROM properties").fetchall())
            connection.execute("SELECT hash, type, timestamp FROM refs LIMIT 1").fetchall()
        except (sqlite3.DatabaseError, OverflowError) as exc:
            connection.close()
            raise FormatError(f"the reflog cannot be read: {exc}") from exc
        if properties.get("schema") != _SCHEMA or properties.get("fqrn") != repository:
            connection.close()
            raise FormatError(f"the reflog has another schema than {_SCHEMA}, or does not belong to {repository}")
        return cls(connection)

    def add(self, content_hash: ContentHash, kind: ReferenceKind, now: int) -> None:
        """Enter a reference, in place of one to the same object. ``now`` is in Unix seconds."""
        row = (str(content_hash), int(kind), now)
        self._db.execute("INSERT OR REPLACE INTO refs (hash, type, timestamp) VALUES (?, ?, ?)", row)

    def remove(self, content_hash: ContentHash) -> None:
        """Take out the reference to an object; nothing happens when there is none."""
        self._db.execute("DELETE FROM refs WHERE hash=?", (str(content_hash),))

    def compact(self) -> None:
        """Give the space of removed rows back."""
        self._db.execute("VACUUM")

    def references(self) -> Iterator[Reference]:
        """All rows, oldest first.

        Raises:
            FormatError: a row breaks the format.
        """
        try:
            for text, kind, timestamp in self._db.execute(
                "SELECT hash, type, timestamp FROM refs ORDER BY timestamp, rowid"
            ):
                yield Reference(ContentHash.parse(str(text)), ReferenceKind(kind), int(timestamp))
        except (sqlite3.DatabaseError, ValueError, TypeError) as exc:
            raise FormatError(f"the reflog cannot be read: {exc}") from exc

    def __contains__(self, content_hash: ContentHash) -> bool:
        return self._db.execute("SELECT 1 FROM refs WHERE hash=?", (str(content_hash),)).fetchone() is not None

    def to_bytes(self) -> bytes:
        """The file's content."""
        return self._db.serialize()
