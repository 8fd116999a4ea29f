"""A TLS listener before a server that speaks plain text, as a proxy in front of a service would be."""

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

_PIECE = 65536
_SECONDS = 30


class TlsFront:
    """Listens on a free loopback port; ends with the ``with`` block.

    Args:
        port: of the plain server on loopback.
        certificate: file of the certificate.
        key: file of its key.
    """

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self._target = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_SECONDS)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(_SECONDS)
        with (
            suppress(OSError),
            self._context.wrap_socket(connection, server_side=True) as outer,
            socket.create_connection(("127.0.0.1", self._target), timeout=_SECONDS) as inner,
        ):
            back = threading.Thread(target=_pump, args=(inner, outer), daemon=True)
            back.start()
            _pump(outer, inner)
            back.join(_SECONDS)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
