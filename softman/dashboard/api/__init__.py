"""The REST API, ``/api/v1``."""

from fastapi import APIRouter
from pydantic import BaseModel

from softman.dashboard.depends import Who

router = APIRouter(prefix="/api/v1")


class Me(BaseModel):
    """Who asks, as softman understood their session or token."""

    user: str
    subject: str
    name: str
    groups: list[str]
    managed: list[str]
    admin: bool


@router.get("/me")
def me(who: Who) -> Me:
    """Who you are."""
    return Me(
        user=who.user,
        subject=who.subject,
        name=who.name,
        groups=sorted(who.groups),
        managed=sorted(who.managed),
        admin=who.admin,
    )
