"""Vault and OpenBao through hvac: one AppRole's session with its logins.

What is stored through it is in ``vault.py`` (key material) and ``registry.py``; paths are in ``vault_layout.py``, what
hvac's exceptions mean in ``vault_connection.py``.
Nothing here prints or logs a token, a secret id or a value read.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import hvac
from hvac import exceptions as vault_errors

from softman.adapters.errormap import translated
from softman.adapters.vault_connection import VAULT_ERRORS, connect
from softman.adapters.vault_credentials import credential, secret_id, setting_name
from softman.adapters.vault_layout import APPROLE_MOUNT, Role
from softman.errors import Forbidden, ServiceUnavailable
from softman.log import get_logger
from softman.settings import VaultSettings

_log = get_logger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Stored:
    """What a path holds: ``values`` None when there is nothing (any more), and the version to base a write on."""

    values: dict[str, Any] | None = field(repr=False)
    version: int


class VaultSession:
    """One AppRole's access to the KV version 2 mounts: logs in when needed, renews, logs in again when cut off.

    Threads may share it; a forked child gets a connection and a login of its own.

    Args:
        settings: address, certificate authority and credentials.
        role: which of the credentials to use.
        clock: monotonic seconds, handed in for tests.
    """

    def __init__(self, settings: VaultSettings, role: Role, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._role = role
        self._clock = clock
        self._lock = threading.Lock()
        self._open()

    def __repr__(self) -> str:
        return f"VaultSession({self._settings.address!r}, {self._role.value!r})"

    def close(self) -> None:
        """Close the connections; a later call opens them again."""
        self._client.adapter.close()

    def read(self, mount: str, path: str, what: str) -> Stored:
        """The newest version of a secret.

        Args:
            mount: the KV version 2 mount.
            path: below the mount.
            what: what is being read, for messages.

        Raises:
            Forbidden: the role may not.
            ServiceUnavailable: Vault is sealed, down or out of reach.
            NotFound: the mount does not exist.
        """

        def read(client: hvac.Client) -> Stored:
            try:
                answer = client.secrets.kv.v2.read_secret_version(
                    path=path, mount_point=mount, raise_on_deleted_version=False
                )
            except vault_errors.InvalidPath as exc:
                if exc.errors:  # an empty list is how Vault says that nothing is there
                    raise
                return Stored(None, 0)
            data = _data(answer)
            return Stored(data["data"], int(data["metadata"]["version"]))

        return self._call(f"read {what}", read)

    def write(self, mount: str, path: str, values: Mapping[str, Any], *, base: int, what: str) -> int:
        """Store a new version with check-and-set.

        Args:
            mount: the KV version 2 mount.
            path: below the mount.
            values: what to store.
            base: the version this is based on; 0 when nothing may be there.
            what: what is being written, for messages.

        Returns:
            The new version.

        Raises:
            Conflict: the current version is not ``base``.
            Forbidden: the role may not.
            ServiceUnavailable: Vault is sealed, down or out of reach; the write may or may not have happened.
        """

        def write(client: hvac.Client) -> int:
            answer = client.secrets.kv.v2.create_or_update_secret(
                path=path, secret=dict(values), cas=base, mount_point=mount
            )
            return int(_data(answer)["version"])

        return self._call(f"write {what}", write)

    def destroy(self, mount: str, path: str, versions: Sequence[int], what: str) -> None:
        """Destroy versions of a secret for good; those that are not there do not matter.

        Raises:
            Forbidden: the role may not.
            ServiceUnavailable: Vault is sealed, down or out of reach.
        """

        def destroy(client: hvac.Client) -> None:
            client.secrets.kv.v2.destroy_secret_versions(path=path, versions=list(versions), mount_point=mount)

        self._call(f"destroy earlier versions of {what}", destroy)

    def names(self, mount: str, folder: str, what: str) -> list[str]:
        """What lies directly below a folder, folders with a slash; deleted secrets count until they are destroyed.

        Raises:
            Forbidden: the role may not.
            ServiceUnavailable: Vault is sealed, down or out of reach.
        """

        def names(client: hvac.Client) -> list[str]:
            try:
                answer = client.secrets.kv.v2.list_secrets(path=folder, mount_point=mount)
            except vault_errors.InvalidPath as exc:
                if exc.errors:
                    raise
                return []
            return [str(name) for name in _data(answer)["keys"]]

        return self._call(f"list {what}", names)

    def _open(self) -> None:
        self._pid = os.getpid()
        self._client = connect(self._settings)
        self._lease = 0.0
        self._renew_at = 0.0
        self._expires = 0.0

    def _call(self, what: str, action: Callable[[hvac.Client], _T]) -> _T:
        with translated(VAULT_ERRORS, f"{what} as {self._role.value}"):
            client, token = self._logged_in()
            try:
                return action(client)
            except vault_errors.Forbidden:
                if self._is_alive(client, token):
                    raise
            # Revoked, or expired before its time: Vault says 403 for both. Nothing was done, so do it again.
            client, _ = self._logged_in(instead_of=token)
            return action(client)

    def _is_alive(self, client: hvac.Client, token: str) -> bool:
        if client.token != token:  # another thread has logged in again meanwhile
            return False
        try:
            client.auth.token.lookup_self()
        except vault_errors.Forbidden:
            return False
        return True

    def _logged_in(self, *, instead_of: str = "") -> tuple[hvac.Client, str]:
        """The client with a token that should be good, other than ``instead_of``."""
        with self._lock:
            if self._pid != os.getpid():
                self._open()
            client = self._client
            now = self._clock()
            good = bool(client.token) and client.token != instead_of and now < self._expires
            if not good or (now >= self._renew_at and not self._renew(client)):
                self._login(client)
            return client, client.token

    def _login(self, client: hvac.Client) -> None:
        name = setting_name(self._role)
        role_id = credential(self._settings, self._role).role_id
        secret = secret_id(self._settings, self._role).get_secret_value()
        if not role_id or not secret:
            msg = f"no login to Vault as {self._role.value}: set {name}ROLE_ID and {name}SECRET_ID"
            raise Forbidden(msg)
        try:
            answer = client.auth.approle.login(role_id, secret, use_token=False, mount_point=APPROLE_MOUNT)
        except (vault_errors.InvalidRequest, vault_errors.Forbidden):
            msg = (
                f"no login to Vault as {self._role.value}: it does not accept {name}ROLE_ID and {name}SECRET_ID; "
                "expired secret ids are replaced by an administrator"
            )
            raise Forbidden(msg) from None  # servers exist that repeat the secret id in their answer
        self._lease = self._lasts(answer)
        client.token = answer["auth"]["client_token"]
        _log.info("vault login", role=self._role.value, seconds=self._lease)

    def _renew(self, client: hvac.Client) -> bool:
        """Prolong the token; False when that is refused or its maximum is near, so that a login is due."""
        try:
            granted = self._lasts(client.auth.token.renew_self())
        except (vault_errors.Forbidden, vault_errors.InvalidRequest):
            return False
        return granted > self._lease / 2

    def _lasts(self, answer: Any) -> float:
        """Note until when the token in the answer is good; returns the seconds."""
        auth = answer.get("auth") if isinstance(answer, dict) else None
        if not isinstance(auth, dict):
            msg = "no login to Vault: the answer is not Vault's; is SOFTMAN_VAULT__ADDRESS right?"
            raise ServiceUnavailable(msg)
        granted = float(auth["lease_duration"]) or float("inf")
        now = self._clock()
        self._renew_at = now + granted / 2
        self._expires = now + granted
        return granted


def _data(answer: Any) -> dict[str, Any]:
    """The ``data`` of an answer; hvac hands out the bare response when it is no JSON with status 200."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        msg = "the answer is not Vault's; is SOFTMAN_VAULT__ADDRESS right?"
        raise ServiceUnavailable(msg)
    return data
