"""A browser without a screen: follows the login of the development identity provider as a person would."""

import re
from typing import Self
from urllib.parse import urlsplit

import httpx2

from softman.standalone.listeners import Dashboard


class Browser:
    """One browser with its cookies, at the dashboard of a stack.

    Args:
        dashboard: where it listens.
    """

    def __init__(self, dashboard: Dashboard) -> None:
        self.dashboard = dashboard
        self.http = httpx2.Client(base_url=dashboard.url, trust_env=False, timeout=30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def log_in(self, user: str, page: str = "/") -> httpx2.Response:
        """Log in as one of ``identity_provider.PEOPLE``; others have no user name there.

        Returns:
            The answer that leads to ``page``.
        """
        form = self.http.get("/login", params={"next": page})
        assert form.status_code == 303, form.text
        address = form.headers["location"]
        assert address.startswith(self.dashboard.issuer), address
        back = self.http.post(address, data={"sub": user})
        assert back.status_code == 302, back.text
        assert urlsplit(back.headers["location"]).path == "/login/callback"
        landed = self.http.get(back.headers["location"])
        assert landed.status_code == 303, landed.text
        return landed

    @property
    def csrf_token(self) -> str:
        """That of the session, as a page shows it."""
        page = self.http.get("/no-such-page", headers={"Accept": "text/html"}).text
        found = re.search(r'<meta name="csrf-token" content="([^"]+)">', page)
        assert found is not None, page
        return found[1]
