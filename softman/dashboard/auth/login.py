"""Login and logout: OpenID Connect with the authorization code, PKCE, state and nonce; logout at the provider, too."""

import secrets
from http import HTTPStatus
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, Field

from softman.dashboard.auth.claims import claim, principal
from softman.dashboard.auth.logins import Login, Logins
from softman.dashboard.auth.provider import Provider
from softman.dashboard.auth.sessions import Session, Sessions, cookie_name, session_id, session_of, set_cookie
from softman.dashboard.auth.tokens import TokenVerifier
from softman.dashboard.auth.user_info import UserInfo
from softman.dashboard.problems import Problem, Unauthenticated
from softman.dashboard.rates import Rate, Rates, address, caller
from softman.dashboard.security import local_path
from softman.errors import Forbidden, InvalidInput, ServiceUnavailable
from softman.identity import Principal
from softman.log import get_logger
from softman.settings import Settings

CALLBACK = "/login/callback"
_COOKIE = "login"
_LONGEST = 4096
_SHOWN = 100
_LONGEST_SUBJECT = 200

router = APIRouter(include_in_schema=False)
_log = get_logger(__name__)


class Door:
    """What login and logout need.

    Args:
        settings: all of them.
        provider: the identity provider.
        sessions: where a login ends.
        logins: where it is on the way.
    """

    def __init__(self, settings: Settings, provider: Provider, sessions: Sessions, logins: Logins) -> None:
        self.settings = settings
        self.own = settings.dashboard
        self.provider = provider
        self.sessions = sessions
        self.logins = logins
        self.verifier = TokenVerifier(self.own.provider, provider)
        self.user_info = UserInfo(provider)

    @property
    def callback(self) -> str:
        """Where the provider sends people back to; registered there."""
        return self.own.url + CALLBACK

    def address_of_login(self, login: Login, state: str) -> str:
        """Where to send the browser.

        Raises:
            ServiceUnavailable: the provider does not answer.
        """
        parameters = {
            "response_type": "code",
            "client_id": self.own.provider.client_id,
            "redirect_uri": self.callback,
            "scope": " ".join(self.own.provider.scopes),
            "state": state,
            "nonce": login.nonce,
            "code_challenge": login.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(self.provider.metadata().authorization_endpoint, parameters)

    def address_of_logout(self, session: Session) -> str:
        """Where to send the browser after its session has ended (OpenID Connect RP-Initiated Logout 1.0).

        Raises:
            ServiceUnavailable: the provider does not answer.
        """
        end = self.provider.metadata().end_session_endpoint
        parameters = {
            "id_token_hint": session.id_token,
            "client_id": self.own.provider.client_id,
            "post_logout_redirect_uri": self.own.url + "/",
        }
        return _with_query(end, parameters) if end and session.id_token else "/"

    def person(self, code: str, login: Login) -> tuple[Principal, str]:
        """Who brought ``code``, and their ID token.

        Raises:
            Forbidden: the provider refuses the code.
            Unauthenticated: its ID token cannot be believed.
            InvalidInput: nothing can be called as the person is called.
            ServiceUnavailable: the provider does not answer.
        """
        tokens = self.provider.exchange(code, login.verifier, self.callback)
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            msg = "the identity provider gave no ID token"
            raise Forbidden(msg)
        claims = self.verifier.id_token(id_token, login.nonce)
        access_token = tokens.get("access_token")
        if self.own.provider.user_info and isinstance(access_token, str):
            claims = self.user_info.complete(claims, access_token)
        try:
            return principal(claims, self.own.claims, self.settings.domain), id_token
        except InvalidInput as exc:
            msg = f"{exc} (your subject at the identity provider is {claims['sub'][:_LONGEST_SUBJECT]!r})"
            raise InvalidInput(msg) from exc

    def bearer(self, access_token: str) -> Principal:
        """Who sends an API token. One without a user name, as IAM makes them, is completed by the user-info endpoint.

        Raises:
            Unauthenticated: the token is refused.
            InvalidInput: nothing can be called as the person is called.
            ServiceUnavailable: the provider has to be asked and does not answer.
        """
        claims = self.verifier.access_token(access_token)
        if self.own.provider.user_info and claim(claims, self.own.claims.user) is None:
            claims = self.user_info.complete(claims, access_token)
        return principal(claims, self.own.claims, self.settings.domain, via="token")


def door(request: Request) -> Door:
    """Login and logout of the application; a dependency.

    Raises:
        Problem: no identity provider is set.
    """
    found: Door = request.app.state.door
    if not found.own.provider.issuer:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "no-login", "no identity provider is set: see docs/login.md")
    return found


class Answer(BaseModel):
    """What the provider sends the browser back with (RFC 6749, section 4.1.2, and RFC 9207)."""

    state: str = Field(default="", max_length=_LONGEST)
    code: str = Field(default="", max_length=_LONGEST)
    error: str = Field(default="", max_length=_LONGEST)
    iss: str = Field(default="", max_length=_LONGEST)


TheDoor = Annotated[Door, Depends(door)]
NextPage = Annotated[str, Query(alias="next", max_length=_LONGEST)]


@router.get("/login")
def login(request: Request, door: TheDoor, next_page: NextPage = "/") -> Response:
    """Send the browser to the identity provider."""
    _count(request)
    begun = Login(local_path(next_page))
    name = cookie_name(door.own, _COOKIE)
    browser = request.cookies.get(name) or secrets.token_urlsafe(32)
    state = door.logins.begin(begun, browser)
    response = _redirect(door.address_of_login(begun, state))
    set_cookie(response, door.own, _COOKIE, browser)
    return response


@router.get(CALLBACK)
def callback(request: Request, door: TheDoor, answer: Annotated[Answer, Query()]) -> Response:
    """The browser comes back from the identity provider."""
    _count(request)
    begun = door.logins.finish(answer.state, request.cookies.get(cookie_name(door.own, _COOKIE), ""))
    if begun is None:
        raise _refusal("stale-login", "this login was begun elsewhere, took too long or is finished: log in again")
    if answer.error or (answer.iss and answer.iss != door.own.provider.issuer):
        reason = answer.error[:_SHOWN] or "it is another one"
        raise _refusal("login-refused", f"the identity provider did not log you in: {reason}")
    try:
        who, id_token = door.person(answer.code, begun)
    except InvalidInput as exc:
        raise _refusal("unusable-name", str(exc)) from exc
    except (Forbidden, Unauthenticated) as exc:
        reason = exc.detail if isinstance(exc, Unauthenticated) else str(exc)
        raise _refusal("login-refused", f"the login failed: {reason}") from exc
    response = _redirect(begun.next)
    door.sessions.begin(response, who, id_token=id_token, former=session_id(request))
    _log.info("logged in", user=who.user, subject=who.subject, admin=who.admin, address=address(request))
    return response


@router.post("/logout")
def logout(request: Request, door: TheDoor, session: Annotated[Session | None, Depends(session_of)]) -> Response:
    """End the session, here and at the identity provider."""
    if session is None:
        return _redirect("/")
    try:
        response = _redirect(door.address_of_logout(session))
    except ServiceUnavailable:
        response = _redirect("/")
    door.sessions.end(response, session_id(request))
    _log.info("logged out", user=session.principal.user, subject=session.principal.subject)
    return response


def _count(request: Request) -> None:
    rates: Rates = request.app.state.rates
    rates.hit(Rate.LOGIN, caller(request))


def _refusal(code: str, detail: str) -> Problem:
    _log.warning("login refused", problem=code, reason=detail)
    return Problem(HTTPStatus.FORBIDDEN, code, detail)


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, HTTPStatus.SEE_OTHER, headers={"Cache-Control": "no-store"})


def _with_query(url: str, parameters: dict[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"
