"""A worker that cannot take its credentials does not start."""

from pathlib import Path

import pytest
from celery import signals

from softman.settings import VaultCredential, VaultSettings, load_settings
from workers import pool


def test_a_credential_that_cannot_be_taken_ends_the_worker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    wrapped = VaultCredential(role_id="r", secret_id_wrapped_file=tmp_path / "nowhere")
    chosen = load_settings(vault=VaultSettings(publisher=wrapped))
    monkeypatch.setattr(pool, "settings", lambda: chosen)
    with pytest.raises(SystemExit, match="nowhere, which should hold a credential of Vault, cannot be read"):
        signals.celeryd_init.send(sender="test", instance=None, conf=None, options={})


def test_plain_credentials_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "settings", load_settings)
    pool._take_credentials()
