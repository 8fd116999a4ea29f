"""Vault and OpenBao through hvac: one AppRole's session with its logins, and what hvac's exceptions mean to us.

What is stored through it is in ``vault.py`` (key material) and ``registry.py``; paths are in ``vault_layout.py``.
Nothing here prints or logs a token, a secret id or a value read.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import hvac
import requests
from hvac import exceptions as vault_errors
from requests import exceptions as http_errors

from softman.adapters.errormap import Meaning, Table, translated
from softman.adapters.vault_layout import Role
from softman.errors import Conflict, Forbidden, InvalidInput, NotFound, PermanentError, ServiceUnavailable
from softman.log import get_logger
from softman.settings import VaultCredential, VaultSettings

REQUEST_SECONDS = 15
"""How long one request may take to connect, and to be answered."""

_log = get_logger(__name__)
_T = TypeVar("_T")

_NO_ANSWER = Meaning(ServiceUnavailable, "Vault does not answer; does it run, and is SOFTMAN_VAULT__ADDRESS right?")
_CUT_OFF = Meaning(ServiceUnavailable, "the connection to Vault broke off")
_BAD_ADDRESS = Meaning(InvalidInput, "SOFTMAN_VAULT__ADDRESS is no URL that can be asked")
_NOT_VAULT = Meaning(ServiceUnavailable, "the answer is not Vault's; is SOFTMAN_VAULT__ADDRESS right?")
_REFUSED = Meaning(
    Forbidden, "Vault refuses it; are the policies installed, and are these the credentials of the role?"
)


def _unavailable(exc: vault_errors.VaultDown) -> Meaning:
    if "sealed" in _errors(exc).lower():
        return Meaning(ServiceUnavailable, "Vault is sealed; an administrator has to unseal it")
    return Meaning(ServiceUnavailable, "Vault says that it is down")


def _bad_request(exc: vault_errors.InvalidRequest) -> Meaning:
    errors = _errors(exc).lower()
    if "check-and-set parameter did not match" in errors:
        return Meaning(Conflict, "somebody else wrote it first")
    if "upgrading from non-versioned" in errors:  # the first moments of a new KV v2 mount
        return Meaning(ServiceUnavailable, "the mount is being prepared")
    return Meaning(InvalidInput, "Vault cannot make sense of the request; is the mount of type KV version 2?")


def _tls(exc: http_errors.SSLError) -> Meaning:
    if "certificate verify failed" in str(exc).lower().replace("_", " "):
        return Meaning(PermanentError, "Vault's certificate is not trusted; is SOFTMAN_VAULT__CA_FILE the right one?")
    return _CUT_OFF


def _errors(exc: vault_errors.VaultError) -> str:
    errors = exc.errors or ()
    return errors if isinstance(errors, str) else " ".join(errors)


VAULT_ERRORS: Table = {
    vault_errors.VaultError: _NOT_VAULT,
    vault_errors.UnexpectedError: Meaning(ServiceUnavailable, "Vault gives an answer that is not expected here"),
    vault_errors.InvalidRequest: _bad_request,
    vault_errors.Unauthorized: _REFUSED,
    vault_errors.Forbidden: _REFUSED,
    vault_errors.InvalidPath: Meaning(NotFound, "Vault has nothing at that path; is the mount enabled?"),
    vault_errors.UnsupportedOperation: Meaning(PermanentError, "Vault does not support it at that path"),
    vault_errors.ParamValidationError: Meaning(InvalidInput, "hvac does not accept the parameters"),
    vault_errors.PreconditionFailed: Meaning(ServiceUnavailable, "this Vault node has not caught up yet"),
    vault_errors.RateLimitExceeded: Meaning(ServiceUnavailable, "Vault limits the rate of requests"),
    vault_errors.InternalServerError: Meaning(ServiceUnavailable, "Vault reports a fault of its own"),
    vault_errors.VaultNotInitialized: Meaning(ServiceUnavailable, "Vault is not initialised; see its administrator"),
    vault_errors.VaultDown: _unavailable,
    vault_errors.BadGateway: Meaning(ServiceUnavailable, "the gateway before Vault does not reach it"),
    http_errors.RequestException: _NO_ANSWER,
    http_errors.ConnectionError: _NO_ANSWER,
    http_errors.ProxyError: _NO_ANSWER,
    http_errors.SSLError: _tls,
    http_errors.Timeout: Meaning(ServiceUnavailable, f"Vault did not answer within {REQUEST_SECONDS} s"),
    http_errors.ConnectTimeout: Meaning(ServiceUnavailable, f"Vault did not accept within {REQUEST_SECONDS} s"),
    http_errors.ReadTimeout: Meaning(ServiceUnavailable, f"Vault did not answer within {REQUEST_SECONDS} s"),
    http_errors.HTTPError: _NOT_VAULT,
    http_errors.InvalidJSONError: _NOT_VAULT,
    http_errors.JSONDecodeError: _NOT_VAULT,
    http_errors.TooManyRedirects: _NOT_VAULT,
    http_errors.ContentDecodingError: _NOT_VAULT,
    http_errors.ChunkedEncodingError: _CUT_OFF,
    http_errors.StreamConsumedError: _CUT_OFF,
    http_errors.RetryError: _NO_ANSWER,
    http_errors.UnrewindableBodyError: _CUT_OFF,
    http_errors.URLRequired: _BAD_ADDRESS,
    http_errors.MissingSchema: _BAD_ADDRESS,
    http_errors.InvalidSchema: _BAD_ADDRESS,
    http_errors.InvalidURL: _BAD_ADDRESS,
    http_errors.InvalidProxyURL: _BAD_ADDRESS,
    http_errors.InvalidHeader: Meaning(InvalidInput, "the token has characters that no header can hold"),
}
"""Every exception of hvac, and of requests under it."""


def connect(settings: VaultSettings, token: str = "") -> hvac.Client:
    """A client that always verifies certificates, has bounded times, and takes nothing from environment or home.

    hvac would otherwise read ``VAULT_TOKEN`` and ``~/.vault-token``, requests proxies and ``.netrc``: credentials go
    to the address in the settings and nowhere else.

    Raises:
        InvalidInput: ``ca_file`` is set and no file.
    """
    if settings.ca_file is not None and not settings.ca_file.is_file():
        msg = f"SOFTMAN_VAULT__CA_FILE names {settings.ca_file}, which is no file"
        raise InvalidInput(msg)
    session = requests.Session()
    session.trust_env = False
    session.verify = str(settings.ca_file) if settings.ca_file is not None else True
    return hvac.Client(
        url=settings.address, token=token, verify=session.verify, timeout=REQUEST_SECONDS, session=session
    )


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
        credential = self._credential()
        name = f"SOFTMAN_VAULT__{self._role.name}"
        secret_id = credential.secret_id.get_secret_value()
        if not credential.role_id or not secret_id:
            msg = f"no login to Vault as {self._role.value}: set {name}__ROLE_ID and {name}__SECRET_ID"
            raise Forbidden(msg)
        try:
            answer = client.auth.approle.login(credential.role_id, secret_id, use_token=False)
        except (vault_errors.InvalidRequest, vault_errors.Forbidden):
            msg = (
                f"no login to Vault as {self._role.value}: it does not accept {name}__ROLE_ID and {name}__SECRET_ID; "
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

    def _credential(self) -> VaultCredential:
        return self._settings.stratum0 if self._role is Role.STRATUM0 else self._settings.publisher


def _data(answer: Any) -> dict[str, Any]:
    """The ``data`` of an answer; hvac hands out the bare response when it is no JSON with status 200."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, dict):
        msg = "the answer is not Vault's; is SOFTMAN_VAULT__ADDRESS right?"
        raise ServiceUnavailable(msg)
    return data
