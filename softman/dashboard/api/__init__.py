"""The REST API, ``/api/v1``: described by itself (``/api/v1/openapi.json``) and in ``docs/api.md``."""

from collections import defaultdict
from http import HTTPStatus

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute

from softman.dashboard.api import admin, content, repositories
from softman.dashboard.api.answers import Route, json_answer, problems
from softman.dashboard.api.description import described
from softman.dashboard.api.schemas import Me
from softman.dashboard.depends import Who
from softman.dashboard.problems import Problem

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

router = APIRouter(prefix="/api/v1", route_class=Route)


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


for part in (repositories, content, admin):
    router.include_router(part.router)


def install(app: FastAPI) -> None:
    """Give ``app`` the API, its description, and right answers to other methods than those it has.

    What other routers add below ``/api/v1`` comes before this.
    """
    app.include_router(router)
    _answer_other_methods(app)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]  # how FastAPI wants it


def _answer_other_methods(app: FastAPI) -> None:
    """Say which methods a path has: to OPTIONS, and in the refusal of others. Starlette names those of one route."""
    possible: defaultdict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for route in app.routes:
        if isinstance(route, APIRoute) and route.path.startswith(router.prefix):
            possible[route.path] |= route.methods
    for path, methods in possible.items():
        _add_other_methods(app, path, ", ".join(sorted(methods)), sorted(_METHODS - methods | {"OPTIONS"}))


def _add_other_methods(app: FastAPI, path: str, allowed: str, others: list[str]) -> None:
    async def other_method(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": allowed})
        raise Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method-not-allowed",
            f"{request.method} is not possible here; {allowed} are",
            headers={"Allow": allowed},
        )

    app.router.add_route(path, other_method, methods=others, include_in_schema=False)
