"""The web pages: what a browser shows, made on the server; forms work without scripts."""

from fastapi import FastAPI

from softman.dashboard.pages import admin, files, history, home, overview, settings
from softman.dashboard.pages.errors import problem_page
from softman.dashboard.rendering import STATIC
from softman.dashboard.static_files import VersionedFiles


def install(app: FastAPI) -> None:
    """Give ``app`` its pages, their static files, and problems that look like pages."""
    for part in (home, overview, files, history, settings, admin):
        app.include_router(part.router)
    app.mount("/static", VersionedFiles(STATIC))
    app.state.problem_page = problem_page
