"""The tabs "Upload" and "Use it": who sees what, and what can be downloaded."""

import io
import tarfile
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from tests.support.showcase import ADMIN, ALICE, BOB, NEWCOMER

Visit = Callable[..., str]
HOME = "/repositories/alice.software.example.org"


def test_the_owner_may_drop_files(visit: Visit) -> None:
    text = visit(ALICE, f"{HOME}/upload?in=software/v1")
    assert 'id="uploader"' in text
    assert 'value="software/v1"' in text
    assert "s3://alice/cvmfs/" in text


def test_an_administrator_may_look_and_not_drop(visit: Visit) -> None:
    text = visit(ADMIN, f"{HOME}/upload")
    assert 'id="uploader"' not in text
    assert "You may look, not upload" in text


@pytest.mark.parametrize("folder", ['"><script>', "a&b", "../.."])
def test_a_folder_in_the_address_is_escaped(visit: Visit, folder: str) -> None:
    text = visit(ALICE, f"{HOME}/upload?in={folder.replace('&', '%26')}")
    assert '"><script>' not in text


@pytest.mark.parametrize("tab", ["upload", "use", "use/alice.software.example.org.pub"])
@pytest.mark.parametrize("who", [BOB, NEWCOMER])
def test_strangers_find_nothing(client: TestClient, log_in: Callable[..., object], tab: str, who: object) -> None:
    log_in(who)
    assert client.get(f"{HOME}/{tab}").status_code == 404


def test_what_is_downloaded_is_what_the_page_names(visit: Visit, client: TestClient) -> None:
    text = visit(ALICE, f"{HOME}/use")
    name = "alice.software.example.org"
    assert f"{HOME}/use/{name}-cvmfs.tar.gz" in text
    key = client.get(f"{HOME}/use/{name}.pub")
    assert key.headers["content-disposition"] == f'attachment; filename="{name}.pub"'
    bundle = client.get(f"{HOME}/use/{name}-cvmfs.tar.gz")
    assert bundle.headers["content-type"] == "application/gzip"
    with tarfile.open(fileobj=io.BytesIO(bundle.content)) as archive:
        packed = archive.extractfile(f"etc/cvmfs/keys/software.example.org/{name}.pub")
        assert packed is not None
        assert packed.read() == key.content
    assert client.get(f"{HOME}/use/other.pub").status_code == 404


def test_only_who_may_publish_is_told_where_the_gateway_key_is(visit: Visit) -> None:
    assert "gatewayKey" in visit(ALICE, f"{HOME}/use")
    assert "gatewayKey" not in visit(ADMIN, f"{HOME}/use")


def test_requests_of_other_sites_and_odd_ones_are_refused(client: TestClient, log_in: Callable[..., object]) -> None:
    session = log_in(ALICE)
    headers = {"X-CSRF-Token": session.csrf_token}  # type: ignore[attr-defined]
    assert client.post(f"{HOME}/upload/plan", json={"files": []}).status_code == 403
    body = {"files": [{"path": "a", "size": 1, "more": 1}]}
    assert client.post(f"{HOME}/upload/plan", json=body, headers=headers).status_code == 422
