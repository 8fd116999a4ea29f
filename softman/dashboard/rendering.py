"""How pages are made: the templates, what every template knows, and the addresses of static files."""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from softman import __version__
from softman.dashboard import text
from softman.dashboard.auth.sessions import current_session
from softman.dashboard.messages import said

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
"""The folder that is served as ``/static``."""
THEMES = ("light", "dark")
THEME_COOKIE = "theme"
"""What the page's switch stores; without it the system's preference counts."""


def page(request: Request, template: str, http_status: int = 200, /, **context: Any) -> HTMLResponse:
    """Render a template.

    Args:
        request: whose cookies and session the page is for.
        template: its name below ``templates``.
        http_status: of the answer.
        context: what the template needs besides what all have: ``who`` (None when nobody is signed in), ``section``
            (``home`` or ``admin``), ``live`` (address of the page's events), ``missing`` (in words, what is away).
    """
    theme = request.cookies.get(THEME_COOKIE)
    everywhere = {
        "request": request,
        "who": None,
        "section": "",
        "live": "",
        "missing": (),
        "theme": theme if theme in THEMES else "",
        "said": said(request.query_params.get("said", "")),
        "csrf_token": lambda: _csrf_token(request),
        "domain": request.app.state.settings.domain,
        "version": __version__,
    }
    made = environment().get_template(template).render(everywhere | context)
    return HTMLResponse(made, http_status, {"Cache-Control": "no-store"})


def _csrf_token(request: Request) -> str:
    session = current_session(request)
    return session.csrf_token if session is not None else ""


@cache
def environment() -> Environment:
    """The templates: what is put into them is escaped, and what they miss is an error."""
    made = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        size=text.size,
        number=text.number,
        plural=text.plural,
        seconds=text.seconds,
        ago=text.ago,
        datetime=text.date,
        iso=text.iso,
        visible=text.visible,
        plain=text.plain,
        address=text.path_address,
        capitalised=text.capitalised,
    )
    made.globals["asset"] = asset
    return made


@cache
def asset(name: str) -> str:
    """The address of a static file; it changes with its content, so that browsers may keep it."""
    content = (STATIC / name).read_bytes()
    return f"/static/{name}?v={sha256(content).hexdigest()[:12]}"
