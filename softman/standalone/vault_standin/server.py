"""HTTP around the stand-in: one thread per connection, connections kept alive, loopback only."""

import json
import socket
import sys
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from softman.errors import InvalidInput
from softman.standalone.vault_standin import wire as w
from softman.standalone.vault_standin.api import StandIn

LOOPBACK = "127.0.0.1"
MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request's body, the default of a real server."""
IDLE_SECONDS = 120

_OPERATIONS = {"GET": w.READ, "HEAD": w.READ, "LIST": w.LIST, "PUT": w.UPDATE, "POST": w.UPDATE, "DELETE": w.DELETE}


class StandInServer(ThreadingHTTPServer):
    """Serves one stand-in on 127.0.0.1.

    Raises:
        OSError: the port is taken.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, standin: StandIn, port: int) -> None:
        self.standin = standin
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def address(self) -> str:
        """Where it listens, ``http://127.0.0.1:<port>``."""
        return f"http://{LOOPBACK}:{self.server_address[1]}"

    def handle_error(self, request: socket.socket | tuple[bytes, socket.socket], client_address: Any) -> None:
        """A client that went away is no news; anything else is a fault of ours and is printed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: StandInServer
    protocol_version: ClassVar[str] = "HTTP/1.1"  # type: ignore[misc]  # the base class has a plain attribute
    server_version = "softman-vault-standin"
    sys_version = ""
    timeout = IDLE_SECONDS
    wbufsize = -1
    """Buffered, so that head and body leave in one packet and none waits for a delayed acknowledgement."""
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Nothing: requests are not logged, since paths and bodies belong to their owners."""

    def _serve(self) -> None:
        try:
            reply = self.server.standin.handle(self._request())
        except InvalidInput as exc:
            self.close_connection = True  # part of the body may not have been read
            reply = w.error_reply(400, str(exc))
        payload = b"" if reply.body is None else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        if payload:
            self.send_header("Content-Type", "application/json")
        if reply.status != w.NO_CONTENT.status:
            self.send_header("Content-Length", str(len(payload)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload)

    do_GET = do_HEAD = do_LIST = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - named by the base class

    def _request(self) -> w.Request:
        body = self._body()
        split = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(split.query))
        path = urllib.parse.unquote(split.path)
        segments = path.split("/")
        if not path.startswith("/v1/") or ".." in segments or "." in segments:
            msg = "paths start with /v1/ and have no dot segments"
            raise InvalidInput(msg)
        path = path.removeprefix("/v1/")
        operation = _OPERATIONS[self.command]
        if operation == w.READ and query.get("list", "").lower() == "true":
            operation = w.LIST
        if operation == w.LIST and not path.endswith("/"):
            path += "/"
        return w.Request(operation, path, body, query, self._token())

    def _token(self) -> str:
        bearer = self.headers.get("Authorization", "")
        return self.headers.get("X-Vault-Token") or bearer.removeprefix("Bearer ").strip()

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY or "Transfer-Encoding" in self.headers:
            msg = f"a body needs a Content-Length of at most {MAX_BODY} bytes"
            raise InvalidInput(msg)
        raw = self.rfile.read(int(length))
        try:
            body = json.loads(raw) if raw else {}
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            msg = "failed to parse JSON input: an object is expected"
            raise InvalidInput(msg)
        return body
