"""Style, scripts and pictures of the pages."""

from pathlib import Path
from typing import Any

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_FIRST = "no-cache"


class VersionedFiles(StaticFiles):
    """Files that browsers keep for ever when their address has a version, and ask about when it has none.

    Args:
        directory: where they are.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file, or the error that there is none."""
        response = await super().get_response(path, scope)
        versioned = b"v=" in scope.get("query_string", b"")
        response.headers["Cache-Control"] = _FOR_EVER if versioned else _ASK_FIRST
        return response

    def lookup_path(self, path: str) -> tuple[str, Any]:
        """As the framework does it; a name that no file system has is no file."""
        try:
            return super().lookup_path(path)
        except ValueError:  # a NUL
            return "", None
