"""Sessions of people who logged in: an opaque random id in a cookie, everything else in the store, under its hash."""

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from softman.dashboard.store import DashboardStore
from softman.identity import Principal
from softman.settings_dashboard import DashboardSettings

_SEEN_SECONDS = 60.0
"""How exactly it is written down when a session was last used."""


@dataclass(frozen=True, slots=True)
class Session:
    """One login.

    Attributes:
        principal: who.
        csrf_token: what forms and scripts of this session's pages send with every change.
        id_token: for the provider, at logout.
    """

    principal: Principal
    csrf_token: str = field(repr=False)
    id_token: str = field(repr=False, default="")


class Sessions:
    """All sessions.

    Args:
        store: where they are.
        settings: time-outs and whether cookies can be ``Secure``.
        clock: seconds since 1970.
    """

    def __init__(
        self, store: DashboardStore, settings: DashboardSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def begin(self, response: Response, principal: Principal, *, id_token: str = "", former: str = "") -> Session:
        """Begin a session under a new id, whatever cookie the browser had.

        Args:
            response: gets the cookie.
            principal: who logged in.
            id_token: for the logout.
            former: the id that the browser had; that session ends.
        """
        if former:
            self._forget(former)
        session_id, now = secrets.token_urlsafe(32), self._clock()
        session = Session(principal, secrets.token_urlsafe(32), id_token)
        with self._store.connection() as connection:
            connection.execute("DELETE FROM sessions WHERE begun < ? OR seen < ?", self._oldest(now))
            connection.execute(
                "INSERT INTO sessions (id, data, begun, seen) VALUES (?, ?, ?, ?)",
                (hashed(session_id), _to_json(session), now, now),
            )
        set_cookie(response, self._settings, "session", session_id)
        return session

    def find(self, session_id: str, *, touch: bool = True) -> Session | None:
        """The session of an id; None when there is none or it has timed out.

        Args:
            session_id: from the cookie.
            touch: the person did something: the session goes on.
        """
        if not session_id:
            return None
        now = self._clock()
        with self._store.connection() as connection:
            row = connection.execute(
                "SELECT data, seen FROM sessions WHERE id = ? AND begun >= ? AND seen >= ?",
                (hashed(session_id), *self._oldest(now)),
            ).fetchone()
            if row is None:
                return None
            if touch and now - row["seen"] > _SEEN_SECONDS:
                connection.execute("UPDATE sessions SET seen = ? WHERE id = ?", (now, hashed(session_id)))
        return _from_json(row["data"])

    def end(self, response: Response, session_id: str) -> None:
        """Forget the session and take the cookie away."""
        self._forget(session_id)
        set_cookie(response, self._settings, "session", "")

    def _forget(self, session_id: str) -> None:
        with self._store.connection() as connection:
            connection.execute("DELETE FROM sessions WHERE id = ?", (hashed(session_id),))

    def _oldest(self, now: float) -> tuple[float, float]:
        return now - self._settings.session_longest, now - self._settings.session_idle


def cookie_name(settings: DashboardSettings, purpose: str) -> str:
    """The name of a cookie; ``__Host-`` binds it to this very host, over TLS."""
    return f"{'__Host-' if settings.secure else ''}softman-{purpose}"


def set_cookie(response: Response, settings: DashboardSettings, purpose: str, value: str) -> None:
    """Set a cookie for as long as the browser runs; an empty value takes it away."""
    response.set_cookie(
        cookie_name(settings, purpose),
        value,
        max_age=None if value else 0,
        path="/",
        secure=settings.secure,
        httponly=True,
        samesite="lax",
    )


def hashed(secret: str) -> str:
    """What is stored of a random secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def session_id(request: Request) -> str:
    """The id in the request's cookie, or an empty text."""
    return request.cookies.get(cookie_name(request.app.state.settings.dashboard, "session"), "")


def current_session(request: Request) -> Session | None:
    """The session of the request's cookie, looked for once."""
    if not hasattr(request.state, "session"):
        sessions: Sessions = request.app.state.sessions
        request.state.session = sessions.find(session_id(request))
    found: Session | None = request.state.session
    return found


async def session_of(request: Request) -> Session | None:
    """The same as a dependency; without a cookie it takes no thread."""
    return await run_in_threadpool(current_session, request) if session_id(request) else None


def _to_json(session: Session) -> str:
    return json.dumps(asdict(session), default=sorted)


def _from_json(text: str) -> Session:
    content: dict[str, Any] = json.loads(text)
    who = content["principal"]
    groups = {name: frozenset(who[name]) for name in ("groups", "managed")}
    return Session(Principal(**{**who, **groups}), content["csrf_token"], content["id_token"])
