"""The settings of the dashboard: ``SOFTMAN_DASHBOARD__*``, the section ``dashboard`` of the file. See docs/login.md.

Times are in seconds, sizes in bytes.
"""

from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from softman.settings_section import Section

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]
"""Signatures with a public key. ``none`` and those with a shared secret are not among them, whatever a token says."""


class ProviderSettings(Section):
    """The identity provider: OpenID Connect, found by discovery below the issuer's address."""

    issuer: str = ""
    """The ``iss`` claim, such as ``https://iam.example.org/``; empty: nobody can log in."""
    client_id: str = "softman"
    client_secret: SecretStr = SecretStr("")
    client_authentication: Literal["basic", "post", "none"] = "basic"
    """How the client secret is sent to the token endpoint; ``none`` for a public client."""
    scopes: tuple[str, ...] = ("openid", "profile")
    """Asked for at login; IAM wants ``wlcg.groups`` or ``entitlements`` for these claims."""
    ca_file: Path | None = None
    """The authorities of its server; None for those of ``tls``."""
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "PS256", "RS512", "ES512", "PS512", "Ed25519", "EdDSA")
    """How tokens may be signed."""
    audiences: tuple[str, ...] = ()
    """The ``aud`` claims of API tokens of which one has to be there; empty: the API takes no tokens."""
    token_types: tuple[str, ...] = ("at+jwt", "JWT", "")
    """The header ``typ`` of API tokens; empty text for none. ``at+jwt`` is RFC 9068, older providers send others."""
    clock_skew: int = Field(default=60, ge=0, le=600)
    """So many seconds the clocks may differ."""
    timeout: float = Field(default=10.0, gt=0)
    """How long an answer of the provider may take."""
    cache_seconds: float = Field(default=3600.0, gt=0)
    """How long its discovery document and its keys are used without asking again."""
    user_info: bool = True
    """Ask the user-info endpoint for claims that an ID token lacks, and for those of API tokens without a user name."""


class ClaimSettings(Section):
    """What claims mean. Names with dots lead into nested objects, unless there is a claim of the whole name."""

    user: str = "preferred_username"
    """The user name, which is the name of the personal repository."""
    name: str = "name"
    """What to call the person."""
    groups: tuple[str, ...] = ("groups", "wlcg.groups", "entitlements", "eduperson_entitlement")
    """Lists of groups: names, paths such as ``/physics/managers``, or entitlements (AARC-G002, AARC-G069)."""
    entitlement_prefixes: tuple[str, ...] = ()
    """What entitlements begin with that count, such as ``urn:geant:example.org:group:``; others say nothing here."""
    group_root: str = ""
    """The group below which our groups are, such as ``/cloud``: then ``/cloud/physics`` is ``physics``."""
    admin_group: str = "softman-admins"
    """Members of this group, a path below the root, administrate softman; empty: nobody does."""
    managers: tuple[str, ...] = ("manager", "managers")
    """Roles in a group, and groups directly below it, whose holders manage it."""
    aliases: tuple[str, ...] = ()
    """User names that an admin gave, ``subject=name``, for people whose own cannot name a repository."""

    @field_validator("aliases")
    @classmethod
    def _two_parts(cls, aliases: tuple[str, ...]) -> tuple[str, ...]:
        for alias in aliases:
            if not all(alias.rpartition("=")[::2]):
                msg = f"{alias!r} is not subject=name"
                raise ValueError(msg)
        return aliases


class DashboardSettings(Section):
    """The dashboard: REST API and pages."""

    url: str = "http://127.0.0.1:8080"
    """Where browsers find it: scheme, host and port; the provider sends people back to ``/login/callback`` there."""
    listen_host: str = "127.0.0.1"
    """The address it listens on; a web server with TLS belongs before it."""
    listen_port: int = Field(default=8080, ge=1, le=65535)
    """The port likewise."""
    state_dir: Path = Path("/var/lib/softman/dashboard")
    """Sessions, idempotency keys and requests that wait for the broker; private."""
    operations_url: SecretStr = SecretStr("")
    """``broker_url`` of the user ``softman-operations``, for what administrators see of workers and do with dead
    letters; empty: the dashboard cannot do that for them, and ``softman dead`` can."""
    provider: ProviderSettings = ProviderSettings()
    claims: ClaimSettings = ClaimSettings()
    session_idle: float = Field(default=3600.0, gt=0)
    """A session ends when nothing was asked for so long."""
    session_longest: float = Field(default=43_200.0, gt=0)
    """A session ends so long after the login, whatever happens. Changes of groups are seen then at the latest."""
    trusted_hosts: tuple[str, ...] = ()
    """Further host names that requests may be addressed to, beside that of ``url``."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are believed."""
    longest_body: int = Field(default=1024**2, ge=1024)
    """Bytes of one request. Files do not come this way."""
    reads_per_minute: int = Field(default=1200, ge=1)
    """Of each person; of each address as long as nobody is logged in."""
    changes_per_minute: int = Field(default=60, ge=1)
    """So many wishes one person may send."""
    logins_per_minute: int = Field(default=120, ge=1)
    """Of each address; also tokens that were refused."""
    uploads_per_minute: int = Field(default=1200, ge=1)
    """Questions of each person about uploads in the browser: one for fifty small files or one part of a large one."""
    credentials_url: str = Field(default="", pattern=r"^(https?://\S+)?$")
    """Where users get keys for the object store; the tab "Upload" leads there."""
    credentials_text: str = ""
    """What to say of that, in place of the usual words."""

    @field_validator("url")
    @classmethod
    def _origin(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            msg = f"{url!r} is not scheme, host and port"
            raise ValueError(msg)
        return url.rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether browsers reach it over TLS; otherwise cookies cannot be ``Secure``."""
        return self.url.startswith("https:")

    @property
    def host(self) -> str:
        """The host name of ``url``."""
        return urlsplit(self.url).hostname or ""
