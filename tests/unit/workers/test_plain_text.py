"""Plain text beyond this host is possible by a setting only, and every worker says so when it starts."""

import pytest

from softman.settings import Settings, load_settings
from workers import pool


class Log:
    """What is warned of."""

    def __init__(self) -> None:
        self.warnings: list[tuple[str, dict[str, object]]] = []

    def warning(self, event: str, **fields: object) -> None:
        self.warnings.append((event, fields))


def warnings(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> list[tuple[str, dict[str, object]]]:
    log = Log()
    monkeypatch.setattr(pool, "_log", log)
    monkeypatch.setattr(pool, "settings", lambda: settings)
    monkeypatch.setattr(pool, "configure_logging", lambda **_options: None)
    pool._set_up_logging()
    return log.warnings


def test_a_worker_warns_of_each_address_in_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(
        redis_url="redis://:hidden@cache.example.org/0",
        vault={"address": "https://vault.example.org:8200"},
        cvmfs={"url": "http://cvmfs.example.org/cvmfs"},
        tls={"allow_plaintext": ["redis_url", "cvmfs.url"]},
    )
    told = warnings(monkeypatch, settings)
    text = "plain text is allowed: whoever is on the way can read and change it"
    assert told == [
        (text, {"setting": "redis_url", "host": "cache.example.org"}),
        (text, {"setting": "cvmfs.url", "host": "cvmfs.example.org"}),
    ]
    assert "hidden" not in str(told)


def test_loopback_needs_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warnings(monkeypatch, load_settings()) == []
