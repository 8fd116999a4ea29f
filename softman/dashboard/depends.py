"""What endpoints ask for: who is there, and the parts of the application.

What may wait for disk or network takes a thread, nothing else does: a thread costs more than most of it.
"""

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool

from softman.dashboard.auth.sessions import Session, session_of
from softman.dashboard.desk import Desk
from softman.dashboard.problems import Problem, Unauthenticated
from softman.dashboard.rates import Rate, Rates, caller
from softman.dashboard.security import SAFE_METHODS
from softman.dashboard.store import DashboardStore
from softman.errors import InvalidInput
from softman.identity import Principal
from softman.settings import Settings

if TYPE_CHECKING:
    from softman.dashboard.auth.login import Door

CurrentSession = Annotated[Session | None, Depends(session_of)]


async def optional_principal(request: Request, session: CurrentSession) -> Principal | None:
    """Who asks; None when nobody is logged in.

    With an ``Authorization`` header the cookie does not count: only so is a token a protection against forged requests.

    Raises:
        Unauthenticated: the token is refused.
        TooMany: too many were refused from this address.
        ServiceUnavailable: the identity provider's keys are not known, and it does not answer.
    """
    sent = request.headers.get("authorization")
    if sent is None:
        return session.principal if session is not None else None
    rates: Rates = request.app.state.rates
    rates.check(Rate.LOGIN, caller(request))
    try:
        return await run_in_threadpool(_bearer, request, sent)
    except Unauthenticated:
        rates.hit(Rate.LOGIN, caller(request))
        raise


def _bearer(request: Request, sent: str) -> Principal:
    scheme, _, token = sent.partition(" ")
    if scheme.lower() != "bearer" or not token:
        msg = "the header Authorization has to be: Bearer <token>"
        raise Unauthenticated(msg, error="invalid_request")
    door: Door = request.app.state.door
    try:
        return door.bearer(token.strip())
    except InvalidInput as exc:
        raise Problem(HTTPStatus.FORBIDDEN, "unusable-name", str(exc)) from exc


async def current_principal(who: Annotated[Principal | None, Depends(optional_principal)]) -> Principal:
    """Who asks.

    Raises:
        Unauthenticated: nobody is logged in, or the token is refused.
    """
    if who is None:
        raise Unauthenticated
    return who


Who = Annotated[Principal, Depends(current_principal)]
MaybeWho = Annotated[Principal | None, Depends(optional_principal)]


async def rate_limited(request: Request, who: MaybeWho) -> None:
    """Count the request as one of this person, or of this address; a dependency of routers.

    Raises:
        TooMany: too many.
    """
    rates: Rates = request.app.state.rates
    rates.hit(Rate.READ if request.method in SAFE_METHODS else Rate.CHANGE, caller(request, who))


def settings(request: Request) -> Settings:
    """The settings of the application."""
    found: Settings = request.app.state.settings
    return found


def desk(request: Request) -> Desk:
    """What answers questions and takes wishes."""
    found: Desk = request.app.state.desk
    return found


TheDesk = Annotated[Desk, Depends(desk)]


def store(request: Request) -> DashboardStore:
    """What the dashboard remembers."""
    found: DashboardStore = request.app.state.store
    return found
