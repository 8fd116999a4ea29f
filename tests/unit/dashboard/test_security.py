"""What protects every request: headers, forged requests, sizes, hosts, ids, and log lines that nobody can forge."""

from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from softman.dashboard.app import create_app
from softman.dashboard.auth.sessions import Session
from softman.identity import Principal
from softman.settings import Settings, load_settings
from tests.unit.dashboard.conftest import ALICE

LogIn = Callable[[Principal], Session]
ORIGIN = "https://softman.example.org"


@pytest.fixture(autouse=True)
def changes(app: FastAPI) -> None:
    """Something that can be changed, and something that reads its body."""

    async def change() -> dict[str, str]:
        return {"changed": "yes"}

    async def read(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    app.add_api_route("/change", change, methods=["POST", "PUT", "DELETE"])
    app.add_api_route("/read", read, methods=["POST"])


@pytest.mark.parametrize("path", ["/healthz", "/api/v1/me", "/login", "/no-such-page", "/static/app.css"])
def test_every_answer_is_protected(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["content-security-policy"].split("; ")
    assert {"default-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'"} <= set(policy)
    assert not any("unsafe" in rule or "*" in rule for rule in policy)
    assert headers["strict-transport-security"].startswith("max-age=31536000")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in headers["permissions-policy"]
    assert "server" not in headers


def test_answers_are_not_kept_unless_they_say_so(client: TestClient) -> None:
    assert client.get("/healthz").headers["cache-control"] == "no-store"
    assert client.get("/static/app.css", params={"v": "1"}).headers["cache-control"].startswith("public")


def test_only_tls_promises_tls(settings: Settings) -> None:
    own = settings.dashboard.model_dump() | {"url": "http://127.0.0.1:8080"}
    client = TestClient(create_app(load_settings(dashboard=own)), base_url="http://127.0.0.1:8080")
    assert "strict-transport-security" not in client.get("/healthz").headers


def test_a_change_needs_the_sessions_token(client: TestClient, log_in: LogIn) -> None:
    session = log_in(ALICE)
    for method in ("POST", "PUT", "DELETE"):
        assert client.request(method, "/change").status_code == 403
        assert client.request(method, "/change", headers={"X-CSRF-Token": session.csrf_token}).status_code == 200
    assert client.post("/change", data={"csrf_token": session.csrf_token}).status_code == 200
    assert client.post("/change", files={"csrf_token": (None, session.csrf_token)}).status_code == 200


@pytest.mark.parametrize("token", ["", "x", "\u00e9"])
def test_another_token_is_none(client: TestClient, log_in: LogIn, token: str) -> None:
    log_in(ALICE)
    answer = client.post("/change", data={"csrf_token": token})
    assert answer.status_code == 403
    assert answer.json()["type"] == "urn:softman:problem:csrf"


def test_the_token_of_another_session_is_none(client: TestClient, log_in: LogIn) -> None:
    former = log_in(ALICE)
    log_in(ALICE)
    assert client.post("/change", headers={"X-CSRF-Token": former.csrf_token}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"{ORIGIN}:8443"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_another_sites_requests_are_refused_with_any_token(
    client: TestClient, log_in: LogIn, headers: dict[str, str]
) -> None:
    token = {"X-CSRF-Token": log_in(ALICE).csrf_token}
    assert client.post("/change", headers=token | headers).status_code == 403
    assert (
        client.post("/change", headers=token | {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}).status_code == 200
    )


def test_a_cookie_beside_a_token_counts_for_nothing(client: TestClient, log_in: LogIn) -> None:
    """A forged request cannot get around the CSRF token with an ``Authorization`` header of its own."""
    log_in(ALICE)
    assert client.get("/api/v1/me", headers={"Authorization": "Bearer x"}).status_code == 401


def test_long_bodies_are_refused_as_they_come(client: TestClient, settings: Settings) -> None:
    most = settings.dashboard.longest_body
    assert client.post("/read", content=b"x" * most).json() == {"bytes": most}
    announced = client.post("/read", content=b"x" * (most + 1))
    assert announced.status_code == 413
    assert announced.json()["type"] == "urn:softman:problem:too-large"

    def parts() -> Iterator[bytes]:  # without a length
        for _ in range(most // 1024 + 1):
            yield b"x" * 1024

    assert client.post("/read", content=parts()).status_code == 413


def test_a_long_form_is_refused_too(client: TestClient, log_in: LogIn, settings: Settings) -> None:
    log_in(ALICE)

    def form() -> Iterator[bytes]:
        yield b"csrf_token="
        for _ in range(settings.dashboard.longest_body // 1024 + 1):
            yield b"x" * 1024

    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/change", content=form(), headers=kind).status_code == 413


def test_other_hosts_are_not_served(client: TestClient) -> None:
    assert client.get("/healthz", headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/healthz", headers={"Host": "softman.example.org:443"}).status_code == 200


def test_a_request_keeps_a_good_id_and_gets_another_for_a_bad_one(client: TestClient) -> None:
    assert (
        client.get("/healthz", headers={"X-Request-ID": "from-a-proxy-1"}).headers["x-request-id"] == "from-a-proxy-1"
    )
    for bad in ("short", "with space in it", "x" * 65, "x\x1b[31m-escape"):
        assert client.get("/healthz", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad


def test_codes_of_logins_are_not_logged(client: TestClient, capsys: pytest.CaptureFixture[str]) -> None:
    client.get("/login/callback", params={"code": "the-code", "state": "the-state"})
    logged = "".join(capsys.readouterr())
    assert "path=/login/callback" in logged
    assert "the-code" not in logged
    assert "the-state" not in logged


def test_a_fault_shows_its_id_and_nothing_else(app: FastAPI, client: TestClient) -> None:
    def broken() -> None:
        msg = "a secret of the inside"
        raise RuntimeError(msg)

    app.add_api_route("/api/v1/broken", broken)
    answer = TestClient(app, base_url=ORIGIN, raise_server_exceptions=False).get("/api/v1/broken")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:softman:problem:fault")
    assert "secret" not in answer.text
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/healthz").status_code == 200
