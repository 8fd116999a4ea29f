"""Which service the commands talk to."""

from pathlib import Path

import pytest

from softman.cli.backend import ServiceBackend
from softman.cli.main import run
from softman.errors import NotFound
from softman.settings import Settings


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No stack of the person who runs the tests is found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_the_environment_is_the_first_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMAN_DOMAIN", "chosen.example")
    assert ServiceBackend().settings.domain == "chosen.example"


def test_given_settings_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMAN_DOMAIN", "chosen.example")
    given = Settings(domain="given.example")
    assert ServiceBackend(given).settings is given


def test_without_service_the_next_step_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NotFound, match="softman up"):
        _ = ServiceBackend().settings
    assert run(["status"]) == 14
    assert capsys.readouterr().err.count("\n") == 1


def test_nothing_to_stop_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["down"]) == 0
    assert capsys.readouterr().out == "nothing runs\n"


def test_no_environment_without_a_stack() -> None:
    assert run(["env"]) == 14
