"""Wishes that could not be given to the broker: kept on disk, sent in order when it answers again."""

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from typing import Final, Protocol

from softman.dashboard.store import DashboardStore
from softman.errors import SoftmanError, TransientError
from softman.log import get_logger

MOST: Final = 10_000
"""Wishes that are kept; more would not be wishes of people."""
_PAUSE: Final = 2.0
"""Seconds between two attempts."""
_log = get_logger(__name__)


class Deliver(Protocol):
    """Hands a wish to the broker."""

    def __call__(self, task_id: str, task: str, arguments: Sequence[object], *, requested_by: str) -> None:
        """Raise ``TransientError`` when the broker does not take it now."""


class Outbox:
    """The wishes that wait, in the dashboard's store. Processes may share it.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: DashboardStore) -> None:
        self._store = store
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def post(self, task_id: str, task: str, arguments: Sequence[object], *, requested_by: str) -> None:
        """Keep a wish until it can be sent.

        Raises:
            TransientError: too many wait already.
        """
        with self._store.transaction() as connection:
            if _count(connection) >= MOST:
                msg = "the message broker is away, and no more requests can be kept; try again later"
                raise TransientError(msg)
            connection.execute(
                "INSERT INTO outbox (task_id, task, arguments, requested_by, begun) VALUES (?, ?, ?, ?, ?)",
                (task_id, task, json.dumps(list(arguments)), requested_by, time.time()),
            )
        _log.warning("request waits for the message broker", task=task, id=task_id)

    def waiting(self) -> int:
        """How many wait."""
        with self._store.connection() as connection:
            return _count(connection)

    def send_all(self, deliver: Deliver) -> int:
        """Send what waits, in order, until the broker does not take one; how many were sent.

        One that can never be sent is put aside with a line in the log. A process that dies between sending and noting
        that sends twice, with the same id, which tasks take.
        """
        sent = 0
        while (wish := self._first()) is not None:
            try:
                deliver(wish["task_id"], wish["task"], json.loads(wish["arguments"]), requested_by=wish["requested_by"])
                sent += 1
            except TransientError:
                return sent
            except (SoftmanError, KeyError) as exc:
                _log.error("request cannot be sent", task=wish["task"], id=wish["task_id"], error=str(exc))
            with self._store.transaction() as connection:
                connection.execute("DELETE FROM outbox WHERE place = ?", (wish["place"],))
        return sent

    def start(self, deliver: Deliver) -> None:
        """Send what waits in the background from now on."""
        self._thread = threading.Thread(target=self._run, args=(deliver,), name="outbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the sending; what waits stays."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _run(self, deliver: Deliver) -> None:
        while not self._stop.is_set():
            try:
                self.send_all(deliver)
            except Exception:  # noqa: BLE001 - logged with its trace; the next attempt may be better
                _log.exception("requests cannot be sent")
            self._stop.wait(_PAUSE)

    def _first(self) -> sqlite3.Row | None:
        with self._store.connection() as connection:
            found: sqlite3.Row | None = connection.execute("SELECT * FROM outbox ORDER BY place LIMIT 1").fetchone()
        return found


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM outbox").fetchone()[0])
