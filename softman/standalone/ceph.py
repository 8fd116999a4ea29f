"""A Ceph cluster of one monitor and one OSD that keeps its data in memory; the gateway in front of it is in ``rgw``.

Measured on Ceph 16.2 (Debian 12); the settings that matter:

* the two paxos intervals bring the start from 11.5 s to 1.2 s;
* ``memstore`` with pages of 4 KiB: without pages appending is O(n), with larger ones small objects waste memory;
* no authentication needs ``ms_mon_client_mode = crc``, or the gateway waits 300 s for a secure connection;
* the monitor's address must be in the monitor map with its protocol, ``mon_host`` is not enough;
* clients that ask for pools before the OSD is active sit out a tick of 5 s, so its state is waited for.
"""

import json
import shutil
import socket
import subprocess
import uuid
from pathlib import Path

from softman.errors import ServiceUnavailable
from softman.standalone.ports import LOOPBACK
from softman.standalone.process import require_program, write_private
from softman.standalone.server import Server

_COMMAND_SECONDS = 60
_GLOBAL = """\
[global]
fsid = {fsid}
run_dir = {sockets}
crash_dir = {home}/crash
log_to_stderr = false
log_to_file = true
log_file = {log}/$name.log
mon_host = [v2:{address}:{port}]
ms_bind_msgr1 = false
public_addr = {address}
cluster_addr = {address}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
ms_mon_client_mode = crc
ms_async_op_threads = 1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_warn_on_pool_no_redundancy = false
mon_max_pg_per_osd = 1000
[mon]
mon_data = {home}/mon
mon_cluster_log_file = {log}/ceph-cluster.log
mon_data_avail_crit = 1
mon_data_avail_warn = 2
auth_allow_insecure_global_id_reclaim = false
paxos_propose_interval = 0.02
paxos_min_wait = 0.005
admin_socket = {sockets}/mon.asok
[osd]
osd_data = {home}/osd
osd_objectstore = memstore
memstore_device_bytes = 8589934592
memstore_page_set = true
memstore_page_size = 4096
osd_numa_auto_affinity = false
osd_max_object_name_len = 2048
osd_scrub_begin_hour = 0
osd_scrub_end_hour = 0
osd_mon_shutdown_timeout = 0.5
osd_client_watch_timeout = 12
admin_socket = {sockets}/osd.asok
[client]
keyring = {home}/none
admin_socket =
client_notify_timeout = 2
log_file = {log}/ceph-client.log
"""


class CephServer(Server):
    """The cluster. It loses all data when it ends, also when it is only restarted."""

    name = "ceph"
    port_names = ("mon",)
    process_names = ("ceph-mon", "ceph-osd")
    stop_seconds = 0.0  # there is nothing to save, and an OSD that says good-bye to a dying monitor takes 8 s

    def prepare(self) -> None:
        """Write ``ceph.conf`` and make an empty monitor; what an earlier start left is removed."""
        for old in ("mon", "osd", "crash", "monmap"):
            path = self.home / old
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        for needed in ("osd", "crash"):
            (self.home / needed).mkdir(mode=0o700)
        self._remove_sockets()
        self.log.parent.mkdir(mode=0o700, exist_ok=True)
        write_private(self.home / "none", "")
        self._fsid, self._osd = str(uuid.uuid4()), str(uuid.uuid4())
        write_private(self.configuration, self.common_configuration(self._fsid))
        monitor = f"[v2:{LOOPBACK}:{self.facts.ports['mon']}]"
        monmap = self.home / "monmap"
        self.command(
            "monmaptool", "--create", "--fsid", self._fsid, "--enable-all-features", "--addv", "a", monitor, str(monmap)
        )
        self.command("ceph-mon", "-i", "a", "--mkfs", "--monmap", str(monmap), "-c", str(self.configuration))

    def common_configuration(self, fsid: str) -> str:
        """The part of ``ceph.conf`` that every daemon and client of the cluster needs."""
        return _GLOBAL.format(
            fsid=fsid,
            home=self.home,
            sockets=self.place.sockets,
            log=self.log.parent,
            address=LOOPBACK,
            port=self.facts.ports["mon"],
        )

    @property
    def configuration(self) -> Path:
        """Where ``ceph.conf`` is."""
        return self.home / "ceph.conf"

    def launch(self) -> None:
        """Start monitor and OSD; returns when the OSD is active."""
        configured = ("-c", str(self.configuration))
        self.spawn("ceph-mon", [require_program("ceph-mon"), "-f", "-i", "a", *configured])
        self.command("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", self._osd, "--no-mon-config", *configured)
        self.command("ceph", "--connect-timeout", "20", *configured, "osd", "new", self._osd)
        self.spawn("ceph-osd", [require_program("ceph-osd"), "-f", "-i", "0", *configured])
        self.wait(self._osd_active, "the OSD is active")

    def version(self) -> str:
        """Such as ``16.2.15``."""
        out = subprocess.run([require_program("ceph-mon"), "--version"], capture_output=True, text=True, check=True)
        return out.stdout.split()[2].partition("+")[0]

    def kill(self) -> None:
        """End the daemons at once and remove their sockets."""
        super().kill()
        self._remove_sockets()

    def stop(self) -> None:
        """The same as ``kill``."""
        self.kill()

    def command(self, program: str, *arguments: str) -> str:
        """Run one of Ceph's commands and return what it prints on standard output.

        Raises:
            ServiceUnavailable: it failed or took more than a minute; its messages are in the error.
        """
        done = self.place.processes.run(
            [require_program(program), *arguments],
            environment=self.environment(),
            cwd=self.home,
            seconds=_COMMAND_SECONDS,
        )
        if done.returncode:
            msg = f"{program} failed ({done.returncode}): {done.stderr.strip()[-1000:]}"
            raise ServiceUnavailable(msg)
        return done.stdout

    def _remove_sockets(self) -> None:
        for daemon in ("mon", "osd"):
            (self.place.sockets / f"{daemon}.asok").unlink(missing_ok=True)

    def _osd_active(self) -> bool:
        return _ask_daemon(self.place.sockets / "osd.asok", "status").get("state") == "active"


def _ask_daemon(admin_socket: Path, command: str) -> dict[str, object]:
    """One question on an admin socket: JSON and NUL out; a length of 4 bytes and JSON back."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(str(admin_socket))
        connection.sendall(json.dumps({"prefix": command}).encode() + b"\0")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    decoded = json.loads(answer[4:])
    return decoded if isinstance(decoded, dict) else {}
