"""The tag database (object letter ``H``): names for revisions of a repository, among them ``trunk``, the newest.

Source: ``cvmfs/history_sql.cc``, ``history_sqlite.cc``, ``swissknife_history.cc`` of CernVM-FS 2.12. A history is a
value here: changing it gives another one, and the order of its tags is that of the rows.
"""

import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

from softman.cvmfs.errors import FormatError
from softman.cvmfs.format.hashes import ContentHash

MAX_HISTORY_SIZE: Final = 256 * 1024 * 1024
"""Bytes of a tag database to accept, uncompressed: room for more than a million tags."""

TRUNK: Final = "trunk"
"""The tag of the revision in force."""
TRUNK_PREVIOUS: Final = "trunk-previous"
"""The tag of the revision before, which ``undo`` goes back to."""
RESERVED_TAGS: Final = frozenset({TRUNK, TRUNK_PREVIOUS})

_SCHEMA = "1.0"
_SCHEMA_REVISION = "3"
_NULL_HASH = "0" * 40
_TAG_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,255}")
# A view could make a plain SELECT run for ever.
_UNEXPECTED = "SELECT 1 FROM sqlite_schema WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%' LIMIT 1"
_TABLES = (
    "CREATE TABLE properties (key TEXT, value TEXT, CONSTRAINT pk_properties PRIMARY KEY (key))",
    """CREATE TABLE branches (branch TEXT, parent TEXT, initial_revision INTEGER,
        CONSTRAINT pk_branch PRIMARY KEY (branch), FOREIGN KEY (parent) REFERENCES branches (branch),
        CHECK ((branch <> '') OR (parent IS NULL)), CHECK ((branch = '') OR (parent IS NOT NULL)))""",
    """CREATE TABLE tags (name TEXT, hash TEXT, revision INTEGER, timestamp INTEGER, channel INTEGER,
        description TEXT, size INTEGER, branch TEXT, CONSTRAINT pk_tags PRIMARY KEY (name),
        FOREIGN KEY (branch) REFERENCES branches (branch))""",
    "CREATE TABLE recycle_bin (hash TEXT, flags INTEGER, CONSTRAINT pk_hash PRIMARY KEY (hash))",
)


@dataclass(frozen=True, slots=True)
class Tag:
    """A name for a revision.

    Attributes:
        name: letters, digits and ``-_./:``.
        root_hash: the revision's root catalog.
        revision: its number.
        timestamp: when that catalog was last modified, Unix seconds.
        size: bytes of its database, uncompressed; 0 when not known.
        description: free text.
        branch: ``""`` in repositories without branches.
        channel: obsolete, kept as read.
    """

    name: str
    root_hash: ContentHash
    revision: int
    timestamp: int
    size: int = 0
    description: str = ""
    branch: str = ""
    channel: int = 0


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of revisions. The default one has the name ``""`` and no parent."""

    name: str = ""
    parent: str | None = None
    initial_revision: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """All tags of a repository.

    Attributes:
        repository: the fully qualified name.
        tags: in the order of their rows.
        branches: the default one at least.
        previous: the history object that this one replaced, if any.
    """

    repository: str
    tags: tuple[Tag, ...] = ()
    branches: tuple[Branch, ...] = (Branch(),)
    previous: ContentHash | None = None

    @classmethod
    def parse(cls, data: bytes, repository: str) -> "History":
        """Read a tag database, whose hash the caller has verified.

        Raises:
            FormatError: no tag database, that of another repository, or one with a row that breaks the format.
        """
        if not data:  # SQLite would take it for a new database, `deserialize` for a lack of memory
            raise FormatError("the tag database is empty")
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            try:
                connection.execute("PRAGMA trusted_schema=OFF")
                connection.deserialize(data)
                if connection.execute(_UNEXPECTED).fetchone() is not None:
                    raise FormatError("the tag database holds something other than tables and indexes")
                properties = dict(connection.execute("SELECT key, value FROM properties").fetchall())
                branches = connection.execute("SELECT branch, parent, initial_revision FROM branches").fetchall()
                tags = connection.execute(
                    "SELECT name, hash, revision, timestamp, size, description, branch, channel FROM tags "
                    "ORDER BY rowid"
                ).fetchall()
            except (sqlite3.DatabaseError, OverflowError, UnicodeDecodeError) as exc:
                raise FormatError(f"the tag database cannot be read: {exc}") from exc
        if properties.get("schema") != _SCHEMA or properties.get("fqrn") != repository:
            raise FormatError(f"the tag database has another schema than {_SCHEMA}, or does not belong to {repository}")
        return cls(
            repository=repository,
            tags=tuple(_tag(row) for row in tags),
            branches=tuple(_branch(row) for row in branches),
            previous=_previous(properties.get("previous_revision")),
        )

    def to_bytes(self) -> bytes:
        """The database file.

        Raises:
            FormatError: two tags have one name, or a branch is not there.
        """
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            for pragma in ("page_size=1024", "foreign_keys=ON"):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("BEGIN")
            for statement in _TABLES:
                connection.execute(statement)
            properties = {
                "schema": _SCHEMA,
                "schema_revision": _SCHEMA_REVISION,
                "fqrn": self.repository,
                "previous_revision": _NULL_HASH if self.previous is None else str(self.previous),
            }
            connection.executemany("INSERT INTO properties (key, value) VALUES (?, ?)", properties.items())
            try:
                connection.executemany(
                    "INSERT INTO branches (branch, parent, initial_revision) VALUES (?, ?, ?)",
                    [(branch.name, branch.parent, branch.initial_revision) for branch in self.branches],
                )
                connection.executemany(
                    "INSERT INTO tags (name, hash, revision, timestamp, channel, description, size, branch) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    [_row(tag) for tag in self.tags],
                )
            except sqlite3.IntegrityError as exc:
                raise FormatError(f"the tags are inconsistent: {exc}") from exc
            connection.execute("COMMIT")
            return connection.serialize()

    def tag(self, name: str) -> Tag | None:
        """The tag called ``name``, or None."""
        return next((tag for tag in self.tags if tag.name == name), None)

    def with_tag(self, tag: Tag) -> "History":
        """This history with ``tag`` at its end, in place of one with the same name."""
        return replace(self, tags=(*(other for other in self.tags if other.name != tag.name), tag))

    def without(self, *names: str) -> "History":
        """This history without the tags of these names; names that no tag has are passed over."""
        return replace(self, tags=tuple(tag for tag in self.tags if tag.name not in names))


def is_tag_name(name: str) -> bool:
    """Whether a tag that a user makes can have this name: 1 to 255 of ``a-zA-Z0-9-_./:``, none of the reserved."""
    return _TAG_NAME.fullmatch(name) is not None and name not in RESERVED_TAGS


def _tag(row: tuple[Any, ...]) -> Tag:
    name, root_hash, revision, timestamp, size, description, branch, channel = row
    if not isinstance(name, str) or not name:
        raise FormatError("a tag has no name")
    if not isinstance(root_hash, str) or not isinstance(branch, str) or not isinstance(description, str | None):
        raise FormatError(f"tag {name!r}: hash, branch or description is no text")
    numbers = (revision, timestamp, 0 if size is None else size, 0 if channel is None else channel)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise FormatError(f"tag {name!r}: revision, time or size is no number")
    revision, timestamp, size, channel = numbers
    return Tag(name, ContentHash.parse(root_hash), revision, timestamp, size, description or "", branch, channel)


def _row(tag: Tag) -> tuple[object, ...]:
    return (
        tag.name,
        str(tag.root_hash),
        tag.revision,
        tag.timestamp,
        tag.channel,
        tag.description,
        tag.size,
        tag.branch,
    )


def _branch(row: tuple[Any, ...]) -> Branch:
    name, parent, initial_revision = row
    if not (isinstance(name, str) and isinstance(parent, str | None) and isinstance(initial_revision, int)):
        raise FormatError("a branch of the tag database breaks the format")
    return Branch(name, parent, initial_revision)


def _previous(text: object) -> ContentHash | None:
    if text is None or text == "" or (isinstance(text, str) and text.partition("-")[0] == _NULL_HASH):
        return None
    if not isinstance(text, str):
        raise FormatError("the tag database's property previous_revision is no text")
    return ContentHash.parse(text)
