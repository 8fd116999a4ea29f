"""The REST API, ``/api/v1``: described by itself (``/api/v1/openapi.json``) and in ``docs/api.md``."""

from fastapi import FastAPI

from softman.dashboard.api import admin, content, repositories, service
from softman.dashboard.api.description import described
from softman.dashboard.api.routing import add_other_methods, router

__all__ = ["admin", "content", "install", "repositories", "router", "service"]


def install(app: FastAPI) -> None:
    """Give ``app`` the API and its description."""
    app.include_router(router)
    add_other_methods(app)
    app.openapi = lambda: described(app)  # type: ignore[method-assign]  # how FastAPI wants it
