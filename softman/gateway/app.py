"""The API of a repository gateway, as stock publishers speak it.

Nearly every answer has the HTTP status 200, and says in JSON what became of the request; see
``softman.cvmfs.gateway.messages``.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool

from softman.cvmfs.errors import FormatError, GatewayError, LeaseBusy, LeaseLost
from softman.cvmfs.gateway.gotime import format_duration
from softman.cvmfs.gateway.messages import API_ROOT, MAX_MESSAGE, to_answer
from softman.errors import SoftmanError
from softman.gateway.body import Body, body_of
from softman.log import get_logger
from softman.services.gateway.gateway import Fields, Gateway

_log = get_logger(__name__)
_TEXT = "text/plain; charset=utf-8"
_BAD, _MISSING, _METHOD, _FAULT = 400, 404, 405, 500
_NO_COLLECTION = "not available: garbage of this repository is collected by softman"


@dataclass(frozen=True, slots=True)
class Call:
    """A request, as far as an action looks at it."""

    headers: Mapping[str, str]
    path: str
    sender: str
    body: Body
    rest: str = ""
    """What the pattern of its path leaves open."""

    @property
    def authorization(self) -> str:
        """The proof of the key."""
        return self.headers.get("authorization", "")


class _BadRequest(Exception):
    """The request cannot be understood; the text is the answer."""


Action = Callable[[Gateway, Call], Fields]


def create_app(gateway: Gateway) -> FastAPI:
    """The web application in front of ``gateway``."""
    app = FastAPI(title="softman gateway", docs_url=None, redoc_url=None, openapi_url=None)

    async def serve(request: Request) -> Response:
        body = body_of(request, asyncio.get_running_loop())
        sender = request.client.host if request.client is not None else ""
        call = Call(request.headers, request.scope["path"], sender, body)
        return await run_in_threadpool(answer, gateway, request.method, call)

    app.add_route("/healthz", _health, methods=["GET"])
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    app.add_route("/{path:path}", serve, methods=methods, include_in_schema=False)
    return app


async def _health(_request: Request) -> Response:
    return Response("ok\n", media_type=_TEXT)


def answer(gateway: Gateway, method: str, call: Call) -> Response:
    """Do what a request asks for; what to answer."""
    where = call.path.removeprefix(API_ROOT).strip("/") if _is_below_root(call.path) else None
    for pattern, actions in _ROUTES:
        found = None if where is None else pattern.fullmatch(where)
        if found is None:
            continue
        action = actions.get(method)
        if action is None:
            return _text(_METHOD, "Method Not Allowed")
        rest = found["rest"] if "rest" in pattern.groupindex else ""
        return _done(action, gateway, Call(call.headers, call.path, call.sender, call.body, rest))
    return _text(_MISSING, "404 page not found")


def _done(action: Action, gateway: Gateway, call: Call) -> Response:
    name = action.__name__.strip("_")
    try:
        fields = action(gateway, call)
    except LeaseBusy as exc:
        _log.info("gateway: path is busy", action=name, reason=str(exc))
        fields = {"status": "path_busy", "time_remaining": format_duration(exc.seconds)}
    except (_BadRequest, FormatError) as exc:
        return _text(_BAD, str(exc) if isinstance(exc, _BadRequest) else "invalid request body")
    except (GatewayError, SoftmanError) as exc:
        if action is _lease and isinstance(exc, LeaseLost):
            return _text(_FAULT, str(exc))
        _log.info("gateway: request is refused", action=name, reason=str(exc))
        reason = str(exc) if isinstance(exc, GatewayError) else f"other_error: {exc}"
        fields = {"status": "error", "reason": reason}
    else:
        _log.info("gateway: request is done", action=name)
    return Response(to_answer(fields), media_type=_TEXT)


def _text(status: int, text: str) -> Response:
    return Response(f"{text}\n", status_code=status, media_type=_TEXT)


def _is_below_root(path: str) -> bool:
    return path == API_ROOT or path.startswith(API_ROOT + "/")


def _ok(fields: Fields) -> Fields:
    return {"status": "ok", **fields}


def _welcome(_gateway: Gateway, _call: Call) -> Fields:
    return {"welcome": "This is the repository gateway of softman."}


def _repositories(gateway: Gateway, _call: Call) -> Fields:
    return _ok({"data": gateway.repositories()})


def _repository(gateway: Gateway, call: Call) -> Fields:
    return _ok({"data": gateway.repository(call.rest)})


def _switch(gateway: Gateway, call: Call) -> Fields:
    body = call.body.read_all(MAX_MESSAGE)
    gateway.check_admin(call.authorization, body)
    gateway.switch(call.rest, enable=_switched(body))
    return _ok({})


def _leases(gateway: Gateway, _call: Call) -> Fields:
    return _ok({"data": gateway.leases()})


def _acquire(gateway: Gateway, call: Call) -> Fields:
    return _ok(gateway.acquire(call.authorization, call.body.read_all(MAX_MESSAGE), call.sender))


def _lease(gateway: Gateway, call: Call) -> Fields:
    return {"data": gateway.lease(call.rest)}


def _commit(gateway: Gateway, call: Call) -> Fields:
    return _ok(gateway.commit(call.authorization, call.rest, call.body.read_all(MAX_MESSAGE)))


def _drop(gateway: Gateway, call: Call) -> Fields:
    return _ok(gateway.drop(call.authorization, call.rest))


def _submit(gateway: Gateway, call: Call) -> Fields:
    size = call.headers.get("message-size", "")
    if not size.isascii() or not size.isdecimal() or int(size) > MAX_MESSAGE:
        raise _BadRequest("missing message-size header")
    message = call.body.first(int(size))
    return _ok(gateway.submit(call.authorization, call.rest or None, message, call.body.read))


def _drop_below(gateway: Gateway, call: Call) -> Fields:
    gateway.check_admin(call.authorization, call.path.encode())
    gateway.drop_below(call.rest)
    return _ok({})


def _collect(gateway: Gateway, call: Call) -> Fields:
    gateway.check_admin(call.authorization, call.body.read_all(MAX_MESSAGE))
    return {"status": "error", "reason": _NO_COLLECTION}


def _switched(body: bytes) -> bool:
    try:
        wish: Any = json.loads(body)
        return wish["enable"] is True
    except (ValueError, KeyError, TypeError) as exc:
        raise FormatError("not a wish to switch a repository on or off") from exc


_ROUTES: tuple[tuple[re.Pattern[str], dict[str, Action]], ...] = (
    (re.compile(r""), {"GET": _welcome}),
    (re.compile(r"repos"), {"GET": _repositories}),
    (re.compile(r"repos/(?P<rest>[^/]+)"), {"GET": _repository, "POST": _switch}),
    (re.compile(r"leases"), {"GET": _leases, "POST": _acquire}),
    (re.compile(r"leases/(?P<rest>[^/]+)"), {"GET": _lease, "POST": _commit, "DELETE": _drop}),
    (re.compile(r"payloads"), {"POST": _submit}),
    (re.compile(r"payloads/(?P<rest>[^/]+)"), {"POST": _submit}),
    (re.compile(r"leases-by-path/(?P<rest>.+)"), {"DELETE": _drop_below}),
    (re.compile(r"gc"), {"POST": _collect}),
)
