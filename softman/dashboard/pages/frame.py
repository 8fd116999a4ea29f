"""What the pages of one repository share: who looks, at what, and the frame around it."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, unquote_to_bytes

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse, Response

from softman.dashboard.desk import Desk
from softman.dashboard.desk_views import Part, Receipt, Repository
from softman.dashboard.pages.views import may_view, missing_in_words, repository_view
from softman.dashboard.rendering import page
from softman.errors import InvalidInput
from softman.identity import Principal
from softman.names import RepositoryName
from softman.services import authority


def _desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found


TheDesk = Annotated[Desk, Depends(_desk)]
BASE = "/repositories/{name}"


def repository_name(name: str) -> RepositoryName:
    """The repository of a page's address.

    Raises:
        NotFound: no repository can be called so.
    """
    try:
        return RepositoryName.parse(name)
    except InvalidInput:
        raise authority.unknown(name) from None


Named = Annotated[RepositoryName, Depends(repository_name)]


def home_of(name: RepositoryName) -> str:
    """The address of a repository's first page."""
    return f"/repositories/{quote(str(name))}"


def repository_page(
    request: Request,
    who: Principal,
    found: Repository,
    tab: str,
    template: str,
    *,
    missing: tuple[Part, ...] = (),
    **context: Any,
) -> Response:
    """A page of one repository; while it is being made, or once it is retired, all lead to the page that says so.

    Args:
        request: which is answered.
        who: looks.
        found: the repository.
        tab: which one.
        template: of the page.
        missing: what else is away, beside what the repository says.
        context: for the template.
    """
    view = repository_view(found)
    if not view.is_made and tab != "making":
        return RedirectResponse(f"{view.home}/being-made", HTTPStatus.SEE_OTHER)
    return page(
        request,
        template,
        who=who,
        section="home",
        live=f"/live{view.home}",
        missing=missing_in_words((*found.missing, *missing)),
        repository=view,
        home=view.home,
        may=may_view(found),
        tab=tab,
        **context,
    )


def after_wish(address: str, message: str, receipt: Receipt | None = None) -> Response:
    """The answer to a form: go on to ``address``, which says ``message``; another one when the wish has to wait."""
    said = message if receipt is None or receipt.queued == "broker" else f"{message}-later"
    return RedirectResponse(f"{address}?said={said}", HTTPStatus.SEE_OTHER)


def path_in_address(request: Request, marker: str) -> bytes:
    """What follows ``marker`` in the request's path, as bytes: names in repositories need not be UTF-8."""
    raw = bytes(request.scope.get("raw_path") or request.url.path.encode()).partition(b"?")[0]
    path = unquote_to_bytes(raw.partition(marker.encode())[2]).strip(b"/")
    return b"/" + path if path else b""


def bytes_asked(request: Request, key: str) -> bytes | None:
    """An argument of the request as bytes, for the same reason; None when it was not given."""
    for part in bytes(request.scope.get("query_string", b"")).split(b"&"):
        name, _, value = part.partition(b"=")
        if name == key.encode():
            return unquote_to_bytes(value.replace(b"+", b" "))
    return None
