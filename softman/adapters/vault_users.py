"""Users read their own keys straight from Vault: the JWT auth method, a templated policy, and one policy a group.

The subject of a login becomes the name of an alias, which the policy of all users has in its path. A policy cannot say
"of all my groups": so each group that has keys gets one, which an external identity group gives to its members. No
process of softman may write policies (ADR 0009): a group is added by running the set-up again.
"""

from collections.abc import Iterator
from typing import Any

import hvac
from hvac import exceptions as vault_errors

from softman.adapters.vault_change import Change, changed_object, changed_policy, read_object
from softman.adapters.vault_policies import GROUP_POLICIES, USER_POLICY, group_policy_text, user_policy_text
from softman.errors import InvalidInput
from softman.names import check_label
from softman.settings import VaultSettings, VaultUserSettings

USER_TTL = 3600
"""Seconds that a user's token lasts; it cannot be renewed beyond that."""
_UNKNOWN = "ACCESSOR-OF-THE-NEW-METHOD"


def set_up_users(client: hvac.Client, settings: VaultSettings, *, apply: bool) -> Iterator[Change]:
    """Let users in; each change, after it was made when ``apply``.

    Raises:
        InvalidInput: there is no audience, or the place of the auth method is taken by another kind.
    """
    users = settings.users
    if not users.audiences:
        msg = "SOFTMAN_VAULT__USERS__AUDIENCES is empty: tokens made for other services would be accepted"
        raise InvalidInput(msg)
    accessor = _accessor(client, users.mount)
    if accessor is None:
        yield Change(f"enable the auth method jwt at {users.mount}/")
        if apply:
            system: Any = client.sys
            system.enable_auth_method("jwt", path=users.mount)
            accessor = _accessor(client, users.mount)
    if accessor is None:  # a dry run
        yield Change(f"make the configuration of {users.mount}/")
        yield Change(f"make the role {USER_POLICY} of {users.mount}/")
    else:
        config = f"auth/{users.mount}/config"
        yield from changed_object(client, config, _config(users), f"the configuration of {users.mount}/", apply=apply)
        role = f"auth/{users.mount}/role/{USER_POLICY}"
        yield from changed_object(client, role, _role(users), f"the role {USER_POLICY} of {users.mount}/", apply=apply)
    text = user_policy_text(settings, accessor or _UNKNOWN)
    yield from changed_policy(client, USER_POLICY, text, apply=apply)
    for group in _groups(client, settings.mount):
        yield from _group(client, settings, group, accessor, apply=apply)


def _accessor(client: hvac.Client, mount: str) -> str | None:
    system: Any = client.sys
    found = system.list_auth_methods()["data"].get(f"{mount}/")
    if found is None:
        return None
    if found["type"] != "jwt":
        msg = f"the auth method at {mount}/ in Vault is not jwt; set SOFTMAN_VAULT__USERS__MOUNT"
        raise InvalidInput(msg)
    return str(found["accessor"])


def _config(users: VaultUserSettings) -> dict[str, Any]:
    """Where the issuer's signing keys come from: exactly one source is possible."""
    authority = users.ca_file.read_text("utf-8") if users.ca_file is not None else ""
    found: dict[str, Any] = {"bound_issuer": users.issuer}
    if users.public_keys:
        found["jwt_validation_pubkeys"] = list(users.public_keys)
    elif users.jwks_url:
        found |= {"jwks_url": users.jwks_url, "jwks_ca_pem": authority}
    else:
        found |= {"oidc_discovery_url": users.issuer, "oidc_discovery_ca_pem": authority}
    return found


def _role(users: VaultUserSettings) -> dict[str, Any]:
    return {
        "role_type": "jwt",
        "user_claim": "sub",
        "groups_claim": users.groups_claim,
        "bound_audiences": sorted(users.audiences),
        "token_policies": [USER_POLICY],
        "token_ttl": USER_TTL,
        "token_max_ttl": USER_TTL,
    }


def _groups(client: hvac.Client, mount: str) -> list[str]:
    """The groups that have keys; what is no group's name is none of ours."""
    try:
        found: Any = client.secrets.kv.v2.list_secrets(path="groups", mount_point=mount)
    except vault_errors.InvalidPath:
        return []
    names = (str(name).removesuffix("/") for name in found["data"]["keys"])
    return [name for name in names if _is_label(name)]


def _is_label(name: str) -> bool:
    try:
        check_label(name, "")
    except InvalidInput:
        return False
    return True


def _group(
    client: hvac.Client, settings: VaultSettings, group: str, accessor: str | None, *, apply: bool
) -> Iterator[Change]:
    """The policy of a group, and the identity group that gives it to those whose login names it."""
    name = GROUP_POLICIES + group
    yield from changed_policy(client, name, group_policy_text(settings, group), apply=apply)
    path = f"identity/group/name/{name}"
    wanted = {"type": "external", "policies": [name]}
    yield from changed_object(client, path, wanted, f"the identity group {name}", apply=apply)
    found = read_object(client, path)
    alias = (found or {}).get("alias") or {}
    if alias.get("name") == group and alias.get("mount_accessor") == accessor:
        return
    if apply and found is not None:
        body = {"name": group, "mount_accessor": accessor, "canonical_id": found["id"]}
        client.adapter.post("/v1/identity/group-alias", json=body)
    yield Change(f"let logins that name the group {group} into {name}")
