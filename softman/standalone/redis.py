"""Redis: results, leases, pending keys, progress. A cache by design, so nothing is written to disk.

A user for each role (``softman.adapters.redis_rights``).
"""

import socket
import subprocess

from softman.adapters.redis_rights import CACHE_ROLES, USER_PREFIX, acl_file
from softman.standalone.ports import LOOPBACK
from softman.standalone.process import require_program, write_private
from softman.standalone.server import Server

_CONFIGURATION = """\
bind {address}
port {port}
aclfile {home}/users.acl
daemonize no
dir {home}
save ""
appendonly no
maxmemory-policy noeviction
"""


class RedisServer(Server):
    """One Redis without persistence, with a user for each role."""

    name = "redis"
    port_names = ("redis",)
    secret_names = CACHE_ROLES
    process_names = ("redis",)

    @property
    def url(self) -> str:
        """``redis://`` with the password of the administrator."""
        return self.url_of("admin")

    def url_of(self, role: str) -> str:
        """``redis://`` with the password of a role of ``softman.adapters.redis_rights``."""
        return f"redis://{USER_PREFIX}{role}:{self.facts.secrets[role]}@{LOOPBACK}:{self.facts.ports['redis']}/0"

    def prepare(self) -> None:
        """Write ``redis.conf`` and the users."""
        text = _CONFIGURATION.format(address=LOOPBACK, port=self.facts.ports["redis"], home=self.home)
        write_private(self.home / "users.acl", acl_file(self.facts.secrets))
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
            connection.sendall(f"AUTH {USER_PREFIX}admin {self.facts.secrets['admin']}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:  # noqa: PLR2004 - one line for each command
                piece = connection.recv(64)
                if not piece:
                    return False
                answer += piece
        return b"+PONG" in answer
