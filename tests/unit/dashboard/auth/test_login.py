"""Login by authorization code with PKCE, state and nonce, and every way in which it must not succeed."""

from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from softman.dashboard.auth.logins import LOGIN_SECONDS
from tests.support.openid import ISSUER, FakeProvider


def _begin(client: TestClient, page: str = "/") -> str:
    """The address at the provider."""
    answer = client.get("/login", params={"next": page})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


def _log_in(client: TestClient, provider: FakeProvider, page: str = "/") -> httpx2.Response:
    return client.get("/login/callback", params=provider.authorize(_begin(client, page)))


def _refusal(answer: httpx2.Response) -> str:
    assert answer.status_code == 403, answer.text
    assert "set-cookie" not in answer.headers
    return str(answer.json()["type"]).rpartition(":")[2]


def test_the_login_asks_for_a_code_with_all_protections(client: TestClient) -> None:
    query = dict(httpx2.URL(_begin(client)).params)
    assert query["response_type"] == "code"
    assert query["code_challenge_method"] == "S256"
    assert query["redirect_uri"] == "https://softman.example.org/login/callback"
    assert min(len(query[name]) for name in ("state", "nonce", "code_challenge")) >= 43


def test_a_person_comes_out_where_they_wanted_to_go(client: TestClient, provider: FakeProvider) -> None:
    answer = _log_in(client, provider, "/repositories/alice.example.org?page=2")
    assert answer.headers["location"] == "/repositories/alice.example.org?page=2"
    assert client.get("/api/v1/me").json()["user"] == "alice"


def test_the_cookie_is_bound_to_this_host_and_hidden_from_scripts(client: TestClient, provider: FakeProvider) -> None:
    cookie = _log_in(client, provider).headers["set-cookie"]
    assert cookie.startswith("__Host-softman-session=")
    assert {"HttpOnly", "Secure", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
    assert "Domain" not in cookie


@pytest.mark.parametrize(
    "page",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "",
        "evil", "/\t/evil.example", "/ok\r\nLocation: https://evil.example", "/%0d/..//\\evil", "http:/evil.example",
    ],
)  # fmt: skip
def test_nobody_is_sent_to_another_site(client: TestClient, provider: FakeProvider, page: str) -> None:
    assert _log_in(client, provider, page).headers["location"] == "/"


def test_claims_of_the_user_info_complete_those_of_the_token(client: TestClient, provider: FakeProvider) -> None:
    provider.info = {"sub": "subject-of-alice", "groups": ["physics"], "preferred_username": "mallory"}
    _log_in(client, provider)
    me = client.get("/api/v1/me").json()
    assert (me["user"], me["groups"]) == ("alice", ["physics"])


def test_user_info_of_somebody_else_counts_for_nothing(client: TestClient, provider: FakeProvider) -> None:
    provider.info = {"sub": "subject-of-root", "groups": ["softman-admins"]}
    _log_in(client, provider)
    assert not client.get("/api/v1/me").json()["admin"]


def test_a_refusing_user_info_endpoint_keeps_nobody_out(client: TestClient, provider: FakeProvider) -> None:
    """Where access tokens are for other resources; the ID token says enough."""
    provider.info = None
    _log_in(client, provider)
    assert client.get("/api/v1/me").json()["user"] == "alice"


def test_a_code_logs_in_once(client: TestClient, provider: FakeProvider) -> None:
    back = provider.authorize(_begin(client))
    client.get("/login/callback", params=back)
    assert _refusal(client.get("/login/callback", params=back)) == "stale-login"


def test_a_login_belongs_to_its_browser(app: FastAPI, client: TestClient, provider: FakeProvider) -> None:
    """Otherwise an attacker could make somebody else's browser log in as the attacker."""
    back = provider.authorize(_begin(client))
    stranger = TestClient(app, base_url="https://softman.example.org", follow_redirects=False)
    assert _refusal(stranger.get("/login/callback", params=back)) == "stale-login"


def test_a_login_takes_ten_minutes_at_most(app: FastAPI, client: TestClient, provider: FakeProvider) -> None:
    back = provider.authorize(_begin(client))
    with app.state.store.connection() as connection:
        connection.execute("UPDATE logins SET begun = begun - ?", (LOGIN_SECONDS,))
    assert _refusal(client.get("/login/callback", params=back)) == "stale-login"


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"nonce": "of another login"}, "another login"),
        ({"nonce": None}, "another login"),
        ({"aud": "another-client"}, "another audience"),
        ({"aud": ["softman", "another-client"]}, "another client"),
        ({"azp": "another-client"}, "another client"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"exp": 1}, "expired"),
    ],
)
def test_a_wrong_id_token_logs_nobody_in(
    client: TestClient, provider: FakeProvider, claims: dict[str, Any], said: str
) -> None:
    provider.claims |= claims
    answer = _log_in(client, provider)
    assert _refusal(answer) == "login-refused"
    assert said in answer.json()["detail"]
    assert client.get("/api/v1/me").status_code == 401


def test_a_code_without_its_verifier_logs_nobody_in(client: TestClient, provider: FakeProvider) -> None:
    """PKCE: the code of somebody else's login is worth nothing here."""
    stolen = provider.authorize(_begin(client))["code"]
    own = provider.authorize(_begin(client))
    answer = client.get("/login/callback", params={**own, "code": stolen})
    assert _refusal(answer) == "login-refused"
    assert "invalid_grant" in answer.json()["detail"]


def test_another_issuers_answer_is_refused(client: TestClient, provider: FakeProvider) -> None:
    back = provider.authorize(_begin(client)) | {"iss": "https://evil.example"}
    assert _refusal(client.get("/login/callback", params=back)) == "login-refused"


def test_what_the_provider_says_is_said(client: TestClient, provider: FakeProvider) -> None:
    state = provider.authorize(_begin(client))["state"]
    answer = client.get("/login/callback", params={"state": state, "error": "access_denied"})
    assert answer.json()["detail"] == "the identity provider did not log you in: access_denied"


def test_an_unusable_name_is_explained_and_an_alias_helps(client: TestClient, provider: FakeProvider) -> None:
    provider.claims = {"sub": "subject-of-dorothea", "preferred_username": "Dora_X"}
    answer = _log_in(client, provider)
    assert _refusal(answer) == "unusable-name"
    assert "only lower-case letters" in answer.json()["detail"]
    assert "'subject-of-dorothea'" in answer.json()["detail"]
    provider.claims["sub"] = "subject-of-dora"  # who has an alias in the settings
    _log_in(client, provider)
    assert client.get("/api/v1/me").json()["user"] == "dora-the-second"


@pytest.mark.parametrize("subject", ["groups", "softman", "a/b", "../x", "", "x" * 129, "a\nb"])
def test_a_subject_that_cannot_be_a_path_is_refused(client: TestClient, provider: FakeProvider, subject: str) -> None:
    provider.claims["sub"] = subject
    assert _refusal(_log_in(client, provider)) in {"unusable-name", "login-refused"}


def test_a_new_login_gets_a_new_session_and_ends_the_former(client: TestClient, provider: FakeProvider) -> None:
    _log_in(client, provider)
    first = client.cookies["__Host-softman-session"]
    _log_in(client, provider)
    assert client.cookies["__Host-softman-session"] != first
    client.cookies.clear()
    client.cookies.set("__Host-softman-session", first)
    assert client.get("/api/v1/me").status_code == 401


def test_logout_ends_the_session_here_and_at_the_provider(
    client: TestClient, provider: FakeProvider, app: FastAPI
) -> None:
    _log_in(client, provider)
    kept = client.cookies["__Host-softman-session"]
    session = app.state.sessions.find(kept)
    out = client.post("/logout", headers={"X-CSRF-Token": session.csrf_token})
    query = dict(httpx2.URL(out.headers["location"]).params)
    assert out.headers["location"].startswith(f"{ISSUER}/logout?")
    assert (query["id_token_hint"], query["client_id"]) == (session.id_token, "softman")
    client.cookies.set("__Host-softman-session", kept)
    assert client.get("/api/v1/me").status_code == 401


def test_logout_works_while_the_provider_is_away(client: TestClient, provider: FakeProvider, app: FastAPI) -> None:
    _log_in(client, provider)
    session = app.state.sessions.find(client.cookies["__Host-softman-session"])
    app.state.door.provider._metadata._seconds = 0
    provider.away = True
    assert client.post("/logout", headers={"X-CSRF-Token": session.csrf_token}).status_code == 303
    assert client.get("/api/v1/me").status_code == 401


def test_the_login_says_that_the_provider_is_away(client: TestClient, provider: FakeProvider) -> None:
    provider.away = True
    answer = client.get("/login")
    assert answer.status_code == 503
    assert answer.json()["detail"].startswith("the identity provider does not answer")
    assert answer.headers["retry-after"]


def test_logins_of_one_address_are_counted(client: TestClient) -> None:
    answers = [client.get("/login").status_code for _ in range(31)]
    assert answers == [303] * 30 + [429]
