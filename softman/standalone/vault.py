"""Vault for the stack: OpenBao or Vault in dev mode when one is on the PATH, otherwise the stand-in of this package.

All three are set up the same way through their HTTP API: the two KV v2 mounts, AppRole, and one policy for each role.
"""

import subprocess
import sys
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

import hvac
import requests
from hvac.exceptions import VaultError

from softman.errors import ServiceUnavailable
from softman.standalone.ports import LOOPBACK
from softman.standalone.process import base_environment, find_program, write_private
from softman.standalone.server import Server

MOUNT, OWN_MOUNT = "secrets", "softman"
ROLES = ("stratum0", "publisher")
POLICIES = {
    "stratum0": f"""\
path "{MOUNT}/data/*" {{ capabilities = ["create", "read", "update"] }}
path "{MOUNT}/metadata/*" {{ capabilities = ["read", "list"] }}
path "{OWN_MOUNT}/data/*" {{ capabilities = ["create", "read", "update"] }}
path "{OWN_MOUNT}/metadata/*" {{ capabilities = ["read", "list"] }}
""",
    "publisher": f"""\
path "{MOUNT}/data/+/cvmfs_keys/*" {{ capabilities = ["read"] }}
path "{MOUNT}/data/groups/+/cvmfs_keys/*" {{ capabilities = ["read"] }}
path "{OWN_MOUNT}/data/repositories/*" {{ capabilities = ["read"] }}
path "{OWN_MOUNT}/metadata/repositories/*" {{ capabilities = ["read", "list"] }}
""",
}
_TOKEN_SECONDS = 3600


class VaultServer(Server):
    """The vault, whichever program it is; unsealed, with one AppRole for each of ``ROLES``."""

    name = "vault"
    port_names = ("http",)
    secret_names = ("root", *(f"{role}_{part}" for role in ROLES for part in ("role_id", "secret_id")))
    process_names = ("vault",)

    @property
    def url(self) -> str:
        """The address of its API."""
        return f"http://{LOOPBACK}:{self.facts.ports['http']}"

    @property
    def program(self) -> str:
        """``bao``, ``vault`` or ``stand-in``."""
        return next((name for name in ("bao", "vault") if find_program(name)), "stand-in")

    def role(self, name: str) -> tuple[str, str]:
        """Role id and secret id of one of ``ROLES``."""
        return self.facts.secrets[f"{name}_role_id"], self.facts.secrets[f"{name}_secret_id"]

    @property
    def root_token(self) -> str:
        """For the set-up and for tests; softman itself never uses it."""
        return self.facts.secrets["root"]

    def prepare(self) -> None:
        """Write the root token where the stand-in reads it."""
        write_private(self.home / "root-token", self.root_token)

    def launch(self) -> None:
        """Start it, wait until it is unsealed, set it up."""
        self.spawn("vault", self._command())
        self.wait(self._unsealed, "the vault is unsealed")
        try:
            self._set_up()
        except (VaultError, requests.RequestException) as exc:
            msg = f"the vault cannot be set up: {exc}"
            raise ServiceUnavailable(msg) from exc

    def version(self) -> str:
        """What the program says of itself."""
        program = find_program(self.program)
        if program is None:
            return "stand-in"
        out = subprocess.run([program, "version"], capture_output=True, text=True, check=True, env=base_environment())
        return out.stdout.strip()

    def environment(self) -> dict[str, str]:
        """The root token goes to a real server by the environment, which other users cannot read."""
        real = {f"{prefix}_DEV_ROOT_TOKEN_ID": self.root_token for prefix in ("BAO", "VAULT")}
        return {**super().environment(), **(real if self.program != "stand-in" else _module_path())}

    def _command(self) -> list[str]:
        program = find_program(self.program)
        if program is not None:
            port = self.facts.ports["http"]
            return [program, "server", "-dev", "-dev-no-store-token", f"-dev-listen-address={LOOPBACK}:{port}"]
        return [
            sys.executable, "-m", "softman.standalone.vault_standin",
            "--port", str(self.facts.ports["http"]),
            "--state", str(self.home / "state.json"),
            "--root-token-file", str(self.home / "root-token"),
        ]  # fmt: skip

    def _unsealed(self) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}/v1/sys/health", timeout=2) as answer:
            return int(answer.status) == HTTPStatus.OK

    def _set_up(self) -> None:
        client = self._client()
        if all(self._can_log_in(client, role) for role in ROLES):
            return
        client.token = self.root_token
        mounts = client.sys.list_mounted_secrets_engines()["data"]
        for mount in (MOUNT, OWN_MOUNT):
            if f"{mount}/" not in mounts:
                client.sys.enable_secrets_engine("kv", path=mount, options={"version": "2"})
        if "approle/" not in client.sys.list_auth_methods()["data"]:
            client.sys.enable_auth_method("approle")
        for role in ROLES:
            self._set_up_role(client, role)

    def _set_up_role(self, client: Any, role: str) -> None:
        role_id, secret_id = self.role(role)
        policy = f"softman-{role}"
        client.sys.create_or_update_policy(policy, POLICIES[role])
        approle = client.auth.approle
        approle.create_or_update_approle(
            role, token_policies=[policy], token_ttl=_TOKEN_SECONDS, token_max_ttl=24 * _TOKEN_SECONDS
        )
        approle.update_role_id(role, role_id)
        approle.create_custom_secret_id(role, secret_id)

    def _can_log_in(self, client: Any, role: str) -> bool:
        role_id, secret_id = self.role(role)
        try:
            client.auth.approle.login(role_id, secret_id, use_token=False)
        except VaultError:
            return False
        return True

    def _client(self) -> Any:
        session = requests.Session()
        session.trust_env = False  # neither proxies nor .netrc lie between us and the loopback address
        return hvac.Client(url=self.url, session=session, timeout=10)


def _module_path() -> dict[str, str]:
    """Where a child that runs in another directory finds the package when it is not installed."""
    return {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
