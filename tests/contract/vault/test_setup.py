"""Setting Vault up: what a run changes, that another changes nothing, and what the roles may do afterwards."""

from collections.abc import Callable
from typing import Any

import hvac
import pytest
from hvac import exceptions as vault_errors
from pydantic import SecretStr

from softman.adapters.vault_change import Change
from softman.adapters.vault_layout import Role
from softman.adapters.vault_policies import policy_name
from softman.adapters.vault_setup import set_up_vault
from softman.errors import Forbidden, InvalidInput, ServiceUnavailable
from softman.settings import VaultSettings

Connect = Callable[[str, str], hvac.Client]


@pytest.fixture
def settings(server: Any, unique: str) -> VaultSettings:
    found = server.settings(mount=f"s-{unique}", own_mount=f"o-{unique}")
    assert isinstance(found, VaultSettings)
    return found


@pytest.fixture
def admin(server: Any) -> SecretStr:
    return SecretStr(server.root_token)


def test_a_dry_run_lists_and_changes_nothing(settings: VaultSettings, admin: SecretStr, root: hvac.Client) -> None:
    system: Any = root.sys
    before = system.list_mounted_secrets_engines()["data"]
    planned = set_up_vault(settings, admin, dry_run=True)
    assert Change(f"enable the secrets engine kv version 2 at {settings.mount}/") in planned.changes
    assert planned.access == ()
    assert system.list_mounted_secrets_engines()["data"] == before
    assert set_up_vault(settings, admin, dry_run=True) == planned
    assert set_up_vault(settings, admin).changes == planned.changes


def test_a_second_run_changes_nothing_and_gives_fresh_secret_ids(settings: VaultSettings, admin: SecretStr) -> None:
    first = set_up_vault(settings, admin)
    second = set_up_vault(settings, admin)
    assert second.changes == ()
    assert [access.role_id for access in first.access] == [access.role_id for access in second.access]
    assert [access.role for access in second.access] == list(Role)
    secret_ids = {access.secret_id.get_secret_value() for access in (*first.access, *second.access)}
    assert len(secret_ids) == 2 * len(Role)
    assert not any(secret_id in repr((first, second)) for secret_id in secret_ids)


def test_what_was_changed_by_hand_is_put_right(settings: VaultSettings, admin: SecretStr, root: hvac.Client) -> None:
    set_up_vault(settings, admin)
    root.sys.create_or_update_acl_policy(policy_name(Role.PUBLISHER), 'path "*" { capabilities = ["read"] }')
    root.auth.approle.create_or_update_approle("stratum0", token_policies=["root"], token_ttl="1h")
    assert {change.what for change in set_up_vault(settings, admin).changes} == {
        "change the policy softman-publisher",
        "change the AppRole stratum0",
    }
    assert set_up_vault(settings, admin).changes == ()


@pytest.mark.parametrize(
    ("role", "path", "expected"),
    [
        (Role.STRATUM0, "{own}/data/signing/x", {"create", "read", "update"}),
        (Role.STRATUM0, "{own}/destroy/signing/x", {"create", "update"}),
        (Role.STRATUM0, "{own}/metadata/signing/x", {"deny"}),
        (Role.STRATUM0, "{own}/data/repositories/x", {"create", "read", "update"}),
        (Role.STRATUM0, "{own}/metadata/repositories/", {"list"}),
        (Role.STRATUM0, "{own}/config", {"deny"}),
        (Role.STRATUM0, "{owners}/data/alice/cvmfs_keys/x", {"create", "read", "update"}),
        (Role.STRATUM0, "{owners}/data/groups/bioteam/cvmfs_keys/x", {"create", "read", "update"}),
        (Role.STRATUM0, "{owners}/data/alice/other", {"deny"}),
        (Role.STRATUM0, "sys/mounts/x", {"deny"}),
        (Role.STRATUM0, "sys/policies/acl/softman-group-x", {"deny"}),
        (Role.PUBLISHER, "{own}/data/signing/x", {"deny"}),
        (Role.PUBLISHER, "{own}/data/signing-masters/x", {"deny"}),
        (Role.PUBLISHER, "{own}/metadata/signing/x", {"deny"}),
        (Role.PUBLISHER, "{own}/destroy/signing/x", {"deny"}),
        (Role.PUBLISHER, "{own}/data/repositories/x", {"read"}),
        (Role.PUBLISHER, "{own}/data/public/x", {"read"}),
        (Role.PUBLISHER, "{own}/metadata/repositories/", {"list"}),
        (Role.PUBLISHER, "{own}/delete/repositories/x", {"deny"}),
        (Role.PUBLISHER, "{owners}/data/alice/cvmfs_keys/x", {"read"}),
        (Role.PUBLISHER, "{owners}/data/groups/bioteam/cvmfs_keys/x", {"read"}),
        (Role.PUBLISHER, "{owners}/data/groups/bioteam/other", {"deny"}),
        (Role.PUBLISHER, "{owners}/data/alice/refresh_token", {"deny"}),
        (Role.DASHBOARD, "{own}/data/repositories/x", {"read"}),
        (Role.DASHBOARD, "{own}/metadata/repositories/", {"list"}),
        (Role.DASHBOARD, "{own}/data/public/x", {"read"}),
        (Role.DASHBOARD, "{own}/data/signing/x", {"deny"}),
        (Role.DASHBOARD, "{owners}/data/alice/cvmfs_keys/x", {"deny"}),
        (Role.DASHBOARD, "{owners}/data/groups/bioteam/cvmfs_keys/x", {"deny"}),
        (Role.ADMIN, "{own}/data/repositories/x", {"read"}),
        (Role.ADMIN, "{own}/metadata/signing/x", {"read", "list"}),
        (Role.ADMIN, "{own}/data/signing/x", {"deny"}),
        (Role.ADMIN, "{owners}/data/alice/cvmfs_keys/x", {"deny"}),
        (Role.ADMIN, "{owners}/metadata/alice/cvmfs_keys/x", {"read", "list"}),
        (Role.ADMIN, "auth/approle/role/stratum0/secret-id", {"list"}),
        (Role.ADMIN, "auth/approle/role/stratum0/secret-id-accessor/destroy", {"create", "update"}),
        (Role.ADMIN, "auth/approle/role/stratum0", {"deny"}),
        (Role.ADMIN, "auth/approle/role/stratum0/role-id", {"deny"}),
        (Role.ADMIN, "sys/policies/acl/softman-admin", {"deny"}),
    ],
)
def test_the_roles_may_do_just_this(
    server: Any, settings: VaultSettings, connect: Connect, *, role: Role, path: str, expected: set[str]
) -> None:
    access = {found.role: found for found in set_up_vault(settings, SecretStr(server.root_token)).access}[role]
    client = connect(server.address, "")
    client.auth.approle.login(access.role_id, access.secret_id.get_secret_value())
    path = path.format(own=settings.own_mount, owners=settings.mount)
    found: Any = client.adapter.post("/v1/sys/capabilities-self", json={"paths": [path]})
    assert set(found["data"][path]) == expected


def test_signing_keys_stay_closed_even_beside_a_wide_policy(
    server: Any, settings: VaultSettings, admin: SecretStr, connect: Connect, root: hvac.Client
) -> None:
    set_up_vault(settings, admin)
    wide = f'path "{settings.own_mount}/*" {{ capabilities = ["read", "list"] }}'
    root.sys.create_or_update_acl_policy(f"wide-{settings.own_mount}", wide)
    policies = [policy_name(Role.PUBLISHER), f"wide-{settings.own_mount}"]
    token = root.auth.token.create(policies=policies, ttl="5m")["auth"]["client_token"]
    client = connect(server.address, token)
    for path in ("data/signing/x", "metadata/signing/x"):
        with pytest.raises(vault_errors.Forbidden):
            client.adapter.get(f"/v1/{settings.own_mount}/{path}")


def test_a_token_that_may_not(settings: VaultSettings) -> None:
    with pytest.raises(Forbidden, match="cannot set up Vault for softman"):
        set_up_vault(settings, SecretStr("wrong-token"))


def test_a_server_that_is_not_there(settings: VaultSettings, admin: SecretStr) -> None:
    nowhere = settings.model_copy(update={"address": "http://127.0.0.1:1"})
    with pytest.raises(ServiceUnavailable):
        set_up_vault(nowhere, admin)


@pytest.mark.parametrize("name", ["a b", "", 'x" {', "../x", "*", "a+"])
def test_a_mount_name_that_could_mean_more(settings: VaultSettings, admin: SecretStr, name: str) -> None:
    with pytest.raises(InvalidInput):
        set_up_vault(settings.model_copy(update={"own_mount": name}), admin, dry_run=True)
