"""How the API answers: JSON with an entity tag, lists in parts, problems as they are declared."""

import hashlib
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final, TypeVar

from fastapi import Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema

from softman.dashboard.api.schemas import Listing, ProblemDocument
from softman.dashboard.desk_views import Page
from softman.errors import InvalidInput, NotFound

_T = TypeVar("_T")
_U = TypeVar("_U", bound=BaseModel)
_REVALIDATE: Final = "private, no-cache"
"""Whoever keeps an answer asks each time whether it still holds."""
_WORDS: Final = {
    HTTPStatus.BAD_REQUEST: "The request is no HTTP that can be understood.",
    HTTPStatus.UNAUTHORIZED: "Nobody is logged in, or the token is refused; `WWW-Authenticate` says why.",
    HTTPStatus.FORBIDDEN: "You may see it, but not do this.",
    HTTPStatus.NOT_FOUND: "There is nothing that you may see.",
    HTTPStatus.CONFLICT: "It is not in a state for that, somebody else was faster, or a request with this "
    "`Idempotency-Key` is at work.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The request breaks a rule; `errors` says where.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests; `Retry-After` says when to go on.",
    HTTPStatus.BAD_GATEWAY: "What is stored of the repository cannot be read.",
    HTTPStatus.SERVICE_UNAVAILABLE: "A part of softman that this needs does not answer; see `Retry-After`.",
}
_ALWAYS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.TOO_MANY_REQUESTS)

Limit = Annotated[int, Query(ge=1, le=500, description="How many at most.")]
After = Annotated[
    Annotated[str, Field(max_length=6000)] | SkipJsonSchema[None], Query(description="`next` of the part before.")
]


class Route(APIRoute):
    """A route whose answers to GET and HEAD carry an entity tag, and are not sent again to whoever has them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.methods is not None and "GET" in self.methods:
            self.methods.add("HEAD")

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's, and around it what this class adds."""
        handle = super().get_route_handler()

        async def handle_conditionally(request: Request) -> Response:
            response = await handle(request)
            if request.method in {"GET", "HEAD"} and response.status_code == HTTPStatus.OK:
                return _conditional(request, response)
            return response

        return handle_conditionally


def problems(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """The declaration of the problems that a route may answer with, beside those of every route."""
    return {int(status): {"model": ProblemDocument, "description": _WORDS[status]} for status in (*_ALWAYS, *statuses)}


OF_REPOSITORY: Final = problems(HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE)
OF_CONTENT: Final = OF_REPOSITORY | problems(HTTPStatus.BAD_GATEWAY)
OF_WISHES: Final = OF_REPOSITORY | problems(HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT)
OF_ADMIN: Final = problems(HTTPStatus.FORBIDDEN, HTTPStatus.SERVICE_UNAVAILABLE)


def json_answer(content: BaseModel, status: int = HTTPStatus.OK, headers: dict[str, str] | None = None) -> Response:
    """An answer with a model that was made by us and is not checked again."""
    return Response(content.model_dump_json(), status, headers, media_type="application/json")


def listed(request: Request, listing: Listing[Any]) -> Response:
    """An answer with a part of a list; ``Link`` leads to the next part."""
    headers = {}
    if listing.next is not None:
        headers["Link"] = f'<{request.url.include_query_params(after=listing.next)}>; rel="next"'
    return json_answer(listing, headers=headers)


def page_of(page: Page[_T], of: Callable[[_T], _U]) -> Listing[_U]:
    """A part of a list as the API says it."""
    return Listing(
        items=[of(each) for each in page.items], next=page.after, missing=list(page.missing), read_at=page.read_at
    )


def whole(items: Sequence[_T], of: Callable[[_T], _U]) -> Listing[_U]:
    """A list that has one part."""
    return Listing(items=[of(each) for each in items])


def going_on(read: Callable[[str], _T], after: str) -> _T:
    """What ``after`` says.

    Raises:
        NotFound: it is not what a part before said.
    """
    try:
        return read(after)
    except InvalidInput as exc:
        msg = "there is nothing to go on with: `after` is not what the part before said"
        raise NotFound(msg) from exc


def _conditional(request: Request, response: Response) -> Response:
    body = bytes(response.body)
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    response.headers.setdefault("Cache-Control", _REVALIDATE)
    response.headers["ETag"] = tag
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if known & {"*", tag.removeprefix("W/")}:
        kept = {name: response.headers[name] for name in ("ETag", "Cache-Control", "Link") if name in response.headers}
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=kept)
    if request.method == "HEAD":
        response.body = b""  # Content-Length stays: what GET would send
    return response
