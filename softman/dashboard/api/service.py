"""The service itself in the API: who you are for it, and whether its parts answer."""

from fastapi import Request, Response

from softman.dashboard.api.admin_schemas import Health
from softman.dashboard.api.answers import json_answer, listed, problems, whole
from softman.dashboard.api.routing import router
from softman.dashboard.api.schemas import Listing, Me
from softman.dashboard.depends import TheDesk, Who


@router.get("/me", response_model=Me, responses=problems(), tags=["service"])
def show_me(who: Who) -> Response:
    """Who you are, as softman understood your session or token."""
    me = Me(
        user=who.user,
        subject=who.subject,
        name=who.name,
        groups=sorted(who.groups),
        managed=sorted(who.managed),
        admin=who.admin,
    )
    return json_answer(me)


@router.get("/health", response_model=Listing[Health], responses=problems(), tags=["service"])
def show_health(request: Request, who: Who, desk: TheDesk) -> Response:
    """Whether the parts of softman answer. For everybody who is logged in."""
    del who
    return listed(request, whole(desk.health(), Health.of))
