"""Every page in a browser: accessible in light and dark, no wider than a phone, by keyboard, without scripts."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # it has no types
from playwright.sync_api import BrowserContext, Page, ViewportSize, expect

from softman.identity import Principal
from softman.model import LinkState
from softman.names import RepositoryName
from tests.support.served import Served
from tests.support.showcase import ADMIN, ALICE, BOB, DOMAIN, chain

HOME = f"/repositories/alice.{DOMAIN}"
NEWCOMER = Principal("subject-of-mia", "mia", name="Mia Sato")
WIDE: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 375, "height": 812}
PAGES = {
    "welcome": (NEWCOMER, "/"),
    "home": (BOB, "/"),
    "making": (BOB, f"/repositories/genomics.{DOMAIN}/being-made"),
    "overview": (ALICE, HOME),
    "failing": (BOB, f"/repositories/bob.{DOMAIN}"),
    "activity": (ALICE, f"/repositories/physics.{DOMAIN}/activity"),
    "odd-files": (ALICE, f"{HOME}/files/odd"),
    "file": (ALICE, f"{HOME}/files/bin/fit-model"),
    "problems": (ALICE, f"{HOME}/problems"),
    "history": (ALICE, f"{HOME}/history"),
    "changes": (ALICE, f"{HOME}/history/changes?old=213&new=214"),
    "roll-back": (ALICE, f"{HOME}/history/210/roll-back"),
    "settings": (ALICE, f"{HOME}/settings"),
    "retire": (ALICE, f"{HOME}/retire"),
    "retired": (ADMIN, f"/repositories/dave.{DOMAIN}"),
    "upload": (ALICE, f"{HOME}/upload"),
    "admin": (ADMIN, "/admin"),
    "workers": (ADMIN, "/admin/workers"),
    "dead-letters": (ADMIN, "/admin/dead-letters"),
    "limits": (ADMIN, f"/admin/repositories/alice.{DOMAIN}"),
}

New = Callable[..., BrowserContext]


@contextmanager
def looking(watched: New, site: Served, who: Principal, address: str, **options: object) -> Iterator[Page]:
    """Somebody's browser at a page."""
    context = watched((site.url,), viewport=WIDE, **options)
    site.sign_in(context, who)
    page = context.new_page()
    page.goto(site.url + address)
    yield page


def _violations(page: Page, *rules: str) -> list[str]:
    options = {"runOnly": list(rules)} if rules else {}
    found = Axe().run(page, options=options).response["violations"]
    return [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody(watched: New, site_in_memory: Served, name: str) -> None:
    with looking(watched, site_in_memory, *PAGES[name], reduced_motion="reduce") as page:
        assert _violations(page) == []
        page.emulate_media(color_scheme="dark")
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        assert _violations(page, "color-contrast") == []
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_one_click_and_the_page_goes_on_by_itself(watched: New, site_in_memory: Served) -> None:
    """By keyboard alone: from the address line to a repository that is ready."""
    who = Principal("subject-of-kim", "kim", name="Kim")
    name = RepositoryName("kim", DOMAIN)
    with looking(watched, site_in_memory, who, "/") as page:
        for _ in range(12):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent.trim()") == "Request personal repository":
                break
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(r"/being-made$"))
        expect(page.get_by_text("Your repository is on its way")).to_be_visible()
        shown = site_in_memory.showcase.shown[name]
        for done in (2, 4):
            shown.repository = replace(shown.repository, links=chain(done, LinkState.RUNNING))
            expect(page.get_by_text(f"{done} of 5 steps", exact=True)).to_be_visible()
        ready = site_in_memory.showcase.shown[RepositoryName("alice", DOMAIN)].repository
        shown.repository = replace(ready, name=name, owner=shown.repository.owner, last=None, refusals=0)
        expect(page).to_have_url(f"{site_in_memory.url}/repositories/{name}")
        expect(page.get_by_text("Ready", exact=True)).to_be_visible()


def test_retiring_asks_for_the_name_in_a_dialog(watched: New, site_in_memory: Served) -> None:
    name = f"physics.{DOMAIN}"
    with looking(watched, site_in_memory, ALICE, f"/repositories/{name}/settings") as page:
        page.get_by_role("button", name="Retire", exact=True).click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        button = dialog.get_by_role("button", name="Retire this repository")
        expect(button).to_be_disabled()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()
        page.get_by_role("button", name="Retire", exact=True).click()
        dialog.get_by_label(re.compile("to confirm")).fill(name)
        assert _violations(page) == []
        button.click()
        expect(page.get_by_role("heading", name="This repository is retired")).to_be_visible()
        page.get_by_role("button", name="Restore it").click()
        expect(page.get_by_role("navigation", name="This repository")).to_be_visible()


def test_the_theme_is_remembered(watched: New, site_in_memory: Served) -> None:
    with looking(watched, site_in_memory, ALICE, "/", color_scheme="light") as page:
        page.get_by_role("button", name="Switch to dark colours").click()
        page.goto(site_in_memory.url + HOME)
        assert page.locator("html").get_attribute("data-theme") == "dark"


def test_pages_read_and_forms_work_without_scripts(watched: New, site_in_memory: Served) -> None:
    with looking(watched, site_in_memory, ALICE, HOME, java_script_enabled=False) as page:
        page.get_by_role("link", name="Files", exact=True).click()
        page.get_by_role("link", name="odd", exact=True).click()
        expect(page.get_by_text("<script>alert('name')<script>", exact=True)).to_be_visible()
        page.get_by_role("link", name="Settings", exact=True).click()
        page.get_by_role("button", name="Retire", exact=True).click()
        page.get_by_label(re.compile("to confirm")).fill("something else")
        page.get_by_role("button", name="Retire this repository").click()
        expect(page.get_by_text("That is not the name of this repository.")).to_be_visible()


def test_a_page_without_its_stream_asks_by_itself(watched: New, site_in_memory: Served) -> None:
    shown = site_in_memory.showcase.shown[RepositoryName("bob", DOMAIN)]
    context = watched((site_in_memory.url,), viewport=WIDE)
    site_in_memory.sign_in(context, BOB)
    context.route("**/live/**", lambda route: route.fulfill(status=204))
    page = context.new_page()
    page.goto(site_in_memory.url + "/")
    expect(page.get_by_text("Updates every few seconds")).to_be_visible()
    shown.repository = replace(shown.repository, revision=777)
    expect(page.get_by_text("Version 777")).to_be_visible()
