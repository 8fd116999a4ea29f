"""The Ceph object gateway (S3) in front of the cluster of ``ceph``, and its users.

Facts of radosgw 16.2 that shape the configuration: DeleteObjects on a notified prefix aborts the ``beast`` front end,
so ``civetweb`` is the default; without ``tcp_nodelay`` every GET takes 45 ms; a user name in a topic's push end point
is accepted only over TLS or behind a trusted proxy header (``rgw_trust_forwarded_https``).
"""

import json
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus

from softman.adapters.s3_client import S3Access
from softman.adapters.s3_grants import allow_reading, allow_sessions
from softman.adapters.s3_store import S3Place
from softman.adapters.s3_store_grants import share_storage
from softman.errors import ServiceUnavailable
from softman.standalone import restarter, topic_locks
from softman.standalone.ceph import CephServer
from softman.standalone.ports import LOOPBACK
from softman.standalone.process import require_program, write_private
from softman.standalone.server import Facts, Place, Server

READER, CONNECTOR, UPLOADER = "softman-reader", "softman-connector", "softman-uploader"
STORING, STAGING = "softman-storing", "softman-staging"
"""The users of stratum 0 and of publishers where repositories are stored in a bucket."""
REPOSITORIES = S3Place("softman-repositories")
FRONT_ENDS = {
    "civetweb": "civetweb port={address}:{port} num_threads=64 tcp_nodelay=1",
    "beast": "beast endpoint={address}:{port} tcp_nodelay=1",
}
_GATEWAY = """\
[client.rgw]
rgw_frontends = {front_end}
rgw_data = {home}/data
rgw_thread_pool_size = 64
rgw_enable_usage_log = false
rgw_enable_ops_log = false
rgw_sts_key = {sts_key}
rgw_s3_auth_use_sts = true
rgw_sts_min_session_duration = 1
rgw_trust_forwarded_https = true
rgw_dynamic_resharding = false
debug_rgw = 0/0
debug_civetweb = 0/0
log_file = {log}/rgw.log
admin_socket = {sockets}/rgw.asok
"""
_CONNECTOR_CAPS = "users=*;buckets=*;metadata=*"
_STS_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class S3Keys:
    """A user's pair of keys. ``repr`` leaves the secret out."""

    access_key: str
    secret_key: str

    def __repr__(self) -> str:
        return f"S3Keys(access_key={self.access_key!r})"


class GatewayServer(Server):
    """radosgw.

    Args:
        place: where it lives.
        cluster: the cluster it serves.
        facts: as for every server.
        front_end: ``civetweb`` or ``beast``.
    """

    name = "rgw"
    port_names = ("s3",)
    secret_names = ("sts",)
    process_names = ("rgw",)
    stop_seconds = 3.0

    def __init__(
        self, place: Place, cluster: CephServer, facts: Facts | None = None, *, front_end: str = "civetweb"
    ) -> None:
        super().__init__(place, facts)
        self._cluster = cluster
        self._front_end = FRONT_ENDS[front_end]

    @property
    def url(self) -> str:
        """The S3 end point."""
        return f"http://{LOOPBACK}:{self.facts.ports['s3']}"

    def prepare(self) -> None:
        """Write the gateway's ``ceph.conf``."""
        (self.home / "data").mkdir(mode=0o700, exist_ok=True)
        gateway = _GATEWAY.format(
            front_end=self._front_end.format(address=LOOPBACK, port=self.facts.ports["s3"]),
            home=self.home,
            sts_key=self.facts.secrets["sts"][:_STS_KEY_LENGTH],
            log=self.log.parent,
            sockets=self.place.sockets,
        )
        write_private(self.home / "ceph.conf", self._cluster.configuration.read_text(encoding="utf-8") + gateway)

    def launch(self) -> None:
        """Start it and wait until it answers. When it crashes, it is started again: nothing is lost with it.

        Notifications go on half a minute after a start; see ``topic_locks``.
        """
        configuration, script = str(self.home / "ceph.conf"), (sys.executable, "-I")
        program = (require_program("radosgw"), "-f", "--name", "client.rgw", "-c", configuration)
        unlock = (*script, topic_locks.__file__, configuration)
        self.spawn("rgw", [*script, restarter.__file__, *unlock, "--", *program])
        self.wait(self._answers, "the object gateway answers")

    def version(self) -> str:
        """The gateway's version is the cluster's."""
        out = subprocess.run([require_program("radosgw"), "--version"], capture_output=True, text=True, check=True)
        return out.stdout.split()[2].partition("+")[0]

    def kill(self) -> None:
        """End it at once."""
        super().kill()
        (self.place.sockets / "rgw.asok").unlink(missing_ok=True)

    def admin(self, *arguments: str) -> dict[str, object]:
        """Run ``radosgw-admin`` (works without the gateway, on the cluster) and return its JSON object.

        Raises:
            ServiceUnavailable: it failed.
        """
        answer = self._cluster.command("radosgw-admin", "-c", str(self._cluster.configuration), *arguments)
        try:
            decoded = json.loads(answer)
        except ValueError as exc:
            msg = f"radosgw-admin {' '.join(arguments[:2])} gave no JSON: {answer[:200]!r}"
            raise ServiceUnavailable(msg) from exc
        return decoded if isinstance(decoded, dict) else {}

    def create_user(self, uid: str, *extra: str) -> S3Keys:
        """Make a user, whose keys the gateway chooses: secrets stand on no command line.

        Args:
            uid: the user's id.
            extra: further options of ``radosgw-admin user create``.

        Raises:
            ServiceUnavailable: there is such a user already, or the cluster does not answer.
        """
        return _keys_of(uid, self.admin("user", "create", f"--uid={uid}", f"--display-name={uid}", *extra))

    def ensure_user(self, uid: str) -> S3Keys:
        """The keys of a user, who is made when there is none: the connector makes users too.

        Raises:
            ServiceUnavailable: the cluster does not answer.
        """
        listed = self.admin("metadata", "list", "user", "--max-entries=100000")
        known = listed.get("keys")
        if isinstance(known, list) and uid in known:
            return _keys_of(uid, self.admin("user", "info", f"--uid={uid}"))
        return self.create_user(uid)

    def create_service_users(self) -> dict[str, S3Keys]:
        """Make softman's own users (decision 3): the connector may do everything, the reader only look at it.

        The reader is no system user: those of radosgw 16.2 can act as anybody in spite of an op-mask. The uploader
        may do nothing until the connector lets it into a bucket.
        """
        connector = self.create_user(CONNECTOR, "--system", f"--caps={_CONNECTOR_CAPS}")
        reader = self.create_user(READER, "--op-mask=read")
        uploader = self.create_user(UPLOADER, "--max-buckets=-1")
        return {CONNECTOR: connector, READER: reader, UPLOADER: uploader}

    def make_session_role(self, uid: str) -> tuple[str, S3Keys]:
        """A role whose sessions read, and a user that can do nothing but assume it; needs the running gateway.

        Returns:
            The role's ARN, and the user's keys.
        """
        keys = self.create_user(uid, "--op-mask=read")
        admin = self.create_user(f"{uid}-admin", "--system", "--caps=roles=*;user-policy=*")
        arn = allow_sessions(S3Access(self.url, admin.access_key, admin.secret_key), uid, uid)
        configuration = str(self._cluster.configuration)
        self._cluster.command("radosgw-admin", "-c", configuration, "user", "rm", f"--uid={uid}-admin")
        return arn, keys

    def allow_reader(self, connector: S3Keys) -> None:
        """Let the reader look at every bucket; needs the running gateway."""
        access = S3Access(self.url, connector.access_key, connector.secret_key)
        allow_reading(access, READER)

    def create_storage_users(self) -> dict[str, S3Keys]:
        """Make the two users of the bucket with the repositories, ordinary ones."""
        return {uid: self.create_user(uid) for uid in (STORING, STAGING)}

    def share_repositories(self, storing: S3Keys) -> None:
        """Make the bucket of the repositories, which everybody may read; needs the running gateway."""
        access = S3Access(self.url, storing.access_key, storing.secret_key)
        share_storage(access, REPOSITORIES, STORING, STAGING, public=True)

    @property
    def repositories_url(self) -> str:
        """Where repositories in that bucket are read; the name of one follows after a slash."""
        return f"{self.url}/{REPOSITORIES.bucket}"

    def _answers(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(self.url + "/", timeout=5) as answer:
            return int(answer.status) == HTTPStatus.OK


def _keys_of(uid: str, user: dict[str, object]) -> S3Keys:
    keys = user.get("keys")
    if not isinstance(keys, list) or not keys:
        msg = f"the user {uid} of the object store has no keys"
        raise ServiceUnavailable(msg)
    return S3Keys(str(keys[0]["access_key"]), str(keys[0]["secret_key"]))
