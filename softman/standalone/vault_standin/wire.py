"""What goes in and out of the stand-in: requests, replies with Vault's envelope, and reading values of a body."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from softman.errors import InvalidInput

READ = "read"
LIST = "list"
UPDATE = "update"
DELETE = "delete"

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the operation as Vault sees it, and the path without ``/v1/`` (a list ends in a slash)."""

    operation: str
    path: str
    body: Mapping[str, Any] = field(default_factory=dict, repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and, unless it is 204, a JSON object."""

    status: int
    body: dict[str, Any] | None = field(default=None, repr=False)


NO_CONTENT = Reply(204)


def data_reply(data: dict[str, Any], *, status: int = 200) -> Reply:
    """``data`` inside Vault's envelope."""
    return Reply(status, _envelope(data=data))


def auth_reply(auth: dict[str, Any]) -> Reply:
    """The answer of a login or a renewal."""
    return Reply(200, _envelope(auth=auth))


def error_reply(status: int, *errors: str) -> Reply:
    """The body that every error has."""
    return Reply(status, {"errors": [error for error in errors if error]})


def _envelope(*, data: dict[str, Any] | None = None, auth: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "request_id": secrets.token_hex(16),
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": auth,
    }


def number(body: Mapping[str, Any], name: str, default: int) -> int:
    """A count, given as number or digits.

    Raises:
        InvalidInput: it is neither, or negative.
    """
    value = body.get(name)
    if value is None:
        return default
    text = str(value)
    if isinstance(value, bool) or not text.isdecimal():
        msg = f"error parsing {name}: a whole number is expected"
        raise InvalidInput(msg)
    return int(text)


def flag(body: Mapping[str, Any], name: str, default: bool) -> bool:
    """A truth value, also as the text ``true`` or ``false``.

    Raises:
        InvalidInput: it is something else.
    """
    value = body.get(name)
    if value is None:
        return default
    text = str(value).lower()
    if text not in ("true", "false"):
        msg = f"error parsing {name}: true or false is expected"
        raise InvalidInput(msg)
    return text == "true"


def seconds(body: Mapping[str, Any], name: str, default: int) -> int:
    """A time to live: seconds as a number or digits, or Go's notation such as ``1h30m``.

    Raises:
        InvalidInput: it is neither.
    """
    value = body.get(name)
    if value is None or value == "":
        return default
    text = str(value)
    if text.isdecimal() and not isinstance(value, bool):
        return int(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        msg = f"error parsing {name}: {text[:40]!r} is no duration"
        raise InvalidInput(msg)
    return int(sum(float(amount) * _SECONDS[unit] for amount, unit in parts))


def mapping(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A map inside the body, empty when it is not there.

    Raises:
        InvalidInput: it is something else.
    """
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        msg = f"error parsing {name}: a map is expected"
        raise InvalidInput(msg)
    return value


def texts(body: Mapping[str, Any], name: str, default: list[str]) -> list[str]:
    """A list of text, also as one text with commas; empty parts are dropped.

    Raises:
        InvalidInput: it is something else.
    """
    value = body.get(name)
    if value is None:
        return default
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        msg = f"error parsing {name}: a list of text is expected"
        raise InvalidInput(msg)
    return [item.strip() for item in items if item.strip()]
