"""The REST API on a real site, with the rights of the role ``dashboard`` at every service."""

import json
from typing import Any

import pytest

from softman import wiring
from softman.dashboard.desk_building import build_desk
from softman.dashboard.desk_views import Condition, Part
from softman.dashboard.outbox import Outbox
from softman.dashboard.store import DashboardStore
from softman.identity import Principal
from softman.names import Kind, RepositoryName
from softman.standalone.roles import settings as settings_of
from softman.tasks.client import bury, client_app
from tests.support.browsing import Browser
from tests.support.site import Site


def _get(browser: Browser, path: str) -> Any:
    response = browser.http.get(f"/api/v1{path}")
    assert response.status_code == 200, response.text
    return response.json()


def _change(browser: Browser, method: str, path: str, body: object = None) -> Any:
    response = browser.http.request(method, f"/api/v1{path}", json=body, headers={"X-CSRF-Token": browser.csrf_token})
    assert response.status_code in {200, 202}, response.text
    return response.json()


def test_a_repository_from_request_to_roll_back(site: Site, browser: Browser, unique: str) -> None:
    browser.log_in("bob")
    site.stack.create_s3_user("bob")
    name = _change(browser, "POST", "/repositories", {"kind": "personal"})["repository"]
    here = f"/repositories/{name}"

    def condition() -> str:
        response = browser.http.get(f"/api/v1{here}")
        return str(response.json().get("condition"))

    site.wait(lambda: condition() == Condition.READY, f"{name} is ready")
    bucket = site.bucket("bob")

    def shown() -> set[str]:
        return {each["name"] for each in _get(browser, f"{here}/tree?limit=100")["items"]}

    bucket.put(f"{unique}/tool", b"#!/bin/sh\n")
    site.wait(lambda: unique in shown(), "it is shown")
    before = _get(browser, here)["usage"]["bytes"]
    first = _get(browser, f"{here}/tree")["revision"]
    later = f"{unique}-later"
    bucket.put(later, b"later")
    site.wait(lambda: _get(browser, f"{here}/tree")["revision"] > first, "the next revision is shown")
    newest = _get(browser, f"{here}/revisions?limit=1")["items"][0]
    assert newest["current"]
    changes = _get(browser, f"{here}/diff?old={first}&new={newest['revision']}")["items"]
    assert [(each["change"], each["path"]) for each in changes] == [("added", f"/{later}")]
    assert _get(browser, here)["usage"]["bytes"] == before + 5
    assert _get(browser, here)["missing"] == []
    _change(browser, "POST", f"{here}/rollback", {"revision": first})
    site.wait(lambda: later not in shown(), "rolled back")
    assert unique in shown()
    site.wait(lambda: condition() == Condition.PAUSED, "it is paused")
    _change(browser, "POST", f"{here}/resume")
    site.wait(lambda: {unique, later} <= shown(), "the bucket is shown again")


def test_an_administrator_sees_workers_and_puts_dead_letters_back(site: Site, browser: Browser) -> None:
    browser.log_in("admin")
    assert {each["name"].partition("@")[0] for each in _get(browser, "/admin/workers")["items"]} >= {"stratum0"}
    queues = {each["name"]: each for each in _get(browser, "/admin/queues")["items"]}
    assert queues["stratum0"]["consumers"] > 0
    body = json.dumps([["nobody.example.org"], {}, {}])
    headers = {"task": "softman.publish_changes", "id": "dead-of-the-api", "lang": "py"}
    properties = {"content_type": "application/json", "content_encoding": "utf-8", "headers": headers}
    bury(client_app(site.settings), body, reason="tried out", routing_key="publisher", properties=properties)

    def letters() -> list[Any]:
        return [each for each in _get(browser, "/admin/dead-letters")["items"] if each["task_id"] == "dead-of-the-api"]

    site.wait(lambda: len(letters()) == 1, "the letter is there")
    assert letters()[0]["deaths"][0]["reason"] == "tried out"
    _change(browser, "DELETE", f"/admin/dead-letters/{letters()[0]['id']}")
    assert letters() == []
    parts = {each["part"]: each for each in _get(browser, "/health")["items"]}
    assert {part for part, said in parts.items() if said["answers"]} == set(parts), parts


def test_without_the_user_for_operations_the_rest_works(site: Site, tmp_path: Any) -> None:
    settings = settings_of(site.stack, "dashboard")
    own = settings.dashboard.model_copy(update={"operations_url": settings.broker_url.__class__("")})
    desk = build_desk(settings.model_copy(update={"dashboard": own}), Outbox(DashboardStore(tmp_path)))
    admin = Principal("admin", "admin", admin=True)
    assert desk.workers(admin).missing == (Part.BROKER,)
    assert desk.queues(admin).missing == ()
    assert wiring.registry(settings).names() is not None
    assert desk.request(Principal("s", "trying"), Kind.PERSONAL).repository == RepositoryName("trying", settings.domain)
    desk.close()


@pytest.fixture(autouse=True)
def _clean(site: Site) -> Any:
    yield
    site.dead_letters()
