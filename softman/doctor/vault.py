"""Vault: whether it is unsealed, each login that this process has, what those may do, and its clock."""

from collections.abc import Iterator
from typing import Any

from softman.adapters.errormap import translated
from softman.adapters.vault_connection import VAULT_ERRORS, connect
from softman.adapters.vault_credentials import credential
from softman.adapters.vault_layout import REPOSITORIES, Role
from softman.adapters.vault_session import VaultSession
from softman.doctor.clocks import compared
from softman.doctor.finding import Finding, broken, fine, unknown
from softman.errors import Forbidden, SoftmanError
from softman.names import RepositoryName
from softman.settings import Settings

AREA = "vault"
_SET_UP = "softman vault setup, with the token of an administrator of Vault"


def check_vault(settings: Settings) -> Iterator[Finding]:
    """Look at Vault, then log in with every AppRole whose credential is set here."""
    try:
        yield from _server(settings)
    except SoftmanError as exc:
        yield broken(AREA, str(exc), "is it running and unsealed, and is SOFTMAN_VAULT__ADDRESS right?")
        return
    roles = [role for role in Role if credential(settings.vault, role).role_id]
    if not roles:
        yield unknown(
            AREA, "no AppRole is set here, so no right can be looked at", "set SOFTMAN_VAULT__<ROLE>__ROLE_ID"
        )
    for role in roles:
        yield from _role(settings, role)


def some_bucket(settings: Settings) -> str:
    """The bucket of any repository; empty when there is none, or none can be known here."""
    for role in Role:
        if credential(settings.vault, role).role_id:
            session = VaultSession(settings.vault, role)
            try:
                names = session.names(settings.vault.own_mount, REPOSITORIES, "the registry")
            except SoftmanError:
                return ""
            finally:
                session.close()
            return RepositoryName.parse(names[0]).bucket if names else ""
    return ""


def _server(settings: Settings) -> Iterator[Finding]:
    client = connect(settings.vault)
    try:
        with translated(VAULT_ERRORS, "look at Vault"):
            found: Any = client.sys.read_health_status(method="GET")
            health = found if isinstance(found, dict) else found.json()
    finally:
        client.adapter.close()
    if not health.get("initialized"):
        yield broken(AREA, "Vault is not initialised", "vault operator init")
    elif health.get("sealed"):
        yield broken(AREA, "Vault is sealed", "vault operator unseal, with as many key shares as it wants")
    else:
        yield fine(AREA, f"Vault {health.get('version', '')} is unsealed")
        if health.get("server_time_utc"):
            yield compared(AREA, "Vault", float(health["server_time_utc"]))


def _role(settings: Settings, role: Role) -> Iterator[Finding]:
    session = VaultSession(settings.vault, role)
    try:
        names = session.names(settings.vault.own_mount, REPOSITORIES, "the registry")
    except Forbidden as exc:
        yield broken(AREA, str(exc), _SET_UP)
    except SoftmanError as exc:
        yield broken(
            AREA, str(exc), f"are the mounts {settings.vault.mount} and {settings.vault.own_mount} there? {_SET_UP}"
        )
    else:
        yield fine(AREA, f"the AppRole {role.value} reads the registry: {len(names):,} repositories")
    finally:
        session.close()
