"""Vault for the stack: OpenBao or Vault in dev mode when one is on the PATH, otherwise the stand-in of this package.

All three are set up by ``softman.adapters.vault_setup``, as a site's own Vault is.
"""

import subprocess
import sys
import urllib.request
from dataclasses import replace
from http import HTTPStatus

from hvac.exceptions import VaultError
from pydantic import SecretStr

from softman.adapters.vault_connection import connect
from softman.adapters.vault_layout import Role
from softman.adapters.vault_setup import set_up_vault
from softman.errors import PermanentError, ServiceUnavailable
from softman.settings import VaultSettings
from softman.standalone.ports import LOOPBACK
from softman.standalone.process import base_environment, find_program, python_environment, write_private
from softman.standalone.server import Server


class VaultServer(Server):
    """The vault, whichever program it is; unsealed, with one AppRole for each ``Role``."""

    name = "vault"
    port_names = ("http",)
    secret_names = ("root", *(f"{role}_{part}" for role in Role for part in ("role_id", "secret_id")))
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
        """Role id and secret id of an AppRole; ``Role`` lists them."""
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
        except PermanentError as exc:
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
        if self.program == "stand-in":
            return {**python_environment(), **super().environment()}
        return {
            **super().environment(),
            **{f"{prefix}_DEV_ROOT_TOKEN_ID": self.root_token for prefix in ("BAO", "VAULT")},
        }

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

    def _settings(self) -> VaultSettings:
        return VaultSettings(address=self.url)

    def _is_set_up(self) -> bool:
        """Whether it knows our credentials: the stand-in keeps its state, a dev server starts anew."""
        client = connect(self._settings())
        try:
            for role in Role:
                client.auth.approle.login(*self.role(role), use_token=False)
        except VaultError:
            return False
        finally:
            client.adapter.close()
        return True

    def _set_up(self) -> None:
        if self._is_set_up():
            return
        made = set_up_vault(self._settings(), SecretStr(self.root_token))
        credentials = {}
        for access in made.access:
            credentials[f"{access.role}_role_id"] = access.role_id
            credentials[f"{access.role}_secret_id"] = access.secret_id.get_secret_value()
        self.facts = replace(self.facts, secrets={**self.facts.secrets, **credentials})
