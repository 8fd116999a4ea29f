"""Uploading with a real browser, from the drop to the tick: files, folders, a reload in between, the keyboard alone."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from softman.names import RepositoryName
from tests.support.browsing import Browser
from tests.support.site import Site

New = Callable[..., BrowserContext]
LONG = 120_000
USER = "bob"
_DROP = """([zone, files]) => {
    const given = new DataTransfer();
    for (const [name, content] of files) given.items.add(new File([content], name));
    for (const type of ["dragenter", "dragover", "drop"]) {
        zone.dispatchEvent(new DragEvent(type, { dataTransfer: given, bubbles: true, cancelable: true }));
    }
}"""


@pytest.fixture(scope="module")
def name(site: Site) -> RepositoryName:
    """Somebody's repository, asked for once: while it is made anew, pages show that and nothing else."""
    return site.provision(USER)


@pytest.fixture
def page(watched: New, site: Site, name: RepositoryName) -> Page:
    """The tab of it."""
    dashboard = site.stack.dashboard
    assert dashboard is not None
    context = watched((dashboard.url, site.stack.s3_endpoint))
    with Browser(dashboard) as login:  # the page of the development provider asks another host for its style
        login.log_in(USER)
        cookies = [(str(cookie.name), str(cookie.value)) for cookie in login.http.cookies.jar]
    context.add_cookies([{"name": key, "value": value, "url": dashboard.url} for key, value in cookies])
    page = context.new_page()
    page.goto(f"{dashboard.url}/repositories/{name}/upload")
    opened(page)
    return page


def opened(page: Page) -> None:
    expect(page.locator("#uploader[data-ready]")).to_be_visible(timeout=LONG)


def drop(page: Page, *files: tuple[str, str]) -> None:
    zone = page.locator('[data-part="drop"]').element_handle()
    page.evaluate(_DROP, [zone, [list(file) for file in files]])


def published(page: Page) -> None:
    expect(page.locator('#uploader[data-state="published"]')).to_be_visible(timeout=LONG)


def test_what_is_dropped_is_published(page: Page, site: Site) -> None:
    page.get_by_label("Into the folder").fill("from/drop")
    drop(page, ("one.txt", "first"), ("two.txt", "second"))
    published(page)
    shown = site.shown(RepositoryName(USER, site.settings.domain))
    assert {path: shown[path] for path in ("/from/drop/one.txt", "/from/drop/two.txt")} == {
        "/from/drop/one.txt": b"first",
        "/from/drop/two.txt": b"second",
    }
    drop(page, ("one.txt", "changed"), ("tab\there", "x"))
    expect(page.get_by_text("1 file cannot be published and will be left out")).to_be_visible()
    expect(page.get_by_text("names with control characters cannot be published")).to_be_visible()
    expect(page.get_by_text("1 file will be replaced")).to_be_visible()
    expect(page.get_by_role("heading", name="Before you upload")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=re.compile("^Upload 1 file"))).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator('[data-part="list"] li')).to_have_count(3)
    published(page)


def test_a_folder_is_chosen_with_the_keyboard_on_a_phone(page: Page, tmp_path: Path) -> None:
    page.set_viewport_size({"width": 375, "height": 740})
    (tmp_path / "tree" / "inner").mkdir(parents=True)
    (tmp_path / "tree" / "inner" / "file").write_bytes(b"content")
    page.get_by_role("button", name="Choose a folder").focus()
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "tree")
    expect(page.get_by_text("tree/inner/file")).to_be_visible()
    published(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 375


def test_an_interrupted_upload_goes_on_after_a_reload(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(b"x" * (33 * 1024**2))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "PUT" else None)
    page.route(re.compile(r"partNumber=[23]"), lambda _route: None)  # never answered
    page.locator('[data-part="files"]').set_input_files(large)
    with page.expect_response(re.compile(r"partNumber=1")):
        pass
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    opened(page)
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_text("An earlier upload was interrupted")).to_be_visible()
    expect(page.get_by_text("large.bin")).to_be_visible()
    asked.clear()
    page.locator('[data-part="files"]').set_input_files(large)
    published(page)
    assert sorted(found[0] for url in asked if (found := re.findall(r"partNumber=\d", url))) == [
        "partNumber=2",
        "partNumber=3",
    ]
    expect(page.get_by_text("An earlier upload was interrupted")).to_be_hidden()
