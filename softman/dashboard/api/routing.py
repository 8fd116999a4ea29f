"""The router of the API, to which every module of it adds its routes, and what all of them have in common."""

from collections import defaultdict
from http import HTTPStatus

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.routing import APIRoute

from softman.dashboard.api.answers import Route
from softman.dashboard.depends import rate_limited
from softman.dashboard.problems import Problem

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

router = APIRouter(
    prefix="/api/v1",
    route_class=Route,
    dependencies=[Depends(rate_limited)],
    generate_unique_id_function=lambda route: route.name,
)


def add_other_methods(app: FastAPI) -> None:
    """Say which methods a path has: to OPTIONS, and in the refusal of others. Starlette names those of one route."""
    possible: defaultdict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for route in router.routes:
        if isinstance(route, APIRoute):
            possible[route.path] |= route.methods or set()
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
