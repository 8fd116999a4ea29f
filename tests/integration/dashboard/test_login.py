"""The whole login: the served dashboard, a browser's requests, and the development identity provider."""

import httpx2

from tests.support.browsing import Browser


def test_a_manager_logs_in_and_out(browser: Browser) -> None:
    landed = browser.log_in("carol", "/api/v1/me")
    assert landed.headers["location"] == "/api/v1/me"
    me = browser.http.get("/api/v1/me").json()
    assert (me["user"], me["groups"], me["managed"], me["admin"]) == ("carol", ["physics"], ["physics"], False)
    out = browser.http.post("/logout", data={"csrf_token": browser.csrf_token})
    assert out.headers["location"].startswith(browser.dashboard.issuer), out.text
    assert "id_token_hint=" in out.headers["location"]
    assert browser.http.get("/api/v1/me").status_code == 401


def test_the_id_token_of_the_development_provider_is_an_api_token(browser: Browser) -> None:
    """It has no other signed tokens; a real site names the audience of its access tokens."""
    form = browser.http.get("/login")
    back = browser.http.post(form.headers["location"], data={"sub": "admin"}).headers["location"]
    code = httpx2.URL(back).params["code"]
    tokens = browser.http.post(
        f"{browser.dashboard.issuer}/oauth2/token",
        data={
            "grant_type": "authorization_code",
            "code": code,
            "client_id": "softman",
            "client_secret": "any",
            "redirect_uri": f"{browser.dashboard.url}/login/callback",
        },
    ).json()
    answer = httpx2.get(
        f"{browser.dashboard.url}/api/v1/me", headers={"Authorization": f"Bearer {tokens['id_token']}"}, trust_env=False
    )
    assert answer.json()["user"] == "admin"
    assert answer.json()["admin"]
