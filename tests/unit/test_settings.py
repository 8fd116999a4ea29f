"""Settings: environment over file, everything checked, secrets never printed."""

import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from softman.errors import InvalidInput
from softman.settings import CONFIG_VARIABLE, Settings, configured, load_settings, user_state_dir


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SOFTMAN_")]:
        monkeypatch.delenv(name)


def test_defaults_are_valid() -> None:
    assert load_settings() == Settings()


def test_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "softman.toml"
    file.write_text('domain = "file.example"\n[s3]\nendpoint = "https://file:1"\nregion = "of-the-file"\n')
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    monkeypatch.setenv("SOFTMAN_S3__ENDPOINT", "https://environment:2")
    settings = load_settings()
    assert settings.domain == "file.example"
    assert settings.s3.endpoint == "https://environment:2"
    assert settings.s3.region == "of-the-file"


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMAN_DOMAIN", "environment.example")
    assert load_settings(domain="argument.example").domain == "argument.example"


@pytest.mark.parametrize(
    ("variable", "value", "named"),
    [
        ("SOFTMAN_DOMAIN", "Not A Domain", "domain"),
        ("SOFTMAN_CVMFS__TTL", "0", "cvmfs.ttl"),
        ("SOFTMAN_SYNC__FETCH_THREADS", "many", "sync.fetch_threads"),
        ("SOFTMAN_SYNC__NO_SUCH_SETTING", "1", "sync.no_such_setting"),
        ("SOFTMAN_LOG_LEVEL", "loud", "log_level"),
        ("SOFTMAN_CVMFS__WHITELIST_DAYS", "366", "cvmfs.whitelist_days"),
    ],
)
def test_a_wrong_value_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, named: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(InvalidInput, match=re.escape(named)):
        load_settings()


def test_a_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMAN_S3__READER", '{"secret_key": ["hush-hush"]}')
    with pytest.raises(InvalidInput) as caught:
        load_settings()
    assert "s3.reader.secret_key" in str(caught.value)
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize("text", ["domain = ", 'unknown = "x"'])
def test_a_broken_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str) -> None:
    file = tmp_path / "softman.toml"
    file.write_text(text)
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    with pytest.raises(InvalidInput):
        load_settings()


def test_a_missing_file_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CONFIG_VARIABLE, str(tmp_path / "absent.toml"))
    with pytest.raises(InvalidInput, match=r"absent\.toml"):
        load_settings()


def test_secrets_are_masked_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMAN_BROKER_URL", "amqps://user:hush-hush@host//")
    monkeypatch.setenv("SOFTMAN_VAULT__STRATUM0__SECRET_ID", "hush-hush")
    settings = load_settings()
    assert settings.vault.stratum0.secret_id == SecretStr("hush-hush")
    assert "hush-hush" not in f"{settings!r}{settings}{settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("variable", "counts"),
    [
        ("SOFTMAN_DOMAIN", True),
        ("SOFTMAN_S3__ENDPOINT", True),
        ("softman_redis_url", True),
        (CONFIG_VARIABLE, True),
        ("SOFTMAN_REQUIRE_STACK", False),
        ("SOFTMAN_CHAOS_SEED", False),
        ("OTHER_DOMAIN", False),
    ],
)
def test_what_counts_as_configured(monkeypatch: pytest.MonkeyPatch, variable: str, counts: bool) -> None:
    assert not configured()
    monkeypatch.setenv(variable, "x")
    assert configured() is counts


def test_the_state_directory_of_a_person(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert user_state_dir() == tmp_path / "softman"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # the specification says: ignore it then
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_state_dir() == tmp_path / ".local" / "state" / "softman"


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()
    with pytest.raises(ValidationError):
        setattr(settings, "domain", "other.example")  # noqa: B010 - mypy would not let us try
    with pytest.raises(ValidationError):
        setattr(settings.s3, "region", "other")  # noqa: B010 - as above
