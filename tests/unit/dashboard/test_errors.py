"""Errors as pages, and what every page has."""

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from softman.dashboard.auth.sessions import Session
from softman.dashboard.rendering import STATIC, asset
from softman.errors import Forbidden, NotFound, ServiceUnavailable, SoftmanError
from softman.identity import Principal

LogIn = Callable[[Principal], Session]
HTML = {"Accept": "text/html"}


@pytest.fixture
def failing(app: FastAPI) -> Callable[[Exception], str]:
    """Lets a page of the application fail; its address."""

    def fail(error: Exception) -> str:
        def page() -> None:
            raise error

        app.add_api_route("/fails", page)
        app.router.routes.insert(0, app.router.routes.pop())
        return "/fails"

    return fail


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (NotFound("there is no x"), 404, "There is no such page"),
        (Forbidden("this is for <b>its</b> owner"), 403, "this is for &lt;b&gt;its&lt;/b&gt; owner"),
        (ServiceUnavailable("the vault does not answer"), 503, "the vault does not answer"),
    ],
)
def test_a_problem_is_a_page_for_a_browser(
    client: TestClient, failing: Callable[[Exception], str], error: SoftmanError, status: int, words: str
) -> None:
    answer = client.get(failing(error), headers=HTML)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert words in answer.text


def test_a_fault_says_its_number_and_nothing_else(client: TestClient, failing: Callable[[Exception], str]) -> None:
    answer = client.get(failing(RuntimeError("a detail of the inside")), headers=HTML)
    assert answer.status_code == 500
    assert answer.headers["x-request-id"] in answer.text
    assert "inside" not in answer.text


def test_an_address_that_is_none_looks_the_same(client: TestClient) -> None:
    answer = client.get("/nowhere/at/all", headers=HTML)
    assert answer.status_code == 404
    assert "There is no such page" in answer.text


@pytest.mark.parametrize(("cookie", "shown"), [("dark", True), ("light", True), ("<script>", False), ("", False)])
def test_the_theme_is_what_the_person_chose(client: TestClient, cookie: str, shown: bool) -> None:
    answer = client.get("/nowhere", headers={**HTML, "Cookie": f"theme={cookie}"})
    assert (f'data-theme="{cookie}"' in answer.text) is shown
    assert "<script>" not in answer.text.replace("<script type=", "")


def test_static_files_with_a_version_are_kept(client: TestClient) -> None:
    answer = client.get(asset("app.css"))
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert client.get("/static/js/copy.js").headers["cache-control"] == "no-cache"
    assert client.get("/static/../rendering.py").status_code == 404
    assert client.get("/static/%00").status_code == 404


def test_every_script_that_is_imported_is_there() -> None:
    scripts = STATIC / "js"
    wanted = {
        line.split('"')[1]
        for script in scripts.glob("*.js")
        for line in script.read_text().splitlines()
        if line.startswith("import ")
    }
    assert wanted
    assert all((scripts / name).is_file() for name in wanted)
