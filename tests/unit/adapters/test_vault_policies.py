"""The policies that are shipped, for the default mounts and for others."""

import pytest

from softman.adapters.vault_layout import Role
from softman.adapters.vault_policies import group_policy_text, policy_text, setup_policy_text, user_policy_text
from softman.settings import VaultSettings, VaultUserSettings
from softman.standalone.vault_standin.policy import Acl, Capability, parse_policy


def _acl(role: Role, settings: VaultSettings) -> Acl:
    return Acl(parse_policy(policy_text(role, settings)))


@pytest.mark.parametrize(("owners", "own"), [("secrets", "softman"), ("kv/site", "kv/softman"), ("softman", "secrets")])
def test_policies_follow_the_mounts(owners: str, own: str) -> None:
    settings = VaultSettings(mount=owners, own_mount=own)
    stratum0, publisher = _acl(Role.STRATUM0, settings), _acl(Role.PUBLISHER, settings)
    assert stratum0.allows(f"{own}/data/signing/x", Capability.CREATE)
    assert stratum0.allows(f"{owners}/data/alice/cvmfs_keys/x", Capability.UPDATE)
    assert not stratum0.allows(f"{owners}/data/alice/other", Capability.READ)
    assert publisher.capabilities(f"{owners}/data/alice/cvmfs_keys/x") == {Capability.READ}
    assert publisher.capabilities(f"{own}/data/signing/x") == frozenset()


def test_a_publisher_writes_nowhere() -> None:
    harmless = {Capability.READ, Capability.LIST, Capability.DENY}
    for rule in parse_policy(policy_text(Role.PUBLISHER, VaultSettings())):
        assert rule.capabilities <= harmless, rule.pattern


def test_nothing_of_an_owner_is_deleted() -> None:
    for rule in parse_policy(policy_text(Role.STRATUM0, VaultSettings())):
        if rule.pattern.startswith("secrets/"):
            assert Capability.DELETE not in rule.capabilities


OTHER = VaultSettings(mount="kv", own_mount="own", users=VaultUserSettings(mount="oidc/site"))


def test_the_policy_of_users_names_the_method_and_the_mount() -> None:
    text = user_policy_text(OTHER, "auth_jwt_1")
    assert 'path "kv/data/{{identity.entity.aliases.auth_jwt_1.name}}/cvmfs_keys/*"' in text
    assert 'path "secrets/' not in text


def test_the_policy_of_a_group_opens_its_folder_alone() -> None:
    acl = Acl(parse_policy(group_policy_text(OTHER, "bioteam")))
    assert acl.capabilities("kv/data/groups/bioteam/cvmfs_keys/x") == {Capability.READ}
    assert acl.capabilities("kv/data/groups/bioteam2/cvmfs_keys/x") == frozenset()


def test_the_policy_of_the_setup_reads_no_key() -> None:
    acl = Acl(parse_policy(setup_policy_text(OTHER)))
    assert acl.allows("sys/mounts/own", Capability.UPDATE)
    assert acl.allows("sys/auth/oidc/site", Capability.SUDO)
    assert acl.allows("auth/oidc/site/role/softman-user", Capability.UPDATE)
    for path in ("own/data/signing/x", "kv/data/alice/cvmfs_keys/x", "sys/mounts/secrets", "sys/policies/acl/default"):
        assert acl.capabilities(path) == frozenset(), path


@pytest.mark.parametrize("role", Role)
def test_only_stratum0_opens_signing_keys(role: Role) -> None:
    acl = _acl(role, VaultSettings())
    for path in ("softman/data/signing/x", "softman/data/signing-masters/domain/x"):
        assert acl.allows(path, Capability.READ) is (role is Role.STRATUM0)
