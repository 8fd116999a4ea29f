"""The first page: what is mine, and what I may ask for."""

import secrets
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from softman.dashboard.depends import Who
from softman.dashboard.pages.frame import Named, TheDesk, after_wish, home_of, repository_page
from softman.dashboard.pages.views import making_view, missing_in_words, offer_view, repository_view
from softman.dashboard.rendering import page
from softman.errors import NotFound
from softman.names import Kind

router = APIRouter(include_in_schema=False)


@router.get("/")
def home(request: Request, who: Who, desk: TheDesk) -> Response:
    """My repositories."""
    mine = desk.repositories(who)
    offers = [offer_view(each) for each in desk.requestable(who)]
    personal = next((each for each in offers if each.kind == Kind.PERSONAL), None)
    return page(
        request,
        "home.html",
        who=who,
        section="home",
        live="/live/home",
        missing=missing_in_words(mine.missing),
        repositories=[repository_view(each) for each in mine.items],
        personal=personal,
        groups=[each for each in offers if each.kind == Kind.GROUP and (each.possible or each.reason)],
        idempotency_key=secrets.token_hex(8),
    )


@router.post("/repositories")
def request_repository(
    who: Who, desk: TheDesk, kind: Annotated[Kind, Form()], group: Annotated[str | None, Form()] = None
) -> Response:
    """Ask for a repository. Asking twice is harmless."""
    receipt = desk.request(who, kind, group)
    return after_wish(f"{home_of(receipt.repository)}/being-made", "requested", receipt)


@router.get("/repositories/{name}/being-made")
def being_made(request: Request, who: Who, desk: TheDesk, name: Named) -> Response:
    """How far the making is; also of what was asked for a moment ago, before any worker has seen it."""
    try:
        found = desk.repository(who, name)
    except NotFound:
        if not any(each.name == name and not each.problem for each in desk.requestable(who)):
            raise
        return page(
            request,
            "repository/asked.html",
            who=who,
            section="home",
            live=f"/live{home_of(name)}",
            name=str(name),
            making=making_view(()),
        )
    if repository_view(found).is_made:
        return RedirectResponse(home_of(name), HTTPStatus.SEE_OTHER)
    return repository_page(request, who, found, "making", "repository/making.html", making=making_view(found.links))
