"""RabbitMQ: one node with a private epmd, a user for each role, and no plugin that is not needed.

Measured on RabbitMQ 3.10 (Debian 12): the seventy plugin directories of the package on the code path cost half of the
start, so a slim copy of its home is made of links. The package's wrappers insist on the user ``rabbitmq``; the scripts
behind them do not. With ``detached`` in the environment the server script replaces itself by the broker, so that the
process we start is the broker. Users come from a definitions file, for ``rabbitmqctl`` costs a second or two a call.

A quorum queue that is declared less than half a second before the broker is killed is lost for good: the table that
says where its data lies is written that late. Tests that kill the broker have to wait for it.
"""

import json
import os
import socket
from pathlib import Path
from urllib.parse import quote

from softman.errors import NotFound, ServiceUnavailable
from softman.standalone.ports import LOOPBACK
from softman.standalone.process import require_program, write_private
from softman.standalone.server import Server
from softman.tasks.rights import RIGHTS, definitions, user_name

SERVER_SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_ADMIN, _RGW = "admin", "rgw"
_PLUGINS = frozenset({
    "accept", "amqp10_common", "amqp_client", "aten", "credentials_obfuscation", "cuttlefish", "enough",
    "gen_batch_server", "getopt", "jsx", "observer_cli", "osiris", "ra", "rabbit", "rabbit_common",
    "rabbitmq_prelaunch", "ranch", "recon", "seshat", "stdout_formatter", "syslog", "sysmon_handler", "systemd",
})  # fmt: skip
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"
_CONFIGURATION = """\
listeners.tcp.local = {address}:{port}
num_acceptors.tcp = 2
log.file.level = info
log.console = false
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
collect_statistics_interval = 30000
load_definitions = {definitions}
"""

_ADVANCED = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 10000}]}].\n"
"""Milliseconds, 180000 by default: after that, a message that left a queue for the next one and did not get there, as
the next one was not up yet after a restart, is tried again."""


class RabbitServer(Server):
    """One broker node, with the users of ``softman.tasks.rights``."""

    name = "rabbitmq"
    port_names = ("amqp", "distribution", "epmd")
    secret_names = (*RIGHTS, "cookie")
    process_names = ("epmd", "rabbitmq")
    stop_seconds = 15.0

    @property
    def url(self) -> str:
        """``amqp://`` with the password of the administrator, for Celery and kombu."""
        return self.url_of(_ADMIN)

    def url_of(self, role: str) -> str:
        """``amqp://`` with the password of a role of ``softman.tasks.rights``."""
        return f"{self._address(role)}//"

    @property
    def push_endpoint(self) -> str:
        """``amqp://`` with the password of RGW's user, as RGW wants it: the default virtual host unnamed."""
        return self._address(_RGW)

    def _address(self, role: str) -> str:
        password = quote(self.facts.secrets[role], safe="")
        return f"amqp://{user_name(role)}:{password}@{LOOPBACK}:{self.facts.ports['amqp']}"

    def prepare(self) -> None:
        """Make the slim home, the cookie, the configuration and the definitions."""
        if not SERVER_SCRIPT.exists():
            msg = f"RabbitMQ is not installed: there is no {SERVER_SCRIPT}"
            raise NotFound(msg)
        self._link_programs()
        write_private(self.home / ".erlang.cookie", self.facts.secrets["cookie"], mode=0o400)
        write_private(self.home / "enabled_plugins", "[].\n")
        write_private(self.home / "definitions.json", json.dumps(self._definitions()))
        text = _CONFIGURATION.format(
            address=LOOPBACK, port=self.facts.ports["amqp"], definitions=self.home / "definitions.json"
        )
        write_private(self.home / "rabbitmq.conf", text)
        write_private(self.home / "advanced.config", _ADVANCED)

    def launch(self) -> None:
        """Start epmd and the broker and wait until AMQP is spoken."""
        port = str(self.facts.ports["epmd"])
        self.spawn("epmd", [require_program("epmd"), "-port", port, "-address", LOOPBACK])
        self.wait(self._epmd_answers, "epmd answers")
        self.spawn("rabbitmq", [str(self._slim_home / "sbin" / "rabbitmq-server")])
        self.wait(self._answers, "RabbitMQ speaks AMQP")

    def version(self) -> str:
        """Such as ``3.10.8``."""
        return SERVER_SCRIPT.resolve().parent.parent.name.rpartition("-")[2]

    def ctl(self, *arguments: str, seconds: float = 60.0) -> str:
        """Run ``rabbitmqctl`` against this node and return what it prints.

        Raises:
            ServiceUnavailable: it failed; its messages are in the error.
        """
        done = self.place.processes.run(
            [str(self._slim_home / "sbin" / "rabbitmqctl"), *arguments],
            environment=self.environment(),
            cwd=self.home,
            seconds=seconds,
        )
        if done.returncode:
            msg = (
                f"rabbitmqctl {' '.join(arguments[:1])} failed ({done.returncode}): {done.stdout}{done.stderr}".strip()
            )
            raise ServiceUnavailable(msg)
        return done.stdout

    def environment(self) -> dict[str, str]:
        """Everything RabbitMQ looks for is in our directory; ``detached`` makes the script exec the broker."""
        home = self.home
        return {
            **super().environment(),
            "ERL_EPMD_PORT": str(self.facts.ports["epmd"]),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            "RABBITMQ_NODENAME": "softman@localhost",
            "RABBITMQ_DIST_PORT": str(self.facts.ports["distribution"]),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{home}/advanced.config",
            "RABBITMQ_CONFIG_FILES": f"{home}/conf.d",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{home}/generated",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_SCHEDULER_BIND_TYPE": "u",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false",
            "detached": "1",
        }

    @property
    def _slim_home(self) -> Path:
        return self.home / "slim"

    def _link_programs(self) -> None:
        stock = SERVER_SCRIPT.resolve().parent.parent
        (self._slim_home / "plugins").mkdir(mode=0o700, parents=True, exist_ok=True)
        needed = [path for path in (stock / "plugins").iterdir() if path.name.rpartition("-")[0] in _PLUGINS]
        for source in (stock / "sbin", stock / "escript", *needed):
            link = self._slim_home / source.relative_to(stock)
            if not link.is_symlink():
                link.symlink_to(source)

    def _definitions(self) -> dict[str, object]:
        passwords = {role: self.facts.secrets[role] for role in RIGHTS}
        return {"rabbit_version": self.version(), **definitions(passwords)}

    def _epmd_answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.facts.ports["epmd"]), timeout=1):
            return True

    def _answers(self) -> bool:
        with socket.create_connection((LOOPBACK, self.facts.ports["amqp"]), timeout=1) as connection:
            connection.settimeout(5)
            connection.sendall(_AMQP_HEADER)
            return connection.recv(1) == _METHOD_FRAME  # the broker's Connection.Start
