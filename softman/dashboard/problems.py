"""Errors as answers: RFC 9457 problem documents, and the status of each error of softman.

Pages may show a problem in their own way: ``app.state.problem_page`` is asked first when a browser wants HTML.
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from softman.cvmfs.errors import CvmfsError
from softman.errors import (
    Busy,
    Conflict,
    Corrupt,
    Forbidden,
    InvalidInput,
    NameTaken,
    NotFound,
    PermanentError,
    ServiceUnavailable,
    SoftmanError,
    TransientError,
)
from softman.log import get_logger

MEDIA_TYPE = "application/problem+json"
API_PREFIX = "/api/"
_TYPE = "urn:softman:problem:"
_RETRY_SECONDS = 5
_STATUS: Mapping[type[SoftmanError], HTTPStatus] = {
    ServiceUnavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    Conflict: HTTPStatus.CONFLICT,
    Busy: HTTPStatus.CONFLICT,
    TransientError: HTTPStatus.SERVICE_UNAVAILABLE,
    InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    NotFound: HTTPStatus.NOT_FOUND,
    Forbidden: HTTPStatus.FORBIDDEN,
    NameTaken: HTTPStatus.CONFLICT,
    Corrupt: HTTPStatus.BAD_GATEWAY,
    PermanentError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The nearest class counts."""

_log = get_logger(__name__)


class Problem(HTTPException):
    """An answer that is no success; an ``HTTPException``, so that FastAPI lets it pass wherever it is raised.

    Args:
        status: of HTTP.
        code: of the problem's type, ``urn:softman:problem:<code>``.
        detail: for the person who asked; never a secret.
        headers: of the answer.
        more: further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.status = HTTPStatus(status)
        self.code = code
        self.more = dict(more or {})

    def document(self, request: Request) -> dict[str, Any]:
        """The problem document for ``request``."""
        return {
            "type": _TYPE + self.code,
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
            "instance": request.url.path,
            "request_id": getattr(request.state, "request_id", ""),
            **self.more,
        }


class Unauthenticated(Problem):
    """Nobody is logged in, or the token is refused; ``WWW-Authenticate`` says why (RFC 6750, section 3).

    Args:
        detail: why.
        error: RFC 6750's code; empty when there was no token.
    """

    def __init__(self, detail: str = "log in, or send an API token", *, error: str = "") -> None:
        challenge = 'Bearer realm="softman"'
        if error:
            quoted = "".join(
                char if char.isascii() and char.isprintable() and char not in '"\\' else "'" for char in detail
            )
            challenge += f', error="{error}", error_description="{quoted}"'
        code = "invalid-token" if error else "unauthenticated"
        super().__init__(HTTPStatus.UNAUTHORIZED, code, detail, headers={"WWW-Authenticate": challenge})


class TooMany(Problem):
    """Requests come too fast.

    Args:
        seconds: after which it is worth trying again.
    """

    def __init__(self, seconds: int) -> None:
        super().__init__(
            HTTPStatus.TOO_MANY_REQUESTS,
            "too-many-requests",
            f"too many requests; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )


def as_problem(error: Exception) -> Problem:
    """What to answer for an error of ours or of the framework; anything else is a fault, whose text stays inside."""
    match error:
        case Problem():
            return error
        case SoftmanError():
            status = next(_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS)
            wait = {"Retry-After": str(_RETRY_SECONDS)} if status is HTTPStatus.SERVICE_UNAVAILABLE else {}
            return Problem(status, error.code, str(error), headers=wait)
        case CvmfsError():
            return Problem(HTTPStatus.BAD_GATEWAY, "repository", str(error))
        case RequestValidationError():
            wrong = [{"where": list(one["loc"]), "problem": one["msg"]} for one in error.errors()]
            return Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "the request breaks a rule", more={"errors": wrong}
            )
        case HTTPException():
            code = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
            return Problem(error.status_code, code, str(error.detail), headers=error.headers)
    return Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "fault", "softman has a fault; its log has the request id")


def answer(request: Request, error: Exception) -> Response:
    """The answer for an error: a page for a browser, else a problem document."""
    problem = as_problem(error)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        fault = problem.code == "fault"
        _log.error("request failed", problem=problem.code, reason=str(error), exc_info=error if fault else None)
    page: Callable[[Request, Problem], Response] | None = getattr(request.app.state, "problem_page", None)
    if page is not None and not request.url.path.startswith(API_PREFIX) and wants_html(request):
        response = page(request, problem)
    else:
        response = JSONResponse(problem.document(request), problem.status, media_type=MEDIA_TYPE)
    response.headers.update(problem.headers or {})
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def wants_html(request: Request) -> bool:
    """Whether a person with a browser asks for a page."""
    return "text/html" in request.headers.get("accept", "")


def install(app: FastAPI) -> None:
    """Let ``app`` answer every error so."""

    async def handler(request: Request, error: Exception) -> Response:
        return answer(request, error)

    for kind in (Problem, SoftmanError, CvmfsError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, handler)
