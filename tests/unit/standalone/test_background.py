"""Where the stack of a user is."""

from pathlib import Path

import pytest

from softman.standalone.background import default_directory, running


@pytest.mark.parametrize(
    ("state_home", "expected"),
    [("/x/state", "/x/state/softman"), ("", "/h/.local/state/softman"), ("relative", "/h/.local/state/softman")],
)
def test_default_directory(monkeypatch: pytest.MonkeyPatch, state_home: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setenv("XDG_STATE_HOME", state_home)
    assert default_directory() == Path(expected)


def test_nothing_runs_where_nothing_is(tmp_path: Path) -> None:
    assert running(tmp_path / "absent") is None
