"""The OpenAPI description: complete, in a stable order, with the problems that each route may answer with."""

from typing import Any, Final
from warnings import catch_warnings, simplefilter

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from softman import __version__
from softman.dashboard.problems import MEDIA_TYPE

COOKIE: Final = "__Host-softman-session"
_TEXT: Final = """\
A bucket becomes a CernVM-FS repository, by itself: this asks for repositories and tells how they stand.

* **Who you are**: an API token of the identity provider in `Authorization: Bearer`, or the session of a browser.
  What you may not see is not there for you: 404.
* **Errors** are problem documents (RFC 9457, `application/problem+json`).
* **Lists** come in parts: `next`, and the header `Link`, lead on.
* **Changes** answer 202 with a receipt as soon as they are taken down, even while the message broker is away. With an
  `Idempotency-Key` a change that is sent twice is carried out once.
* **Paths** of repositories are bytes: see `path`.
* **Answers** to GET carry an `ETag`; with `If-None-Match` they are not sent again.
"""
_ERROR: Final = 400


def described(app: FastAPI) -> dict[str, Any]:
    """The description of the API of ``app``; made once."""
    if not app.openapi_schema:
        with catch_warnings():
            simplefilter("ignore", UserWarning)  # HEAD has the operation id of GET
            document = get_openapi(title="softman", version=__version__, description=_TEXT, routes=app.routes)
        _finish(document)
        app.openapi_schema = document
    return app.openapi_schema


def _finish(document: dict[str, Any]) -> None:
    document["paths"] = {path: item for path, item in sorted(document["paths"].items()) if path.startswith("/api/")}
    for path in document["paths"].values():
        path.pop("head", None)  # goes without saying
        for operation in path.values():
            for status, response in operation["responses"].items():
                if status.isdecimal() and int(status) >= _ERROR and "content" in response:
                    response["content"] = {MEDIA_TYPE: response["content"].pop("application/json")}
    components = document["components"]
    for unused in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(unused, None)
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
        "session": {"type": "apiKey", "in": "cookie", "name": COOKIE},
    }
    document["security"] = [{"token": []}, {"session": []}]
