"""An application with its store in a temporary folder and a provider without a network, and clients that log in."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI, Response
from fastapi.testclient import TestClient

from softman.dashboard.app import create_app
from softman.dashboard.auth.provider import Provider
from softman.dashboard.auth.sessions import Session, Sessions
from softman.identity import Principal
from softman.settings import Settings, load_settings
from tests.support.openid import CLIENT, ISSUER, FakeProvider

ALICE = Principal("subject-of-alice", "alice", name="Alice")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    provider = {
        "issuer": ISSUER,
        "client_id": CLIENT,
        "client_secret": "provider-secret",
        "audiences": ("softman-api",),
    }
    dashboard = {
        "url": "https://softman.example.org",
        "state_dir": tmp_path / "dashboard",
        "provider": provider,
        "logins_per_minute": 30,
        "claims": {"aliases": ("subject-of-dora=dora-the-second",)},
    }
    return load_settings(dashboard=dashboard, state_dir=tmp_path)


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
def app(settings: Settings, provider: FakeProvider) -> FastAPI:
    return create_app(settings, provider=Provider(settings.dashboard.provider, provider.transport))


@pytest.fixture
def client(app: FastAPI, settings: Settings) -> TestClient:
    """Without what runs in the background of a served application: that would look for servers."""
    return TestClient(app, base_url=settings.dashboard.url, follow_redirects=False)


@pytest.fixture
def log_in(app: FastAPI, client: TestClient) -> Callable[[Principal], Session]:
    """Gives the client the session of a person."""

    def begin(who: Principal) -> Session:
        sessions: Sessions = app.state.sessions
        response = Response()
        session = sessions.begin(response, who)
        name, _, value = response.headers["set-cookie"].partition(";")[0].partition("=")
        client.cookies.set(name, value)
        return session

    return begin
