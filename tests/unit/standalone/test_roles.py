"""Each role gets what it needs and no secret of another."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from softman.errors import InvalidInput
from softman.settings import load_settings
from softman.standalone import roles
from softman.standalone.listeners import Dashboard
from softman.standalone.rgw import S3Keys

SECRETS = {
    "reader-secret": {"publisher", "admin"},
    "connector-secret": {"connector", "admin"},
    "stratum0-secret-id": {"stratum0", "commit", "admin"},
    "publisher-secret-id": {"publisher", "admin"},
    "dashboard-secret-id": {"dashboard", "admin"},
    "admin-secret-id": {"admin"},
    "uploader-secret": {"dashboard", "admin"},
    "push-secret": {"connector", "admin"},
    "provider-secret": {"dashboard"},
    **{f"{role}-{server}-secret": {role} for role in roles.ROLES for server in ("amqp", "redis")},
}


@dataclass(frozen=True)
class Site:
    directory: Path = Path("/srv/stack")
    domain: str = "example.org"
    s3_endpoint: str = "http://127.0.0.1:3"
    push_endpoint: str = "amqp://rgw:push-secret@127.0.0.1:1"
    web_url: str = "http://127.0.0.1:4/cvmfs"
    storage_url: str = "file:///srv/stack/www/cvmfs"
    vault_address: str = "http://127.0.0.1:5"
    own_settings: Mapping[str, str] = field(default_factory=dict)
    dashboard: Dashboard | None = field(default=Dashboard(6, 7, "provider-secret"))

    def broker_url(self, role: str) -> str:
        return f"amqp://softman-{role}:{role}-amqp-secret@127.0.0.1:1//"

    def cache_url(self, role: str) -> str:
        return f"redis://softman-{role}:{role}-redis-secret@127.0.0.1:2/0"

    def vault_role(self, role: str) -> tuple[str, str]:
        return f"{role}-role-id", f"{role}-secret-id"

    def s3_credentials(self, user: str) -> S3Keys:
        return S3Keys(f"{user}-access", f"{user}-secret")


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_role_has_only_its_own_secrets(role: str) -> None:
    values = " ".join(roles.environment(Site(), role).values())
    assert {secret for secret in SECRETS if secret in values} == {s for s, who in SECRETS.items() if role in who}


@pytest.mark.parametrize("role", roles.ROLES)
def test_the_settings_understand_every_variable(role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site()
    for name, value in roles.environment(site, role).items():
        monkeypatch.setenv(name, value)
    from_environment = load_settings()
    monkeypatch.undo()
    assert roles.settings(site, role) == from_environment
    assert from_environment.broker_url.get_secret_value() == site.broker_url(role)


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_bucket_of_repositories_has_a_credential_of_each_side(role: str) -> None:
    site = Site(storage_url="s3://softman-repositories")
    values = " ".join(roles.environment(site, role).values())
    sides = {"storing-secret": {"stratum0", "commit", "admin"}, "staging-secret": {"publisher", "admin"}}
    assert {secret for secret in sides if secret in values} == {s for s, who in sides.items() if role in who}
    settings = roles.settings(site, role)
    assert (settings.cvmfs.storage == site.storage_url) == (role in {"stratum0", "commit", "publisher", "admin"})


def test_settings_carry_the_values() -> None:
    settings = roles.settings(Site(), "admin")
    assert settings.s3.connector.secret_key.get_secret_value() == "connector-secret"
    assert settings.s3.create_missing_users is True
    assert settings.vault.stratum0.role_id == "stratum0-role-id"
    assert settings.cvmfs.storage == "file:///srv/stack/www/cvmfs"


def test_the_dashboard_is_told_where_to_listen_and_whom_to_ask() -> None:
    own = roles.settings(Site(), "dashboard").dashboard
    assert (own.url, own.listen_port, own.provider.issuer) == ("http://127.0.0.1:6", 6, "http://127.0.0.1:7")
    assert own.provider.audiences == ("softman",)


@pytest.mark.parametrize("role", roles.ROLES)
def test_a_stack_may_have_settings_of_its_own(role: str) -> None:
    site = Site(own_settings={"SYNC__LEASE_SECONDS": "4", "RECONCILE_SECONDS": "20"})
    settings = roles.settings(site, role)
    assert (settings.sync.lease_seconds, settings.reconcile_seconds, settings.drain_seconds) == (4, 20, 5)


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(InvalidInput, match="'root' is no role; there are stratum0,"):
        roles.environment(Site(), "root")
