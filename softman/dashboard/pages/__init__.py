"""The web pages."""

from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import PlainTextResponse, RedirectResponse, Response

from softman.dashboard.depends import MaybeWho
from softman.dashboard.pages.errors import problem_page
from softman.dashboard.rendering import STATIC
from softman.dashboard.static_files import VersionedFiles

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(request: Request, who: MaybeWho) -> Response:
    """My repositories."""
    if who is None:
        return RedirectResponse(f"/login?next={quote(request.url.path)}", 303)
    return PlainTextResponse(who.user)


def install(app: FastAPI) -> None:
    """Give ``app`` its pages, their static files, and problems that look like pages."""
    app.include_router(router)
    app.mount("/static", VersionedFiles(STATIC))
    app.state.problem_page = problem_page
