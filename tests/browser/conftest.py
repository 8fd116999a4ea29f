"""Debian's chromium, and people who look at the dashboard with it. What a page should not do fails its test."""

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.served import Served, served

CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")

expect.set_options(timeout=60_000)  # milliseconds: machines are busy
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser(browser_package: None) -> Iterator[Browser]:  # noqa: ARG001 - the package comes first
    """One browser for a module; not for the session, for its event loop is in the way of others."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def site_in_memory() -> Iterator[Served]:
    """The dashboard of a life-like site."""
    with served() as running:
        yield running


@pytest.fixture
def watched(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Contexts of a browser; at the end of the test none has complained, or asked another host for anything."""
    found: list[str] = []
    contexts: list[BrowserContext] = []

    def new(allowed: tuple[str, ...], **options: Any) -> BrowserContext:
        context = browser.new_context(**options)
        context.set_default_timeout(60_000)
        hosts = {urlsplit(each).netloc for each in allowed}

        def on_request(request: Any) -> None:
            parts = urlsplit(request.url)
            if parts.scheme in {"http", "https"} and parts.netloc not in hosts:
                found.append(f"asks {request.url}")

        context.on("request", on_request)
        context.on("console", lambda said: found.append(said.text) if said.type in {"error", "warning"} else None)
        context.on("weberror", lambda error: found.append(str(error.error)))
        contexts.append(context)
        return context

    yield new
    for context in contexts:
        context.close()
    assert found == []
