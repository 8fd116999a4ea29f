"""The policies that are shipped, for the default mounts and for others."""

import pytest

from softman.adapters.vault_layout import Role
from softman.adapters.vault_policies import policy_text
from softman.settings import VaultSettings
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
