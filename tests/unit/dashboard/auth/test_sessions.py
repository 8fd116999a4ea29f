"""Sessions on disk: they end in time, and what is stored opens nothing."""

from pathlib import Path

import pytest
from fastapi import Response

from softman.dashboard.auth.sessions import Session, Sessions
from softman.dashboard.store import DashboardStore
from softman.identity import Principal
from softman.settings_dashboard import DashboardSettings

CAROL = Principal("s", "carol", frozenset({"physics", "biology"}), frozenset({"physics"}), admin=True, name="Carol")


class _Place:
    def __init__(self, directory: Path) -> None:
        self.now = 1_000_000.0
        self.directory = directory
        self.settings = DashboardSettings(session_idle=100, session_longest=1000)
        self.sessions = Sessions(DashboardStore(directory), self.settings, lambda: self.now)

    def begin(self) -> tuple[str, Session]:
        response = Response()
        session = self.sessions.begin(response, CAROL, id_token="the ID token")
        return response.headers["set-cookie"].partition(";")[0].partition("=")[2], session


@pytest.fixture
def place(tmp_path: Path) -> _Place:
    return _Place(tmp_path / "dashboard")


def test_a_session_is_found_as_it_was_by_another_process(place: _Place) -> None:
    session_id, session = place.begin()
    other = Sessions(DashboardStore(place.directory), place.settings, lambda: place.now)
    assert other.find(session_id) == session
    assert session.principal == CAROL


def test_a_session_ends_when_it_is_idle_and_when_it_is_old(place: _Place) -> None:
    idle, _ = place.begin()
    used, _ = place.begin()
    for _step in range(14):
        place.now += 70
        assert place.sessions.find(used) is not None
    assert place.sessions.find(idle) is None
    place.now += 70
    assert place.sessions.find(used) is None


def test_the_store_holds_no_id(place: _Place) -> None:
    session_id, _ = place.begin()
    assert place.directory.stat().st_mode & 0o777 == 0o700
    stored = b"".join(file.read_bytes() for file in place.directory.iterdir())
    assert b"the ID token" in stored  # it looked at the right files
    assert session_id.encode() not in stored


@pytest.mark.parametrize("other", ["", "x", "\x00", "' OR 1=1 --"])
def test_another_id_is_no_session(place: _Place, other: str) -> None:
    place.begin()
    assert place.sessions.find(other) is None


def test_old_sessions_are_removed(place: _Place) -> None:
    place.begin()
    place.now += 2000
    place.begin()
    with DashboardStore(place.directory).connection() as connection:
        assert connection.execute("SELECT count(*) FROM sessions").fetchone()[0] == 1
