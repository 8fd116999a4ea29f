"""What every request passes: its id, the size limit, the security headers, the protection against forged requests.

Plain ASGI, so that streams stay streams. The outermost comes last in ``install``.
"""

import re
import secrets
import time
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from softman.dashboard.auth.sessions import Session, session_of
from softman.dashboard.problems import Problem, answer
from softman.log import bind_context, clear_context, get_logger
from softman.settings_dashboard import DashboardSettings

CSRF_FIELD = "csrf_token"
CSRF_HEADER = "X-CSRF-Token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\x00-\x20\x7f]*")
_log = get_logger(__name__)
_PERMISSIONS = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "microphone",
    "payment",
    "usb",
)


def content_policy(settings: DashboardSettings, upload_to: tuple[str, ...] = ()) -> str:
    """The Content-Security-Policy: everything is ours.

    Uploads may also go to ``upload_to``. The form of the logout leads on to the identity provider, which browsers
    count as a target of the form.
    """
    connect, forms = (
        " ".join(["'self'", *upload_to]),
        " ".join(filter(None, ["'self'", origin(settings.provider.issuer)])),
    )
    return (
        f"default-src 'self'; connect-src {connect}; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        f"form-action {forms}; frame-ancestors 'none'"
    )


def origin(url: str) -> str:
    """Scheme, host and port of an address, as browsers compare them; empty without any."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""


def security_headers(settings: DashboardSettings, policy: str) -> dict[str, str]:
    """The headers of every answer."""
    headers = {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": ", ".join(f"{name}=()" for name in _PERMISSIONS),
        "Cache-Control": "no-store",
    }
    if settings.secure:
        headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return headers


class RequestIdentity:
    """Gives each request an id, for log lines, answers and problem documents; logs it, and answers faults.

    The query is not logged: the code of a login is in one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        begun, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        clear_context()
        bind_context(request_id=request_id)
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as exc:
            if status:
                raise
            await answer(Request(scope), exc)(scope, receive, send_with_id)
        finally:
            seconds = round(time.perf_counter() - begun, 4)
            _log.info("request", method=scope["method"], path=scope["path"], status=status, seconds=seconds)
            clear_context()


class SecurityHeaders:
    """Adds headers to every answer, unless the answer has its own.

    Args:
        app: the application.
        headers: name to value.
    """

    def __init__(self, app: ASGIApp, headers: dict[str, str]) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses bodies over a size; what arrives is counted, whatever ``Content-Length`` says.

    Args:
        app: the application.
        most: bytes.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if announced.isascii() and announced.isdigit() and int(announced[:20]) > self._most:
            raise self._too_long()
        seen = 0

        async def counting() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise self._too_long()
            return message

        await self._app(scope, counting, send)

    def _too_long(self) -> Problem:
        return Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", f"a request may have {self._most} bytes; files go to S3"
        )


async def check_csrf(request: Request, session: Annotated[Session | None, Depends(session_of)]) -> None:
    """Refuse a change that another site made the browser ask for.

    A request that is authenticated by a token needs nothing: no browser adds one by itself. One with the cookie of a
    session needs the session's CSRF token, in the header ``X-CSRF-Token`` or the form field ``csrf_token``. No request
    of a browser that says that it comes from elsewhere is taken.

    Raises:
        Problem: 403.
    """
    if request.method in SAFE_METHODS or "authorization" in request.headers:
        return
    settings: DashboardSettings = request.app.state.settings.dashboard
    origin = request.headers.get("origin")
    if (origin is not None and origin != settings.url) or request.headers.get("sec-fetch-site") == "cross-site":
        raise Problem(HTTPStatus.FORBIDDEN, "csrf", "this request comes from another site")
    if session is None:
        return
    token = request.headers.get(CSRF_HEADER)
    if token is None and request.headers.get("content-type", "").startswith(_FORMS):
        field = (await request.form()).get(CSRF_FIELD)
        token = field if isinstance(field, str) else None
    if token is None or not secrets.compare_digest(token.encode(), session.csrf_token.encode()):
        raise Problem(HTTPStatus.FORBIDDEN, "csrf", "the page is out of date; load it again and repeat what you did")


def local_path(path: str | None, default: str = "/") -> str:
    """``path`` when it leads to a page of ours, else ``default``: nobody is sent to another site after login."""
    if path is None or not _LOCAL_PATH.fullmatch(path):
        return default
    parts = urlsplit(path)
    return path if not parts.scheme and not parts.netloc else default


def install(app: FastAPI, settings: DashboardSettings, *, upload_to: tuple[str, ...] = ()) -> None:
    """Put all of it around ``app``.

    Args:
        app: the application.
        settings: the dashboard's.
        upload_to: origins beside our own that scripts may send to.
    """
    app.add_middleware(BodyLimit, most=settings.longest_body)
    hosts = [settings.host, *settings.trusted_hosts]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.add_middleware(RequestIdentity)
    app.add_middleware(SecurityHeaders, headers=security_headers(settings, content_policy(settings, upload_to)))
