"""The application as a whole: it answers, and everything it answers is protected."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from softman.dashboard.auth.sessions import Session
from softman.identity import Principal
from tests.unit.dashboard.conftest import ALICE

LogIn = Callable[[Principal], Session]


def test_it_says_that_it_lives(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


def test_the_api_wants_to_know_who_asks(client: TestClient) -> None:
    answer = client.get("/api/v1/me")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="softman"'
    assert answer.json()["type"] == "urn:softman:problem:unauthenticated"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_a_session_says_who_asks(client: TestClient, log_in: LogIn) -> None:
    log_in(ALICE)
    assert client.get("/api/v1/me").json()["user"] == "alice"


def test_home_leads_to_the_login(client: TestClient) -> None:
    answer = client.get("/", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=/"
