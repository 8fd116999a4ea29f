"""What the dashboard itself remembers: sessions, logins under way, idempotency keys, requests for the broker.

One SQLite file, so that login and requests survive an outage of Redis and of RabbitMQ. Processes of one host share it.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_BUSY_SECONDS = 10.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT PRIMARY KEY, data TEXT NOT NULL, begun REAL NOT NULL, seen REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS logins (
    state TEXT PRIMARY KEY, browser TEXT NOT NULL, data TEXT NOT NULL, begun REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    principal TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, answer TEXT, begun REAL NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox (
    place INTEGER PRIMARY KEY AUTOINCREMENT, task_id TEXT NOT NULL UNIQUE, task TEXT NOT NULL, arguments TEXT NOT NULL,
    requested_by TEXT NOT NULL, begun REAL NOT NULL, reason TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX IF NOT EXISTS logins_begun ON logins (begun);
"""


class DashboardStore:
    """The file. Each thread has its own connection.

    Args:
        directory: made when it is missing, for this user alone.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / "dashboard.sqlite"
        self.path.touch(mode=0o600, exist_ok=True)
        self._local = threading.local()
        with self.connection() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(_SCHEMA)

    @contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """This thread's connection, every statement a transaction of its own."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = FULL")
            self._local.connection = connection
        yield connection

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All statements or none, with the file's write lock from the start."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
