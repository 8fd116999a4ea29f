"""Who gets which settings: each role of ours has the addresses it talks to and only its own secrets.

Variables are those of ``softman.settings``. The role ``admin`` has everything: the command line of the person the stack
belongs to, and tests.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from softman.errors import InvalidInput
from softman.settings import Settings, load_settings
from softman.standalone.listeners import Dashboard
from softman.standalone.rgw import S3Keys

_PREFIX = "SOFTMAN_"


class Site(Protocol):
    """The running servers, as far as settings name them."""

    @property
    def directory(self) -> Path:
        """The stack's directory."""

    @property
    def domain(self) -> str:
        """The domain of the repositories."""

    @property
    def dashboard(self) -> Dashboard | None:
        """Where the dashboard listens, if it runs."""

    @property
    def own_settings(self) -> Mapping[str, str]:
        """Further settings of all roles, as variables without their prefix."""

    def broker_url(self, role: str) -> str:
        """The broker, with the password of a role's user."""

    def cache_url(self, role: str) -> str:
        """Redis, with the password of a role's user."""

    @property
    def s3_endpoint(self) -> str:
        """The object store."""

    @property
    def push_endpoint(self) -> str:
        """The broker as the object store reaches it."""

    @property
    def web_url(self) -> str:
        """Where the repositories are read."""

    @property
    def storage_url(self) -> str:
        """Where they are stored."""

    @property
    def vault_address(self) -> str:
        """The vault."""

    def vault_role(self, role: str) -> tuple[str, str]:
        """Role id and secret id."""

    def s3_credentials(self, user: str) -> S3Keys:
        """The keys of a user of the object store."""


_IMPATIENT = {"SYNC__LEASE_SECONDS": "15", "DRAIN_SECONDS": "5", "CVMFS__ROTATION_LEAD_SECONDS": "2"}
"""On a development site workers are killed for show and in tests: others take over within seconds, not a minute. And
there is no proxy that keeps a whitelist."""


def _common(site: Site) -> dict[str, str]:
    return {
        "DOMAIN": site.domain,
        "STATE_DIR": str(site.directory / "state"),
        "CVMFS__URL": site.web_url,
        **_IMPATIENT,
        **site.own_settings,
    }


def _storage(side: str, user: str) -> Callable[[Site], dict[str, str]]:
    """The storage as one side may use it, with a credential of its own where it is a bucket."""

    def variables(site: Site) -> dict[str, str]:
        found = {"CVMFS__STORAGE": site.storage_url}
        if site.storage_url.startswith("s3:"):
            keys = site.s3_credentials(user)
            found |= {
                "CVMFS__S3__ENDPOINT": site.s3_endpoint,
                "CVMFS__S3__PUBLIC": "policy",
                f"CVMFS__S3__{side}__ACCESS_KEY": keys.access_key,
                f"CVMFS__S3__{side}__SECRET_KEY": keys.secret_key,
            }
        return found

    return variables


def _vault(role: str) -> Callable[[Site], dict[str, str]]:
    def variables(site: Site) -> dict[str, str]:
        role_id, secret_id = site.vault_role(role)
        section = f"VAULT__{role.upper()}"
        return {
            "VAULT__ADDRESS": site.vault_address,
            f"{section}__ROLE_ID": role_id,
            f"{section}__SECRET_ID": secret_id,
        }

    return variables


def _s3(user: str) -> Callable[[Site], dict[str, str]]:
    def variables(site: Site) -> dict[str, str]:
        keys = site.s3_credentials(user)
        section = f"S3__{user.upper()}"
        return {
            "S3__ENDPOINT": site.s3_endpoint,
            f"{section}__ACCESS_KEY": keys.access_key,
            f"{section}__SECRET_KEY": keys.secret_key,
        }

    return variables


def _push(site: Site) -> dict[str, str]:
    """A development site has no user management: the connector makes owners that do not exist."""
    return {"S3__PUSH_ENDPOINT": site.push_endpoint, "S3__CREATE_MISSING_USERS": "true"}


def _operations(site: Site) -> dict[str, str]:
    return {"DASHBOARD__OPERATIONS_URL": site.broker_url("operations")}


def _pages(site: Site) -> dict[str, str]:
    """Where the dashboard listens and whom it asks who somebody is. ID tokens serve as API tokens here."""
    if site.dashboard is None:
        return {}
    return {
        "DASHBOARD__URL": site.dashboard.url,
        "DASHBOARD__LISTEN_PORT": str(site.dashboard.port),
        "DASHBOARD__STATE_DIR": str(site.directory / "state" / "dashboard"),
        "DASHBOARD__PROVIDER__ISSUER": site.dashboard.issuer,
        "DASHBOARD__PROVIDER__CLIENT_SECRET": site.dashboard.client_secret,
        "DASHBOARD__PROVIDER__AUDIENCES": '["softman"]',
        "DASHBOARD__LOGINS_PER_MINUTE": "10000",  # tests log in from one address, all of them
    }


def _uploads(site: Site) -> dict[str, str]:
    """Who may upload from where, for the connector that lets them in."""
    return {} if site.dashboard is None else {"UPLOADS__ENABLED": "true", "DASHBOARD__URL": site.dashboard.url}


def _uploader(site: Site) -> dict[str, str]:
    """The dashboard's own user of the object store."""
    keys = site.s3_credentials("uploader")
    return {
        **_uploads(site),
        "S3__ENDPOINT": site.s3_endpoint,
        "UPLOADS__CREDENTIAL__ACCESS_KEY": keys.access_key,
        "UPLOADS__CREDENTIAL__SECRET_KEY": keys.secret_key,
    }


_STRATUM0, _PUBLISHER = _vault("stratum0"), _vault("publisher")
_DASHBOARD, _ADMIN = _vault("dashboard"), _vault("admin")
_READER, _CONNECTOR = _s3("reader"), _s3("connector")
_STORING, _STAGING = _storage("STRATUM0", "storing"), _storage("PUBLISHER", "staging")
_SOURCES: dict[str, tuple[Callable[[Site], dict[str, str]], ...]] = {
    "stratum0": (_common, _STORING, _STRATUM0),
    "commit": (_common, _STORING, _STRATUM0),
    "publisher": (_common, _STAGING, _PUBLISHER, _READER),
    "connector": (_common, _CONNECTOR, _push, _uploads),
    "events": (_common,),
    "beat": (_common,),
    "client": (_common,),
    "flower": (_common,),
    "dashboard": (_common, _pages, _operations, _DASHBOARD, _uploader),
    "admin": (
        _common,
        _STORING,
        _STAGING,
        _STRATUM0,
        _PUBLISHER,
        _DASHBOARD,
        _ADMIN,
        _READER,
        _CONNECTOR,
        _push,
        _uploader,
    ),
}
ROLES = tuple(_SOURCES)


def environment(site: Site, role: str) -> dict[str, str]:
    """The ``SOFTMAN_*`` variables of one role.

    Raises:
        InvalidInput: there is no such role.
    """
    if role not in _SOURCES:
        msg = f"{role!r} is no role; there are {', '.join(ROLES)}"
        raise InvalidInput(msg)
    variables = {"BROKER_URL": site.broker_url(role), "REDIS_URL": site.cache_url(role)}
    for source in _SOURCES[role]:
        variables.update(source(site))
    return {_PREFIX + name: value for name, value in variables.items()}


def settings(site: Site, role: str) -> Settings:
    """The same as a settings object, whatever this program's own environment says about these values."""
    nested: dict[str, object] = {}
    for variable, value in environment(site, role).items():
        *sections, name = variable.removeprefix(_PREFIX).lower().split("__")
        target = nested
        for section in sections:
            inner = target.setdefault(section, {})
            if not isinstance(inner, dict):
                msg = f"{variable} is both a value and a section"
                raise InvalidInput(msg)
            target = inner
        target[name] = json.loads(value) if value.startswith("[") else value
    return load_settings(**nested)
