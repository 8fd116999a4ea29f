"""The dashboard of a life-like site, served on a free loopback port from a thread of the test process."""

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response
from playwright.sync_api import BrowserContext

from softman.dashboard.app import create_app
from softman.identity import Principal
from softman.settings import load_settings
from softman.standalone.process import wait_until
from tests.support.showcase import DOMAIN, Showcase, ShowcaseDesk, life_like


@dataclass
class Served:
    """A dashboard that browsers can reach."""

    url: str
    app: FastAPI
    showcase: Showcase

    def sign_in(self, context: BrowserContext, who: Principal) -> None:
        """Give a browser the cookie of a new session of somebody."""
        response = Response()
        self.app.state.sessions.begin(response, who)
        name, _, value = response.headers["set-cookie"].partition(";")[0].partition("=")
        context.add_cookies([{"name": name, "value": value, "url": self.url}])


@contextmanager
def served(showcase: Showcase | None = None) -> Iterator[Served]:
    """Serve as long as the context lasts."""
    showcase = showcase or life_like()
    with tempfile.TemporaryDirectory(prefix="softman-dashboard-") as directory, socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        settings = load_settings(
            domain=DOMAIN,
            state_dir=Path(directory),
            dashboard={"url": url, "state_dir": Path(directory) / "dashboard", "reads_per_minute": 1_000_000},
        )
        app = create_app(settings, ShowcaseDesk(showcase))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        wait_until(lambda: server.started, "the dashboard answers", seconds=60)
        try:
            yield Served(url, app, showcase)
        finally:
            server.should_exit = True
            thread.join(timeout=30)
