"""The API: answers, parts of lists, entity tags, idempotency keys, problems, other methods."""

from http import HTTPStatus
from typing import Any

import pytest
from fastapi.testclient import TestClient

from softman.dashboard.api import idempotency
from softman.errors import Corrupt, ServiceUnavailable
from softman.model import Refusal
from tests.support.desk import Office
from tests.unit.dashboard.api.conftest import LETTER, PERSONAL

HERE = f"/api/v1/repositories/{PERSONAL}"


def _all(client: TestClient, url: str) -> list[Any]:
    """Every part of a list, by the header ``Link``."""
    found: list[Any] = []
    while url:
        response = client.get(url)
        assert response.status_code == HTTPStatus.OK, response.text
        found += response.json()["items"]
        link = response.links.get("next")
        assert (link is None) == (response.json()["next"] is None)
        url = link["url"] if link is not None else ""
    return found


def test_a_repository_says_how_it_stands(alice: TestClient) -> None:
    found = alice.get(HERE).json()
    assert (found["name"], found["state"], found["condition"], found["revision"]) == (
        "alice.example.org",
        "active",
        "ready",
        2,
    )
    assert found["relations"] == ["owner"]
    assert "retire" in found["may"]
    assert "set-quotas" not in found["may"]
    assert found["last_sync"]["added"] == 4
    assert found["usage"]["bytes"] == 20
    assert "subject" not in found["owner"]


def test_a_directory_comes_in_parts_with_links(alice: TestClient) -> None:
    names = [each["name"] for each in _all(alice, f"{HERE}/tree?limit=1")]
    assert names == ["README", "bin", "data"]
    inside = alice.get(f"{HERE}/tree", params={"path": "/data"}).json()
    assert [each["path"] for each in inside["items"]] == ["/data/100%25", "/data/ü"]
    assert (inside["directory"]["path"], inside["revision"]) == ("/data", 2)
    for item in inside["items"]:
        assert alice.get(f"{HERE}/entry", params={"path": item["path"]}).json() == item
    assert _all(alice, f"{HERE}/tree?path=/data&limit=1") == inside["items"]


def test_differences_and_revisions_come_in_parts(alice: TestClient) -> None:
    changes = _all(alice, f"{HERE}/diff?old=1&new=2&limit=2")
    assert [each["path"] for each in changes] == [
        "/README",
        "/bin",
        "/bin/tool",
        "/data",
        "/data/100%25",
        "/data/ü",
    ]
    assert {each["change"] for each in changes} == {"added"}
    assert [each["revision"] for each in _all(alice, f"{HERE}/revisions?limit=1")] == [2, 1]
    assert alice.get(f"{HERE}/revisions").json()["items"][0]["sync"]["added"] == 4


def test_refused_keys_come_in_parts(alice: TestClient, office: Office) -> None:
    office.world.records.set_refusals(PERSONAL, [Refusal(f"cvmfs/{each}", "why") for each in ("a", "b", "ü%")], None)
    assert [each["key"] for each in _all(alice, f"{HERE}/refusals?limit=1")] == ["cvmfs/a", "cvmfs/b", "cvmfs/ü%"]
    office.world.records.set_refusals(PERSONAL, [], None)


@pytest.mark.parametrize("path", ["", "a", "//", "/a/../b", "/a/./b", "/a//b", "/%00", "/a%2F..%2Fb"])
def test_what_is_no_path_is_not_there(alice: TestClient, path: str) -> None:
    response = alice.get(f"{HERE}/entry", params={"path": path})
    assert response.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.OK}
    assert (response.status_code == HTTPStatus.OK) == (path in {"", "//"})  # the root


def test_an_answer_is_not_sent_twice(alice: TestClient) -> None:
    first = alice.get("/api/v1/requestable")
    again = alice.get("/api/v1/requestable", headers={"If-None-Match": f'"other", {first.headers["ETag"]}'})
    assert (again.status_code, again.content) == (HTTPStatus.NOT_MODIFIED, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert first.headers["Cache-Control"] == "private, no-cache"
    changed = alice.get("/api/v1/me", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == HTTPStatus.OK


def test_head_is_get_without_a_body(alice: TestClient) -> None:
    head, get = alice.head(f"{HERE}/syncs"), alice.get(f"{HERE}/syncs")
    assert (head.status_code, head.content) == (HTTPStatus.OK, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    assert alice.head("/api/v1/repositories/nobody.example.org").status_code == HTTPStatus.NOT_FOUND


def test_other_methods_are_told_which_ones_there_are(alice: TestClient, people: dict[str, TestClient]) -> None:
    allowed = "GET, HEAD, OPTIONS, POST"
    options = people["anonymous"].options("/api/v1/repositories")
    assert (options.status_code, options.headers["Allow"]) == (HTTPStatus.NO_CONTENT, allowed)
    refused = alice.request("DELETE", "/api/v1/repositories")
    assert (refused.status_code, refused.headers["Allow"]) == (HTTPStatus.METHOD_NOT_ALLOWED, allowed)
    assert refused.headers["content-type"] == "application/problem+json"
    assert alice.get("/api/v1/nothing").json()["type"] == "urn:softman:problem:not-found"


def test_a_request_with_a_key_is_carried_out_once(alice: TestClient, office: Office) -> None:
    before = len(office.wishes.sent)
    headers = {"Idempotency-Key": "f4a3-1"}
    first = alice.post(f"{HERE}/resync", json={"prefix": "cvmfs/bin/"}, headers=headers)
    again = alice.post(f"{HERE}/resync", json={"prefix": "cvmfs/bin/"}, headers=headers)
    assert first.status_code == again.status_code == HTTPStatus.ACCEPTED
    assert first.json() == again.json()
    assert (first.json()["queued"], again.headers["Idempotency-Replayed"]) == ("broker", "true")
    assert len(office.wishes.sent) == before + 1
    other = alice.post(f"{HERE}/resync", json={}, headers=headers)
    assert other.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    elsewhere = alice.post(f"{HERE}/retire", json={"prefix": "cvmfs/bin/"}, headers=headers)
    assert elsewhere.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert len(office.wishes.sent) == before + 1


def test_a_request_that_is_at_work_is_not_begun_again(
    alice: TestClient, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "f4a3-2"}
    seen: list[int] = []

    def send_meanwhile(*_: object, **__: object) -> tuple[str, str]:
        if not seen:
            seen.append(alice.post(f"{HERE}/resync", json={}, headers=headers).status_code)
        return "id", "broker"

    monkeypatch.setattr(office.wishes, "send", send_meanwhile)
    assert alice.post(f"{HERE}/resync", json={}, headers=headers).status_code == HTTPStatus.ACCEPTED
    assert seen == [HTTPStatus.CONFLICT]


def test_a_request_that_failed_may_be_tried_again_with_its_key(
    alice: TestClient, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "f4a3-3"}
    with monkeypatch.context() as failing:

        def refuse(*_: object, **__: object) -> tuple[str, str]:
            msg = "no more requests can be kept"
            raise ServiceUnavailable(msg)

        failing.setattr(office.wishes, "send", refuse)
        first = alice.post(f"{HERE}/resync", json={}, headers=headers)
        assert (first.status_code, first.headers["Retry-After"]) == (HTTPStatus.SERVICE_UNAVAILABLE, "5")
    assert alice.post(f"{HERE}/resync", json={}, headers=headers).status_code == HTTPStatus.ACCEPTED


def test_keys_are_forgotten_after_a_day(alice: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Idempotency-Key": "f4a3-4"}
    alice.post(f"{HERE}/resync", json={}, headers=headers)
    monkeypatch.setattr(idempotency, "KEPT", 0.0)
    again = alice.post(f"{HERE}/resync", json={}, headers=headers)
    assert "Idempotency-Replayed" not in again.headers


def test_bodies_say_what_is_wrong_with_them(alice: TestClient) -> None:
    bodies: tuple[Any, ...] = ({"keep": True}, {"keep_content": "yes"}, [])
    for body in bodies:
        response = alice.post(f"{HERE}/retire", json=body)
        assert response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
        assert response.json()["errors"]
    assert alice.post(f"{HERE}/resync", json={"prefix": "bin/"}).json()["type"] == "urn:softman:problem:invalid"


def test_a_group_repository_is_asked_for(people: dict[str, TestClient], office: Office) -> None:
    wanted = {"kind": "group", "group": "physics"}
    assert people["member"].post("/api/v1/repositories", json=wanted).json()["repository"] == "physics.example.org"
    assert office.wishes.sent[-1] == ("softman.provision", ("bob", "sub-bob", "group", "physics"), "bob")
    assert people["stranger"].post("/api/v1/repositories", json=wanted).status_code == HTTPStatus.FORBIDDEN


def test_the_public_key_is_a_file(alice: TestClient) -> None:
    response = alice.get(f"{HERE}/public-key")
    assert response.headers["content-type"] == "application/x-pem-file"
    assert response.headers["content-disposition"] == 'attachment; filename="alice.example.org.pub"'
    assert response.content.startswith(b"-----BEGIN PUBLIC KEY-----")
    assert alice.get(f"{HERE}/public-key?next=true").status_code == HTTPStatus.NOT_FOUND


def test_damaged_storage_is_said_to_be(alice: TestClient, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object, **__: object) -> None:
        msg = "read alice.example.org: a hash is wrong"
        raise Corrupt(msg)

    monkeypatch.setattr(office.browser, "directory", damaged)
    assert alice.get(f"{HERE}/tree").status_code == HTTPStatus.BAD_GATEWAY


def test_administrators_see_the_service(admin: TestClient, office: Office) -> None:
    office.letters.letters[:] = [LETTER]
    assert [each["name"] for each in _all(admin, "/api/v1/admin/repositories?limit=1")] == [
        "alice.example.org",
        "physics.example.org",
    ]
    assert admin.get("/api/v1/admin/overview").json()["repositories"] == 2
    assert admin.get("/api/v1/admin/queues").json()["items"][0]["messages"] == 3
    assert admin.get("/api/v1/admin/workers").json()["items"][0]["processes"] == 2
    assert admin.get("/api/v1/admin/dead-letters").json()["items"][0]["deaths"][0]["reason"] == "why"
    assert admin.post("/api/v1/admin/dead-letters/aaaa/requeue").json()["id"] == LETTER.id
    assert admin.delete("/api/v1/admin/dead-letters/aaaa").status_code == HTTPStatus.NOT_FOUND
    response = admin.put(f"/api/v1/admin/repositories/{PERSONAL}/quotas", json={"max_bytes": 10})
    assert response.status_code == HTTPStatus.ACCEPTED
    assert office.wishes.sent[-1] == ("softman.set_quotas", (str(PERSONAL), {"max_bytes": 10}), "root")


def test_what_is_away_is_named(alice: TestClient, office: Office) -> None:
    office.glances.away = True
    try:
        found = alice.get("/api/v1/repositories").json()
    finally:
        office.glances.away = False
    assert found["missing"] == ["redis"]
    assert found["items"][0]["revision"] == 2
