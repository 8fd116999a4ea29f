"""The audit log: files on stratum 0, one JSON object a line, a file a month. Lines are added, never changed."""

import fcntl
import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from softman.errors import ServiceUnavailable
from softman.model import AuditEvent

MAX_TEXT: Final = 500
"""Characters of one text in a line; longer ones are cut."""
MAX_LINE: Final = 128 * 1024
"""Bytes of a line that is read; longer ones are none of ours."""
_OPEN = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_NAME = re.compile(r"[0-9]{4}-[0-9]{2}\.jsonl")


class AuditFiles:
    """``AuditLog`` in a directory. Several processes may write at the same time.

    Args:
        directory: made, for us alone, when the first line is written.
        clock: the present time, with a time zone.
    """

    def __init__(self, directory: Path, clock: Callable[[], datetime]) -> None:
        self._directory = directory
        self._clock = clock

    def record(self, event: AuditEvent) -> None:
        """See ``AuditLog``: on disk when this returns.

        Raises:
            ServiceUnavailable: the file cannot be written.
        """
        now = self._clock().astimezone(UTC)
        line = json.dumps({"at": now.isoformat(timespec="milliseconds"), **_fields(event)}, ensure_ascii=True)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            _append(self._directory / f"{now:%Y-%m}.jsonl", line.encode() + b"\n")
        except OSError as exc:
            msg = f"the audit log in {self._directory} cannot be written: {exc.strerror}"
            raise ServiceUnavailable(msg) from exc

    def events(self, since: datetime | None = None) -> Iterator[dict[str, Any]]:
        """What was recorded, oldest first; lines that are damaged are passed over.

        Args:
            since: leave out what is older.
        """
        first = "" if since is None else f"{since.astimezone(UTC):%Y-%m}"
        try:
            files = sorted(path for path in self._directory.iterdir() if _NAME.fullmatch(path.name))
        except FileNotFoundError:
            return
        for path in files:
            if path.stem >= first:
                yield from (event for event in _read(path) if since is None or _time(event) >= since)


def _fields(event: AuditEvent) -> dict[str, Any]:
    texts = {
        "action": event.action,
        "repository": event.repository,
        "requested_by": event.requested_by or "unknown",
        "origin": event.origin or "unknown",
        "task": event.task,
        "outcome": event.outcome,
        "detail": event.detail,
    }
    more = {name: value if isinstance(value, int) else str(value)[:MAX_TEXT] for name, value in event.more.items()}
    return {name: text[:MAX_TEXT] for name, text in texts.items()} | more


def _append(path: Path, line: bytes) -> None:
    """Add a line in one piece. What a full disk left of another is ended first."""
    descriptor = os.open(path, _OPEN, 0o600)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(0, "not a file", str(path))
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line
        if os.write(descriptor, line) != len(line):
            raise OSError(0, "the line was cut off", str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            try:
                event = json.loads(line)
                _time(event)
            except (ValueError, TypeError, KeyError):
                continue
            yield event


def _time(event: dict[str, Any]) -> datetime:
    when = datetime.fromisoformat(event["at"])
    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
