#!/usr/bin/env python3
"""Pictures of every page with life-like data: for looking at them, and with ``--docs`` those of docs/images.

.venv/bin/python scripts/screenshots.py /tmp/pictures
.venv/bin/python scripts/screenshots.py --docs
"""

import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from softman.identity import Principal  # noqa: E402 - of this clone
from tests.support.served import Served, served  # noqa: E402
from tests.support.showcase import ADMIN, ALICE, BOB, DOMAIN, NEWCOMER  # noqa: E402

HOME = f"/repositories/alice.{DOMAIN}"
PHYSICS = f"/repositories/physics.{DOMAIN}"
PAGES: dict[str, tuple[Principal, str]] = {
    "welcome": (NEWCOMER, "/"),
    "home": (BOB, "/"),
    "making": (BOB, f"/repositories/genomics.{DOMAIN}/being-made"),
    "stopped": (ADMIN, f"/repositories/erin.{DOMAIN}/being-made"),
    "overview": (ALICE, HOME),
    "publishing": (ALICE, PHYSICS),
    "activity": (ALICE, f"{PHYSICS}/activity"),
    "files": (ALICE, f"{HOME}/files"),
    "odd-files": (ALICE, f"{HOME}/files/odd"),
    "file": (ALICE, f"{HOME}/files/bin/fit-model"),
    "upload": (ALICE, f"{HOME}/upload"),
    "use": (ALICE, f"{HOME}/use"),
    "problems": (ALICE, f"{HOME}/problems"),
    "history": (ALICE, f"{HOME}/history"),
    "changes": (ALICE, f"{HOME}/history/changes?old=213&new=214"),
    "roll-back": (ALICE, f"{HOME}/history/210/roll-back"),
    "settings": (ALICE, f"{HOME}/settings"),
    "retire": (ALICE, f"{HOME}/retire"),
    "retired": (ADMIN, f"/repositories/dave.{DOMAIN}"),
    "failing": (BOB, f"/repositories/bob.{DOMAIN}"),
    "admin": (ADMIN, "/admin"),
    "workers": (ADMIN, "/admin/workers"),
    "dead-letters": (ADMIN, "/admin/dead-letters"),
    "limits": (ADMIN, f"/admin/repositories/alice.{DOMAIN}"),
    "not-found": (ALICE, "/nowhere"),
}
SIZES = {"wide": (1280, 800), "phone": (375, 812)}
DOCS = ("welcome", "making", "overview", "files", "history", "problems", "settings", "workers")


def take(browser: Browser, site: Served, target: Path, *, docs: bool) -> None:
    """Take them all."""
    for theme in ("light",) if docs else ("light", "dark"):
        for size, (width, height) in SIZES.items():
            for name, (who, address) in PAGES.items():
                if docs and (name not in DOCS or size != "wide"):
                    continue
                context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
                site.sign_in(context, who)
                page = context.new_page()
                page.goto(site.url + address)
                page.wait_for_timeout(150)
                file = f"{name}.png" if docs else f"{theme}-{size}-{name}.png"
                page.screenshot(path=target / file, full_page=not docs)
                context.close()


def main(arguments: list[str]) -> int:
    """Take the pictures; the last argument is the folder."""
    docs = "--docs" in arguments
    target = ROOT / "docs" / "images" if docs else Path(arguments[-1])
    target.mkdir(parents=True, exist_ok=True)
    with served() as site, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        take(browser, site, target, docs=docs)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
