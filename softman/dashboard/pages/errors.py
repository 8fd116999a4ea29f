"""Errors as pages: what happened, and the way out."""

from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from softman.dashboard.auth.sessions import current_session
from softman.dashboard.problems import Problem, Unauthenticated
from softman.dashboard.rendering import page


@dataclass(frozen=True, slots=True)
class _Words:
    title: str
    symbol: str = "info"
    advice: str = ""
    tells: bool = True
    """Whether the problem's own text helps the reader."""


_WORDS = {
    HTTPStatus.FORBIDDEN: _Words("You may not do this", "shield"),
    HTTPStatus.NOT_FOUND: _Words(
        "There is no such page", "search", "It may never have been there, or it belongs to somebody else.", tells=False
    ),
    HTTPStatus.CONFLICT: _Words("That did not fit any more", "refresh", "Look at how it is now, and try again."),
    HTTPStatus.UNPROCESSABLE_ENTITY: _Words("That was not understood", "warn"),
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: _Words("That was too much", "warn"),
    HTTPStatus.TOO_MANY_REQUESTS: _Words("That was too fast", "clock", "Wait a moment, then try again."),
    HTTPStatus.BAD_GATEWAY: _Words(
        "This repository cannot be read now", "warn", "What is published is safe. Try again in a moment."
    ),
    HTTPStatus.SERVICE_UNAVAILABLE: _Words(
        "A service is away", "clock", "Nothing is lost. Try again in a moment; your software can be used meanwhile."
    ),
}
_FAULT = _Words(
    "Something went wrong here", "bad", "It is not your fault. The people who run this service find it by the number.",
    tells=False,
)  # fmt: skip


def problem_page(request: Request, problem: Problem) -> Response:
    """The page for a problem; whoever is not signed in goes to the sign-in page and comes back from there."""
    if isinstance(problem, Unauthenticated):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        back = asked if request.method == "GET" else "/"
        return RedirectResponse(f"/login?next={quote(back)}", HTTPStatus.SEE_OTHER)
    words = _WORDS.get(problem.status, _FAULT if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR else None)
    words = words or _Words(problem.status.phrase)
    session = current_session(request)
    return page(
        request,
        "error.html",
        int(problem.status),
        who=session.principal if session else None,
        status=int(problem.status),
        title=words.title,
        symbol=words.symbol,
        text=str(problem.detail) if words.tells else "",
        advice=[words.advice] if words.advice else [],
        request_id=getattr(request.state, "request_id", ""),
    )
