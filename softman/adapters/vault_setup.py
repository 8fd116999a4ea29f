"""Sets Vault up for softman with an administrator's token: mounts, policies and AppRoles. May be run again any time.

The policies are the files in ``policies/``; they name the default mounts ``secrets`` and ``softman`` and are rewritten
when the settings name others. Secret ids are made anew on every run, since Vault never shows an old one again.
"""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import hvac
from hvac import exceptions as vault_errors
from pydantic import SecretStr

from softman.adapters.errormap import translated
from softman.adapters.vault_layout import Role
from softman.adapters.vault_session import VAULT_ERRORS, connect
from softman.errors import InvalidInput, ServiceUnavailable
from softman.settings import VaultSettings

AUTH_MOUNT = "approle"
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
_MOUNT_NAME = re.compile(r"[A-Za-z0-9_-]+(?:/[A-Za-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class RoleAccess:
    """The credentials of one AppRole; printing it masks the secret id."""

    role: Role
    role_id: str
    secret_id: SecretStr


@dataclass(frozen=True, slots=True)
class VaultSetup:
    """What a run changed, or would change, in words; and the credentials, none after a dry run."""

    changes: tuple[str, ...]
    access: tuple[RoleAccess, ...] = field(default=())


def policy_name(role: Role) -> str:
    """The name of the role's policy in Vault, which may also serve others: hence the prefix."""
    return f"softman-{role.value}"


def policy_text(role: Role, settings: VaultSettings) -> str:
    """The role's policy for the mounts in the settings.

    Raises:
        InvalidInput: a mount's name could mean something else inside a policy.
    """
    mounts = {"secrets": settings.mount, "softman": settings.own_mount}
    for mount in mounts.values():
        if not _MOUNT_NAME.fullmatch(mount):
            msg = f"{mount!r} cannot be the name of a mount: letters, digits, - and _ are possible"
            raise InvalidInput(msg)
    text = resources.files("softman.adapters").joinpath("policies", f"{role.value}.hcl").read_text("utf-8")
    return re.sub(r'(?<=^path ")(secrets|softman)(?=/)', lambda match: mounts[match[1]], text, flags=re.MULTILINE)


def set_up_vault(settings: VaultSettings, admin_token: SecretStr, *, dry_run: bool = False) -> VaultSetup:
    """Make Vault fit for softman, changing only what is not yet so.

    Args:
        settings: address and mounts.
        admin_token: may manage mounts, auth methods, policies and the AppRoles.
        dry_run: change nothing, list what would be changed.

    Returns:
        The changes in words, and unless ``dry_run`` the role ids with fresh secret ids.

    Raises:
        Forbidden: the token may not.
        InvalidInput: something of another kind is at a mount's place, or a mount's name is not possible.
        ServiceUnavailable: Vault is sealed, down or out of reach.
    """
    client = connect(settings, admin_token.get_secret_value())
    try:
        with translated(VAULT_ERRORS, "set up Vault for softman"):
            changes = tuple(_changes(client, settings, apply=not dry_run))
            return VaultSetup(changes, () if dry_run else tuple(_access(client, role) for role in Role))
    finally:
        client.adapter.close()


def _changes(client: hvac.Client, settings: VaultSettings, *, apply: bool) -> Iterator[str]:
    """Yield each change in words, after it was made when ``apply``."""
    for mount in dict.fromkeys((settings.mount, settings.own_mount)):
        yield from _mount(client, mount, apply=apply)
    system: Any = client.sys  # its stubs leave the reading methods untyped
    if f"{AUTH_MOUNT}/" not in system.list_auth_methods()["data"]:
        if apply:
            system.enable_auth_method("approle", path=AUTH_MOUNT)
        yield f"enable the auth method approle at {AUTH_MOUNT}/"
    for role in Role:
        yield from _policy(client, role, settings, apply=apply)
        yield from _role(client, role, apply=apply)


def _mount(client: hvac.Client, mount: str, *, apply: bool) -> Iterator[str]:
    system: Any = client.sys
    found = system.list_mounted_secrets_engines()["data"].get(f"{mount}/")
    if found is None:
        if apply:
            system.enable_secrets_engine("kv", path=mount, options={"version": "2"})
            _wait_for(client, mount)
        yield f"enable the secrets engine kv version 2 at {mount}/"
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


def _policy(client: hvac.Client, role: Role, settings: VaultSettings, *, apply: bool) -> Iterator[str]:
    name = policy_name(role)
    text = policy_text(role, settings)
    system: Any = client.sys
    try:
        current = system.read_acl_policy(name)["data"]["policy"]
    except vault_errors.InvalidPath:
        current = None
    if current is None or current.strip() != text.strip():
        if apply:
            system.create_or_update_acl_policy(name, text)
        yield f"{'write' if current is None else 'change'} the policy {name}"


def _role(client: hvac.Client, role: Role, *, apply: bool) -> Iterator[str]:
    wanted = {**_ROLE_SETTINGS, "token_policies": [policy_name(role)]}
    try:
        current = client.auth.approle.read_role(role.value, mount_point=AUTH_MOUNT)["data"]
    except vault_errors.InvalidPath:
        current = None
    if current is None or any(current.get(name) != value for name, value in wanted.items()):
        if apply:
            client.auth.approle.create_or_update_approle(role.value, mount_point=AUTH_MOUNT, **wanted)
        yield f"{'create' if current is None else 'change'} the AppRole {role.value}"


def _access(client: hvac.Client, role: Role) -> RoleAccess:
    role_id = client.auth.approle.read_role_id(role.value, mount_point=AUTH_MOUNT)["data"]["role_id"]
    made = client.auth.approle.generate_secret_id(role.value, mount_point=AUTH_MOUNT)["data"]
    return RoleAccess(role, role_id, SecretStr(made["secret_id"]))
