"""Folders, disks and secret files, on temporary folders."""

import os
import time
from pathlib import Path

import pytest

from softman.doctor import host
from softman.doctor.clocks import compared, from_http
from softman.doctor.finding import Finding, Health
from softman.settings import Settings, load_settings

NOW = 1_790_000_000.0


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(state_dir=tmp_path, cvmfs={"storage": f"file://{tmp_path}/cvmfs"})


def _bad(settings: Settings) -> list[Finding]:
    return [finding for finding in host.check_host(settings) if finding.health is not Health.FINE]


def test_a_folder_of_ours_with_room_is_fine(settings: Settings) -> None:
    assert not _bad(settings)


def test_a_missing_folder_is_named_with_its_setting(settings: Settings, tmp_path: Path) -> None:
    (finding,) = _bad(settings.model_copy(update={"state_dir": tmp_path / "gone"}))
    assert (finding.health, str(tmp_path / "gone") in finding.what) == (Health.BROKEN, True)
    assert "SOFTMAN_STATE_DIR" in finding.repair


def test_the_storage_is_looked_at_on_the_host_of_stratum_0_only(tmp_path: Path) -> None:
    here = load_settings(
        state_dir=tmp_path, cvmfs={"storage": f"file://{tmp_path}/cvmfs"}, vault={"stratum0": {"role_id": "x"}}
    )
    assert [finding.repair for finding in _bad(here)] == ["make it for this user, or correct SOFTMAN_CVMFS__STORAGE"]


def test_a_folder_that_is_not_ours(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    (finding,) = _bad(settings)
    assert "cannot be written" in finding.what


@pytest.mark.parametrize(
    ("free", "health"),
    [(100_000_000_000, None), (3_000_000_000, Health.WARNING), (50_000_000, Health.BROKEN)],
)
def test_free_disk(settings: Settings, monkeypatch: pytest.MonkeyPatch, free: int, health: Health | None) -> None:
    _disk(monkeypatch, free=free, inodes=1_000_000)
    assert [finding.health for finding in _bad(settings)] == ([health] if health else [])


def test_inodes(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    _disk(monkeypatch, free=100_000_000_000, inodes=10)
    (finding,) = _bad(settings)
    assert "10 inodes left" in finding.what


def test_a_secret_file_that_others_can_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret-id"
    secret.write_text("s3cr3t")
    secret.chmod(0o640)
    settings = load_settings(state_dir=tmp_path, vault={"publisher": {"role_id": "x", "secret_id_file": secret}})
    (finding,) = _bad(settings)
    assert f"chmod 600 {secret}" in finding.repair
    secret.chmod(0o600)
    assert not _bad(settings)
    secret.unlink()
    assert "cannot be read" in _bad(settings)[0].what


def test_plain_text_beyond_this_host_is_told(tmp_path: Path) -> None:
    url = "http://web.example.org/cvmfs"
    settings = load_settings(state_dir=tmp_path, cvmfs={"url": url}, tls={"allow_plaintext": ["cvmfs.url"]})
    assert "cvmfs.url leads to web.example.org in plain text" in [finding.what for finding in _bad(settings)]


@pytest.mark.parametrize(
    ("theirs", "health"), [(NOW + 4, Health.FINE), (NOW + 60, Health.BROKEN), (NOW - 60, Health.BROKEN)]
)
def test_clocks(theirs: float, health: Health) -> None:
    finding = compared("cache", "Redis", theirs, NOW)
    assert finding.health is health
    assert health is Health.FINE or ("60 s ahead of" in finding.what) == (theirs > NOW)
    assert compared("cache", "Redis", time.time()).health is Health.FINE


def test_the_date_of_an_answer() -> None:
    assert from_http("Mon, 21 Sep 2026 14:13:20 GMT") == NOW


def _disk(monkeypatch: pytest.MonkeyPatch, *, free: int, inodes: int) -> None:
    block = 4096
    blocks = 400_000_000_000 // block
    answer = os.statvfs_result((block, block, blocks, free // block, free // block, 10**6, inodes, inodes, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _path: answer)
