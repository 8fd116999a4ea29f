"""Which storage the settings mean."""

from pathlib import Path

import pytest

from softman import wiring
from softman.adapters.s3_store import S3Store
from softman.adapters.vault_layout import Role
from softman.cvmfs.store.local import LocalStore
from softman.errors import InvalidInput
from softman.names import RepositoryName
from softman.settings import Settings, load_settings
from softman.storage import open_store

KEYS = {"access_key": "key", "secret_key": "secret"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(state_dir=tmp_path / "state")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "srv/cvmfs",
        "file://host/srv",
        "file:srv",
        "s3://",
        "s3://UPPER/x",
        "s3://bucket/a//b",
        "s3://bucket/../x",
        "s3://bucket/x?y",
        "https://example.org/cvmfs",
    ],
)
def test_a_wrong_storage_is_refused(tmp_path: Path, settings: Settings, url: str) -> None:
    with pytest.raises(InvalidInput, match="is no storage"):
        open_store(settings, url, "a.example.org", Role.STRATUM0)
    wrong = load_settings(state_dir=tmp_path, cvmfs={"storage": url})
    with pytest.raises(InvalidInput, match="is no storage"):
        wiring._staging(wrong, RepositoryName("alice", "example.org"))


def test_a_directory_has_a_folder_for_each_repository(tmp_path: Path, settings: Settings) -> None:
    store = open_store(settings, (tmp_path / "with space").as_uri(), "a.example.org", Role.STRATUM0)
    assert isinstance(store, LocalStore)
    assert store.root == tmp_path / "with space" / "a.example.org"
    store.ensure_directories()
    with store.lock("a.example.org"):
        assert (store.root / ".cvmfs_softman.lock").exists()


def test_a_bucket_is_locked_where_stratum0_locks_it(settings: Settings) -> None:
    known = settings.model_copy(
        update={"cvmfs": load_settings(cvmfs={"s3": {"stratum0": KEYS}}).cvmfs},
    )
    store = open_store(known, "s3://bucket/prefix", "a.example.org", Role.STRATUM0)
    assert isinstance(store, S3Store)
    with store.lock("a.example.org"):
        assert (settings.state_dir / "locks" / "a.example.org.lock").exists()


def test_an_object_store_needs_a_credential_of_each_side(tmp_path: Path) -> None:
    settings = load_settings(state_dir=tmp_path, cvmfs={"storage": "s3://bucket", "s3": {"stratum0": KEYS}})
    open_store(settings, settings.cvmfs.storage, "a.example.org", Role.STRATUM0)
    with pytest.raises(InvalidInput, match=r"cvmfs\.s3.publisher.access_key"):
        wiring._staging(settings, RepositoryName("alice", "example.org"))
    with pytest.raises(InvalidInput, match=r"cvmfs\.s3.stratum0.access_key"):
        open_store(load_settings(state_dir=tmp_path), "s3://bucket", "a.example.org", Role.STRATUM0)
