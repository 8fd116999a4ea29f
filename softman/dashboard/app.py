"""Puts the dashboard together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool

from softman.dashboard import api, live, pages, problems, security, upload, use
from softman.dashboard.auth import login
from softman.dashboard.auth.login import Door
from softman.dashboard.auth.logins import Logins
from softman.dashboard.auth.provider import Provider
from softman.dashboard.auth.sessions import Sessions
from softman.dashboard.desk import Desk
from softman.dashboard.desk_building import build_desk
from softman.dashboard.outbox import Outbox
from softman.dashboard.rates import Rates
from softman.dashboard.security import check_csrf
from softman.dashboard.store import DashboardStore
from softman.settings import Settings


def create_app(settings: Settings, desk: Desk | None = None, provider: Provider | None = None) -> FastAPI:
    """The application, ready to be served.

    Args:
        settings: those of the role ``dashboard``.
        desk: what pages and API ask; that of the settings when None.
        provider: the identity provider; that of the settings when None.
    """
    own = settings.dashboard
    app = FastAPI(
        title="softman",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        dependencies=[Depends(check_csrf)],
        lifespan=_in_the_background,
    )
    store = DashboardStore(own.state_dir)
    app.state.settings = settings
    app.state.store = store
    app.state.desk = desk or build_desk(settings, Outbox(store))
    app.state.hub = live.Hub(app.state.desk.pulse)
    app.state.sessions = Sessions(store, own)
    app.state.rates = Rates(own)
    app.state.door = Door(settings, provider or Provider(own.provider), app.state.sessions, Logins(store))
    problems.install(app)
    security.install(app, own, upload_to=_object_store(settings))
    app.add_api_route("/healthz", health, include_in_schema=False)
    app.include_router(login.router)
    api.install(app)
    app.include_router(live.router)
    pages.install(app)
    app.include_router(upload.router)
    app.include_router(use.router)
    return app


def _object_store(settings: Settings) -> tuple[str, ...]:
    """The origins that scripts send files to."""
    if not settings.uploads.enabled:
        return ()
    return (security.origin(settings.s3.public_endpoint or settings.s3.endpoint),)


@asynccontextmanager
async def _in_the_background(app: FastAPI) -> AsyncIterator[None]:
    """While the application is served, the desk reads ahead and sends what waits."""
    desk: Desk = app.state.desk
    door: Door = app.state.door
    desk.start()
    try:
        yield
    finally:
        await run_in_threadpool(desk.close)
        door.provider.close()


def health() -> dict[str, str]:
    """Whether this process answers; what it depends on is another question."""
    return {"status": "ok"}
