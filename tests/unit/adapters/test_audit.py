"""The audit log: one line an event, whatever the event says, and what is written stays."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from softman.adapters.audit import AuditFiles
from softman.errors import ServiceUnavailable
from softman.model import AuditEvent

NOW = datetime(2026, 11, 30, 23, 59, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state" / "audit"


def test_lines_are_added_by_month(directory: Path) -> None:
    AuditFiles(directory, lambda: NOW).record(AuditEvent("commit", "done", "alice.example.org", more={"revision": 7}))
    later = AuditFiles(directory, lambda: NOW + timedelta(minutes=1))
    later.record(AuditEvent("lock", "refused", requested_by="root", origin="gen1@host", task="t", detail="why"))
    assert sorted(path.name for path in directory.iterdir()) == ["2026-11.jsonl", "2026-12.jsonl"]
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert directory.stat().st_mode & 0o777 == 0o700
    first, second = later.events()
    assert first["at"] == "2026-11-30T23:59:00.000+00:00"
    assert (first["requested_by"], first["origin"], first["revision"]) == ("unknown", "unknown", 7)
    assert (second["action"], second["requested_by"], second["origin"]) == ("lock", "root", "gen1@host")
    assert [event["action"] for event in later.events(NOW + timedelta(seconds=30))] == ["lock"]


@pytest.mark.parametrize("text", ['a\nb", "outcome": "done', "\x1b[2J\x00\x85\u2028", "x" * 10_000, "\ud800"])
def test_an_event_is_one_line_of_bounded_length(directory: Path, text: str) -> None:
    log = AuditFiles(directory, lambda: NOW)
    log.record(AuditEvent(text, "refused", text, text, text, text, text, more={"more": text}))
    (path,) = directory.iterdir()
    data = path.read_bytes()
    assert data.count(b"\n") == 1
    assert all(0x20 <= byte < 0x7F for byte in data[:-1])
    (event,) = log.events()
    assert event["outcome"] == "refused"
    assert event["detail"] == text[:500]


def test_many_write_at_the_same_time(directory: Path) -> None:
    logs = [AuditFiles(directory, lambda: NOW) for _ in range(8)]

    def write(log: AuditFiles) -> None:
        for _ in range(20):
            log.record(AuditEvent("commit", "done"))

    threads = [threading.Thread(target=write, args=(log,)) for log in logs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (directory / "2026-11.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in lines]) == 160


def test_what_a_full_disk_left_spoils_one_line_only(directory: Path) -> None:
    log = AuditFiles(directory, lambda: NOW)
    log.record(AuditEvent("one", "done"))
    with (directory / "2026-11.jsonl").open("ab") as file:
        file.write(b'{"at": "2026-11')
    log.record(AuditEvent("two", "done"))
    assert [event["action"] for event in log.events()] == ["one", "two"]


def test_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    directory.mkdir(parents=True)
    target = tmp_path / "elsewhere"
    (directory / "2026-11.jsonl").symlink_to(target)
    with pytest.raises(ServiceUnavailable, match="audit log"):
        AuditFiles(directory, lambda: NOW).record(AuditEvent("one", "done"))
    assert not target.exists()


def test_nothing_is_recorded_yet(directory: Path) -> None:
    assert list(AuditFiles(directory, lambda: NOW).events()) == []
    assert not os.path.lexists(directory)
