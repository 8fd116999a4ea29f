"""Logins under way: what is remembered between sending somebody to the identity provider and their coming back.

Bound to the browser by a cookie, so that nobody can make somebody else's browser finish a login of theirs.
"""

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from softman.dashboard.auth.sessions import hashed
from softman.dashboard.store import DashboardStore

LOGIN_SECONDS = 600.0
"""How long somebody may take at the identity provider."""


@dataclass(frozen=True, slots=True)
class Login:
    """One login under way.

    Attributes:
        next: the page to go to.
        nonce: comes back in the ID token.
        verifier: of PKCE (RFC 7636), sent with the code.
    """

    next: str
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48), repr=False)

    @property
    def challenge(self) -> str:
        """Of PKCE, method S256."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Logins:
    """All logins under way.

    Args:
        store: where they are.
        clock: seconds since 1970.
    """

    def __init__(self, store: DashboardStore, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock

    def begin(self, login: Login, browser: str) -> str:
        """Remember a login.

        Args:
            login: the one.
            browser: the random text in the browser's cookie.

        Returns:
            Its state, which comes back with the code.
        """
        state, now = secrets.token_urlsafe(32), self._clock()
        with self._store.connection() as connection:
            connection.execute("DELETE FROM logins WHERE begun < ?", (now - LOGIN_SECONDS,))
            connection.execute(
                "INSERT INTO logins (state, browser, data, begun) VALUES (?, ?, ?, ?)",
                (hashed(state), hashed(browser), json.dumps(asdict(login)), now),
            )
        return state

    def finish(self, state: str, browser: str) -> Login | None:
        """The login of a state, once; None when there is none in this browser or it took too long."""
        with self._store.connection() as connection:
            row = connection.execute(
                "DELETE FROM logins WHERE state = ? AND browser = ? AND begun >= ? RETURNING data",
                (hashed(state), hashed(browser), self._clock() - LOGIN_SECONDS),
            ).fetchone()
        return None if row is None else Login(**json.loads(row["data"]))
