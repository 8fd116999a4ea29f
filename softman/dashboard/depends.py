"""What endpoints ask for: who is there, and the parts of the application."""

from typing import Annotated

from fastapi import Depends, Request

from softman.dashboard.auth.sessions import Session, current_session
from softman.dashboard.desk import Desk
from softman.dashboard.problems import Unauthenticated
from softman.dashboard.store import DashboardStore
from softman.identity import Principal
from softman.settings import Settings

CurrentSession = Annotated[Session | None, Depends(current_session)]


def optional_principal(request: Request, session: CurrentSession) -> Principal | None:
    """Who asks; None when nobody is logged in.

    With an ``Authorization`` header the cookie does not count: only so is a token a protection against forged requests.

    Raises:
        Unauthenticated: the token is refused.
    """
    if "authorization" in request.headers:
        raise Unauthenticated
    return session.principal if session is not None else None


def current_principal(who: Annotated[Principal | None, Depends(optional_principal)]) -> Principal:
    """Who asks.

    Raises:
        Unauthenticated: nobody is logged in, or the token is refused.
    """
    if who is None:
        raise Unauthenticated
    return who


Who = Annotated[Principal, Depends(current_principal)]
MaybeWho = Annotated[Principal | None, Depends(optional_principal)]


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
