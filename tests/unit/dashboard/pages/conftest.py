"""The application with a life-like site behind it."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from softman.dashboard.app import create_app
from softman.dashboard.auth.sessions import Session
from softman.identity import Principal
from softman.settings import Settings
from tests.support.showcase import Showcase, ShowcaseDesk, life_like

LogIn = Callable[[Principal], Session]


@pytest.fixture
def showcase() -> Showcase:
    return life_like()


@pytest.fixture
def app(settings: Settings, showcase: Showcase) -> FastAPI:
    return create_app(settings.model_copy(update={"domain": "software.example.org"}), ShowcaseDesk(showcase))


@pytest.fixture
def visit(client: TestClient, log_in: LogIn) -> Callable[..., str]:
    """Opens a page as somebody and gives its text; fails when there is none."""

    def open_page(who: Principal, address: str) -> str:
        log_in(who)
        answer = client.get(address, headers={"Accept": "text/html"})
        assert answer.status_code == 200, (address, answer.status_code, answer.headers.get("location"))
        return answer.text

    return open_page


@pytest.fixture
def press(client: TestClient, log_in: LogIn) -> Callable[..., str]:
    """Sends a form as somebody, and gives the address that the answer leads to."""

    def send(who: Principal, address: str, **fields: str) -> str:
        session = log_in(who)
        answer = client.post(
            address, data={"csrf_token": session.csrf_token, **fields}, headers={"Accept": "text/html"}
        )
        assert answer.status_code == 303, (address, answer.status_code, answer.text)
        return answer.headers["location"]

    return send
