"""Uploads through the served dashboard: what a browser asks and puts, on the real object store, until published."""

import io
import tarfile
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import httpx2
import pytest

from softman.names import RepositoryName
from softman.standalone.process import wait_until
from tests.support.browsing import Browser
from tests.support.site import Site

MTIME = 1_700_000_000.5


class Uploader:
    """Somebody with the page open."""

    def __init__(self, browser: Browser, user: str, name: RepositoryName) -> None:
        browser.log_in(user)
        self.http = browser.http
        self.home = f"/repositories/{name}"
        self.token = browser.csrf_token

    def ask(self, what: str, body: dict[str, Any], status: int = 200) -> Any:
        answers: list[httpx2.Response] = []

        def answered() -> bool:
            """The object store crashes now and then; the page asks again, too."""
            headers = {"X-CSRF-Token": self.token}
            answers.append(self.http.post(f"{self.home}/upload/{what}", json=body, headers=headers))
            return answers[-1].status_code != HTTPStatus.SERVICE_UNAVAILABLE

        wait_until(answered, f"{what} is answered", seconds=120)
        assert answers[-1].status_code == status, answers[-1].text
        return answers[-1].json() if answers[-1].content else None

    def put(self, request: dict[str, Any], body: bytes) -> httpx2.Response:
        answers: list[httpx2.Response] = []

        def answered() -> bool:
            with suppress(httpx2.TransportError):
                answers.append(
                    httpx2.put(request["url"], content=body, headers=request["headers"], trust_env=False, timeout=60)
                )
            return bool(answers) and answers[-1].status_code < HTTPStatus.INTERNAL_SERVER_ERROR

        wait_until(answered, "the object store answers", seconds=120)
        return answers[-1]


@pytest.fixture
def uploader(browser: Browser, site: Site) -> Uploader:
    return Uploader(browser, "carol", site.provision("carol"))


def test_a_small_and_a_large_file_until_they_are_published(site: Site, uploader: Uploader) -> None:
    name = RepositoryName("carol", site.settings.domain)
    small = {"path": "bin/small", "size": 5, "mtime": MTIME}
    large = {"path": "data/large", "size": 16 * 1024**2 + 3, "mtime": MTIME}
    content = b"x" * (16 * 1024**2) + b"end"
    plan = uploader.ask("plan", {"files": [small, large, {"path": "a//b", "size": 1}]})
    assert [each["reason"] is None for each in plan["files"]] == [True, True, False]
    assert [each["part"] for each in plan["files"][:2]] == [0, 16 * 1024**2]
    (request, refused) = uploader.ask("sign", {"files": [small, {"path": "a//b", "size": 1}]})["requests"]
    assert refused["reason"]
    put = uploader.put(request, b"small")
    assert put.status_code == 200
    upload = uploader.ask("begin", {"file": large})["upload"]
    of = {"file": large, "upload": upload}
    parts = uploader.ask("parts/sign", {**of, "numbers": [1, 2]})["requests"]
    assert uploader.put(parts["2"], b"end").status_code == 200
    assert uploader.ask("parts", of) == {"numbers": [2]}
    uploader.ask("complete", of, status=409)
    assert uploader.put(parts["1"], content[:-3]).status_code == 200
    etags = {"bin/small": put.headers["etag"].strip('"'), "data/large": uploader.ask("complete", of)["etag"]}
    site.wait(
        lambda: uploader.ask("followed", {"etags": etags})["published"] == ["bin/small", "data/large"],
        "both are published",
    )
    assert site.shown(name)["/data/large"] == content
    with site.reader(name).snapshot() as snapshot:
        assert snapshot.lookup("/bin/small").mtime == int(MTIME)
    assert uploader.ask("plan", {"files": [small]})["files"][0]["replaces"] == 5
    begun = {"file": large, "upload": uploader.ask("begin", {"file": large})["upload"]}
    uploader.ask("abort", begun, status=204)
    uploader.ask("parts", begun, status=404)


def test_nobody_else_uploads_or_downloads(browser: Browser, site: Site, uploader: Uploader) -> None:
    bundle = uploader.http.get(f"{uploader.home}/use/carol.{site.settings.domain}-cvmfs.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(bundle.content)) as archive:
        assert "README.txt" in archive.getnames()
    stranger = Uploader(browser, "bob", RepositoryName("carol", site.settings.domain))
    stranger.ask("plan", {"files": []}, status=404)
    stranger.ask("sign", {"files": [{"path": "a", "size": 1}]}, status=404)
    assert stranger.http.get(bundle.url).status_code == 404
