"""Sets Vault up for softman with an administrator's token: mounts, policies, AppRoles, the login of users.

May be run again any time, and changes only what is not yet so.
"""

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import hvac
from hvac import exceptions as vault_errors
from pydantic import SecretStr

from softman.adapters.errormap import translated
from softman.adapters.vault_change import Change, changed_policy
from softman.adapters.vault_connection import VAULT_ERRORS, connect
from softman.adapters.vault_layout import APPROLE_MOUNT, Role
from softman.adapters.vault_policies import policy_name, policy_text
from softman.adapters.vault_users import set_up_users
from softman.errors import InvalidInput, ServiceUnavailable
from softman.settings import VaultSettings

TOKEN_TTL = 3600
"""Seconds a login lasts; workers renew at half of it."""
TOKEN_MAX_TTL = 24 * 3600
"""Seconds after which even a renewed token ends and a new login follows."""
MOUNT_READY_SECONDS = 30.0
"""How long a new KV version 2 mount may take until it answers; a real server prepares it in the background."""

_ROLE_SETTINGS: dict[str, Any] = {
    "bind_secret_id": True,
    "secret_id_num_uses": 0,
    "secret_id_ttl": 0,
    "token_ttl": TOKEN_TTL,
    "token_max_ttl": TOKEN_MAX_TTL,
}


@dataclass(frozen=True, slots=True)
class RoleAccess:
    """The credentials of one AppRole; printing it masks the secret id.

    Attributes:
        role: which.
        role_id: no secret.
        secret_id: the secret id, or the token that it is wrapped in.
        accessor: what the secret id can be revoked by; empty for a wrapped one.
        wrapped: seconds within which the wrapping token has to be used; 0 for a plain secret id.
    """

    role: Role
    role_id: str
    secret_id: SecretStr
    accessor: str = ""
    wrapped: int = 0


@dataclass(frozen=True, slots=True)
class VaultSetup:
    """What a run changed, or would change; and the new credentials, none after a dry run."""

    changes: tuple[Change, ...]
    access: tuple[RoleAccess, ...] = field(default=())


def set_up_vault(
    settings: VaultSettings,
    admin_token: SecretStr,
    *,
    dry_run: bool = False,
    secret_ids: Collection[Role] | None = tuple(Role),
    wrap: int = 0,
) -> VaultSetup:
    """Make Vault fit for softman, changing only what is not yet so.

    Args:
        settings: address, namespace, mounts, and how users log in.
        admin_token: may do what ``policies/setup.hcl`` lists.
        dry_run: change nothing, list what would be changed.
        secret_ids: the roles to make a new secret id for; None for those that have none.
        wrap: seconds that the new secret ids stay wrapped; 0 hands them out as they are.

    Raises:
        Forbidden: the token may not.
        InvalidInput: something of another kind is at a mount's place, or a mount's name is not possible.
        ServiceUnavailable: Vault is sealed, down or out of reach.
    """
    client = connect(settings, admin_token.get_secret_value())
    try:
        with translated(VAULT_ERRORS, "set up Vault for softman"):
            changes = tuple(_changes(client, settings, apply=not dry_run))
            if dry_run:
                return VaultSetup(changes)
            wanted = [role for role in Role if (_has_none(client, role) if secret_ids is None else role in secret_ids)]
            return VaultSetup(changes, tuple(_access(client, role, wrap) for role in wanted))
    finally:
        client.adapter.close()


def _changes(client: hvac.Client, settings: VaultSettings, *, apply: bool) -> Iterator[Change]:
    """Yield each change, after it was made when ``apply``."""
    for mount in dict.fromkeys((settings.mount, settings.own_mount)):
        yield from _mount(client, mount, apply=apply)
    system: Any = client.sys  # its stubs leave the reading methods untyped
    enabled = f"{APPROLE_MOUNT}/" in system.list_auth_methods()["data"]
    if not enabled:
        if apply:
            system.enable_auth_method("approle", path=APPROLE_MOUNT)
        yield Change(f"enable the auth method approle at {APPROLE_MOUNT}/")
    for role in Role:
        yield from changed_policy(client, policy_name(role), policy_text(role, settings), apply=apply)
        yield from _role(client, role, apply=apply)
    if settings.users.issuer:
        yield from set_up_users(client, settings, apply=apply)


def _mount(client: hvac.Client, mount: str, *, apply: bool) -> Iterator[Change]:
    system: Any = client.sys
    found = system.list_mounted_secrets_engines()["data"].get(f"{mount}/")
    if found is None:
        if apply:
            system.enable_secrets_engine("kv", path=mount, options={"version": "2"})
            _wait_for(client, mount)
        yield Change(f"enable the secrets engine kv version 2 at {mount}/")
    elif found["type"] != "kv" or (found.get("options") or {}).get("version") != "2":
        msg = f"the mount {mount}/ in Vault is not of type kv version 2; set SOFTMAN_VAULT__MOUNT or __OWN_MOUNT"
        raise InvalidInput(msg)


def _wait_for(client: hvac.Client, mount: str) -> None:
    deadline = time.monotonic() + MOUNT_READY_SECONDS
    while True:
        try:
            client.secrets.kv.v2.read_configuration(mount_point=mount)
        except vault_errors.InvalidRequest as exc:
            if time.monotonic() > deadline:
                msg = f"the new mount {mount}/ in Vault was not ready within {MOUNT_READY_SECONDS:.0f} s"
                raise ServiceUnavailable(msg) from exc
            time.sleep(0.1)
        else:
            return


def _role(client: hvac.Client, role: Role, *, apply: bool) -> Iterator[Change]:
    wanted = {**_ROLE_SETTINGS, "token_policies": [policy_name(role)]}
    try:
        current = client.auth.approle.read_role(role.value, mount_point=APPROLE_MOUNT)["data"]
    except vault_errors.InvalidPath:
        current = None
    if current is None or any(current.get(name) != value for name, value in wanted.items()):
        if apply:
            client.auth.approle.create_or_update_approle(role.value, mount_point=APPROLE_MOUNT, **wanted)
        yield Change(f"{'create' if current is None else 'change'} the AppRole {role.value}")


def _has_none(client: hvac.Client, role: Role) -> bool:
    try:
        found = client.auth.approle.list_secret_id_accessors(role.value, mount_point=APPROLE_MOUNT)
    except vault_errors.InvalidPath:
        return True
    return not found["data"]["keys"]


def _access(client: hvac.Client, role: Role, wrap: int) -> RoleAccess:
    approle = client.auth.approle
    role_id = approle.read_role_id(role.value, mount_point=APPROLE_MOUNT)["data"]["role_id"]
    made = approle.generate_secret_id(role.value, mount_point=APPROLE_MOUNT, wrap_ttl=str(wrap) if wrap else None)
    if wrap:
        return RoleAccess(role, role_id, SecretStr(made["wrap_info"]["token"]), wrapped=wrap)
    return RoleAccess(role, role_id, SecretStr(made["data"]["secret_id"]), made["data"]["secret_id_accessor"])
