"""Free loopback ports, held until the server that is to listen on them starts.

Ports come from below the kernel's ephemeral range, so that no outgoing connection can take one by chance. A held port
is bound without ``SO_REUSEADDR``: a second stack that starts at the same time cannot choose it.
"""

import random
import socket
import threading
import time

from softman.errors import ServiceUnavailable

LOOPBACK = "127.0.0.1"
_LOWEST, _HIGHEST = 10_240, 32_000
_ATTEMPTS = 500
_RELEASE_SECONDS = 1.0
_RELEASE_POLL = 0.002


def is_taken(port: int) -> bool:
    """Whether somebody listens on (or holds) ``port`` of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


class PortHold:
    """Hands out free ports and keeps them bound until they are released. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, socket.socket] = {}
        self._random = random.SystemRandom()

    def take(self) -> int:
        """Choose a free port and hold it.

        Raises:
            ServiceUnavailable: no free port was found.
        """
        for _ in range(_ATTEMPTS):
            port = self._random.randrange(_LOWEST, _HIGHEST)
            if self.hold(port):
                return port
        msg = f"no free port between {_LOWEST} and {_HIGHEST} on {LOOPBACK}"
        raise ServiceUnavailable(msg)

    def hold(self, port: int) -> bool:
        """Hold this very port; False when it is not free."""
        sock = socket.socket()
        try:
            sock.bind((LOOPBACK, port))
        except OSError:
            sock.close()
            return False
        with self._lock:
            self._held[port] = sock
        return True

    def release(self, port: int) -> None:
        """Let go of ``port``, just before its server starts; nothing happens when it is not held.

        Another thread may be between fork and exec at this moment: its child has a copy of our socket until then, so
        the port is free only a moment later. This waits for it (a second at most; then somebody else has the port).
        """
        with self._lock:
            sock = self._held.pop(port, None)
        if sock is None:
            return
        sock.close()
        deadline = time.monotonic() + _RELEASE_SECONDS
        while is_taken(port) and time.monotonic() < deadline:
            time.sleep(_RELEASE_POLL)

    def close(self) -> None:
        """Let go of all ports."""
        with self._lock:
            held, self._held = self._held, {}
        for sock in held.values():
            sock.close()
