"""Redis: results, leases, pending keys, progress. A cache by design, so nothing is written to disk."""

import socket
import subprocess

from softman.standalone.ports import LOOPBACK
from softman.standalone.process import require_program, write_private
from softman.standalone.server import Server

_CONFIGURATION = """\
bind {address}
port {port}
requirepass {password}
daemonize no
dir {home}
save ""
appendonly no
maxmemory-policy noeviction
"""


class RedisServer(Server):
    """One Redis without persistence, behind a password."""

    name = "redis"
    port_names = ("redis",)
    secret_names = ("password",)
    process_names = ("redis",)

    @property
    def url(self) -> str:
        """``redis://`` with the password."""
        return f"redis://:{self.facts.secrets['password']}@{LOOPBACK}:{self.facts.ports['redis']}/0"

    def prepare(self) -> None:
        """Write ``redis.conf``: the password must not stand on the command line."""
        text = _CONFIGURATION.format(
            address=LOOPBACK, port=self.facts.ports["redis"], password=self.facts.secrets["password"], home=self.home
        )
        write_private(self.home / "redis.conf", text)

    def launch(self) -> None:
        """Start it and wait for its PONG."""
        self.spawn("redis", [require_program("redis-server"), str(self.home / "redis.conf")])
        self.wait(self._answers, "redis answers")

    def version(self) -> str:
        """Such as ``7.0.15``."""
        out = subprocess.run([require_program("redis-server"), "--version"], capture_output=True, text=True, check=True)
        return out.stdout.split("v=")[-1].split()[0]

    def _answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.facts.ports["redis"]), timeout=1) as connection:
            connection.sendall(f"AUTH {self.facts.secrets['password']}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:  # noqa: PLR2004 - one line for each command
                piece = connection.recv(64)
                if not piece:
                    return False
                answer += piece
        return b"+PONG" in answer
