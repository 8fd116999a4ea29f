"""The web pages."""

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from softman.dashboard.depends import MaybeWho

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(request: Request, who: MaybeWho) -> Response:
    """My repositories."""
    if who is None:
        return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
    return PlainTextResponse(who.user)
