"""The settings of softman: one frozen object, validated at start, from ``SOFTMAN_*`` and one TOML file.

The only module that reads the environment (a lint rule holds that). Nested settings are separated by two underscores:
``SOFTMAN_S3__ENDPOINT``. ``SOFTMAN_CONFIG`` names the TOML file. Environment wins over file. Times are in seconds,
sizes in bytes. Secrets are ``SecretStr``: printing a settings object masks them.
"""

import os
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from softman.errors import InvalidInput
from softman.settings_dashboard import DashboardSettings
from softman.settings_gateway import GatewaySettings
from softman.settings_operations import MetricsSettings
from softman.settings_section import Section as _Section
from softman.transport import addresses, plain_text_host, weakens_tls

CONFIG_VARIABLE = "SOFTMAN_CONFIG"
_DOMAIN = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$"


class TlsSettings(_Section):
    """How services on other hosts are reached. Certificates and names are always verified."""

    ca_file: Path | None = None
    """The authorities of all services, PEM; None for those of the system. Some sections have one of their own."""
    allow_plaintext: tuple[str, ...] = ()
    """Settings whose address may be reached in plain text beyond this host, such as ``cvmfs.url``."""


class S3Credential(_Section):
    """One pair of S3 keys."""

    access_key: str = ""
    secret_key: SecretStr = SecretStr("")


class S3Settings(_Section):
    """The object store that holds the users' buckets."""

    endpoint: str = "http://127.0.0.1:7480"
    public_endpoint: str = ""
    """As users and their browsers reach it; empty for ``endpoint``."""
    region: str = "us-east-1"
    ca_file: Path | None = None
    """None for that of ``tls``."""
    reader: S3Credential = S3Credential()
    """The publishers' credential: reads every bucket, writes nothing; with a role, it may only assume that."""
    reader_role_arn: str = ""
    """The role that publishers assume for each bucket, narrowed to it: ``arn:aws:iam:::role/softman-reader``."""
    session_seconds: int = Field(default=3600, ge=900, le=43200)
    """How long such a session lasts; it is renewed after three quarters of that."""
    connector: S3Credential = S3Credential()
    """The connector pool's credential: makes buckets and installs notifications (decision 3)."""
    create_missing_users: bool = False
    """Let the connector create the owner in the object store when it does not exist (development)."""
    topic: str = "softman"
    """The one persistent topic that all buckets notify."""
    push_endpoint: SecretStr = SecretStr("")
    """``amqps://user:password@host:port/vhost`` as the object store reaches RabbitMQ; ``amqp`` on its own host."""
    push_ca_file: Path | None = None
    """The authorities for it, on the hosts of the object store; None for those of their system."""


class UploadSettings(_Section):
    """Uploads in the browser: the dashboard's own user may put objects below ``cvmfs/`` of connected buckets.

    The object store lets browsers in that have the page from ``dashboard.url``, which the connector has to know, too.
    """

    enabled: bool = False
    """Let people upload from the dashboard."""
    uid: str = Field(default="softman-uploader", pattern=r"^[A-Za-z0-9_.-]{1,64}$")
    """That user of the object store; the connector lets it into each bucket, and out again when uploads are off."""
    credential: S3Credential = S3Credential()
    """Its keys, which the dashboard alone needs."""
    max_files: int = Field(default=20_000, ge=1)
    """Files that one page takes at a time."""


class VaultCredential(_Section):
    """One AppRole. At most one of the secret ids is set."""

    role_id: str = ""
    secret_id: SecretStr = SecretStr("")
    secret_id_file: Path | None = None
    """Read at each login, so that it may be replaced while softman runs."""
    secret_id_wrapped: SecretStr = SecretStr("")
    """A wrapping token, which is used once, at start."""
    secret_id_wrapped_file: Path | None = None
    """A file with a wrapping token; a new one is used at the next login."""


class VaultUserSettings(_Section):
    """How users of Vault itself log in, for ``softman vault setup``: with the token of their OpenID Connect login."""

    mount: str = "jwt"
    """Where the JWT auth method is enabled."""
    issuer: str = ""
    """The ``iss`` claim. Its signing keys are found by OpenID Connect discovery, unless they are given below."""
    jwks_url: str = ""
    """Where the issuer publishes its signing keys."""
    public_keys: tuple[str, ...] = ()
    """The issuer's signing keys themselves, PEM."""
    ca_file: Path | None = None
    """The certificate authority of the issuer's server, PEM; None for those that Vault knows."""
    audiences: tuple[str, ...] = ()
    """The ``aud`` claims of which one has to be there. Nobody can log in until there is one."""
    groups_claim: str = "groups"
    """The claim that lists the groups of a user."""


class VaultSettings(_Section):
    """HashiCorp Vault or OpenBao."""

    address: str = "http://127.0.0.1:8200"
    mount: str = "secrets"
    """KV v2 mount of the owners' keys."""
    own_mount: str = "softman"
    """KV v2 mount of the registry and of the signing keys (decisions 13 and 14)."""
    namespace: str = ""
    """The namespace that everything is in; empty for the root namespace."""
    ca_file: Path | None = None
    """The certificate authority of Vault's server, PEM; None for those that the system knows. It is always verified."""
    stratum0: VaultCredential = VaultCredential()
    publisher: VaultCredential = VaultCredential()
    dashboard: VaultCredential = VaultCredential()
    admin: VaultCredential = VaultCredential()
    users: VaultUserSettings = VaultUserSettings()
    cache_seconds: float = Field(default=60.0, ge=0)
    """How long a worker may use key material without asking again."""


class SyncSettings(_Section):
    """How publishers work."""

    fetch_threads: int = Field(default=8, ge=1, le=64)
    """So many objects are read at the same time, by each process of a publisher."""
    slice_objects: int = Field(default=2000, ge=1)
    """A revision is committed after so many changed objects."""
    slice_bytes: int = Field(default=2 * 1024**3, ge=1)
    """Likewise after so many bytes."""
    slice_seconds: float = Field(default=60.0, gt=0)
    """Likewise after so long."""
    lease_seconds: float = Field(default=60.0, ge=2)
    """After so long without a sign of life of its holder a repository's lease goes to another publisher."""
    turn_slices: int = Field(default=20, ge=1)
    """A publish task commits so many slices at most, then queues itself again (decision 8)."""
    turn_seconds: float = Field(default=300.0, gt=0)
    """Likewise after so long."""
    owner_turns: int = Field(default=4, ge=1)
    """So many repositories of one owner are worked on at the same time, interactive work and full syncs each."""
    owner_bytes: int = Field(default=0, ge=0)
    """What all repositories that one user asked for may hold together; 0 sets no limit."""
    owner_entries: int = Field(default=0, ge=0)
    """Same, entries of all kinds."""
    commit_timeout: float = Field(default=120.0, gt=0)
    """So long a publisher waits for stratum 0 to answer."""
    commit_start_timeout: float = Field(default=15.0, gt=0)
    """A commit that no worker has begun by then is given up, and publishers do other work for a while."""
    links_anywhere: bool = False
    """Let symbolic links lead out of their repository."""
    unpack: bool = True
    """Unpack archives, unless the owner says otherwise."""
    unpack_below: tuple[str, ...] = ("",)
    """Unpack archives in these folders only, unless the owner says otherwise; empty text for everywhere."""
    catalog_max_entries: int = Field(default=100_000, ge=1000)
    """A catalog with more entries is split, as far as its directories allow."""
    catalog_min_entries: int = Field(default=1000, ge=3)
    """A catalog that was split off is merged back when it has fewer entries."""


class ArchiveSettings(_Section):
    """What one archive in a bucket may hold; one with more is refused as a whole."""

    members: int = Field(default=1_000_000, ge=1)
    """Files, directories and links."""
    size: int = Field(default=64 * 1024**3, ge=1)
    """Bytes it may inflate to."""
    ratio: int = Field(default=200, ge=1)
    """How many times larger than its compressed form it may become; asked beyond the first 64 MiB."""
    catalogs: int = Field(default=1000, ge=0)
    """How many directories in it may have a ``.cvmfscatalog``."""


class EventSettings(_Section):
    """How the events worker folds bursts."""

    fold_seconds: float = Field(default=0.2, ge=0)
    """So long events are collected before they are handed on."""
    fold_events: int = Field(default=1000, ge=1)
    """So many at most."""


class StorageS3Settings(_Section):
    """The object store that holds the repositories, when ``cvmfs.storage`` is ``s3://bucket[/prefix]``."""

    endpoint: str = ""
    """Empty for that of ``s3``."""
    region: str = "us-east-1"
    ca_file: Path | None = None
    """None for that of ``s3``."""
    stratum0: S3Credential = S3Credential()
    """Stratum 0's credential: reads and writes everything below the prefix."""
    publisher: S3Credential = S3Credential()
    """The publishers' credential: reads the same, writes below ``<repository>/data/txn/`` only."""
    public: Literal["acl", "policy"] = "acl"
    """What lets everybody read: an ACL that we put on each object, or the bucket's policy that an admin made."""


class CvmfsSettings(_Section):
    """The repositories."""

    storage: str = "file:///srv/cvmfs"
    """Where repositories are stored, one folder each: ``file:///folder`` or ``s3://bucket[/prefix]``."""
    s3: StorageS3Settings = StorageS3Settings()
    url: str = "http://127.0.0.1/cvmfs"
    """Where clients read them; the repository's name follows after a slash."""
    ttl: int = Field(default=60, ge=1)
    """Seconds after which stock clients look for a new revision (decision 19)."""
    whitelist_days: int = Field(default=30, ge=1, le=365)
    """How long a whitelist is valid; it is signed anew after half of that."""
    whitelist_alarm_days: float = Field(default=7.0, gt=0)
    """With less left it is an alarm when a whitelist cannot be signed anew."""
    master_key: Literal["repository", "domain", "offline"] = "repository"
    """Of new repositories: a master key each, one for all of the domain, or one that softman does not have."""
    master_public_keys: tuple[Path, ...] = ()
    """Files with the public halves of master keys that are offline, the one to use first; others are accepted, too."""
    rotation_lead_seconds: float = Field(default=120.0, ge=0)
    """Between allowing a new key and using it: longer than proxies keep a whitelist and workers a key."""
    rotation_grace_hours: float = Field(default=24.0, ge=0)
    """So long a certificate that was replaced stays allowed, for mirrors that are behind."""
    staging_hours: float = Field(default=24.0, gt=0)
    """Staged objects older than this are swept."""


class LifecycleSettings(_Section):
    """What becomes of repositories in the long run."""

    grace_days: float = Field(default=30.0, ge=0)
    """So long a retired repository can be restored in any case; then content and keys go, unless they are kept."""
    turn_seconds: float = Field(default=20.0, gt=0)
    """So long one task removes or reads what is stored, before it makes way for others and goes on later."""
    upkeep_seconds: float = Field(default=300.0, gt=0)
    """How often a turn of garbage collection and checks begins; each takes ``turn_seconds`` at most."""
    collect_hours: float = Field(default=24.0, gt=0)
    """How often garbage of each repository is collected."""
    check_days: float = Field(default=30.0, gt=0)
    """Within so many days every stored object of every repository is read and compared with its hash."""
    keep_revisions: int = Field(default=10, ge=0)
    """Garbage collection keeps so many revisions before the one in force, and tagged ones,"""
    keep_days: float = Field(default=30.0, ge=0)
    """and those that were in force within so many days."""


class Settings(BaseSettings):
    """All settings. Build with ``load_settings``."""

    model_config = SettingsConfigDict(
        env_prefix="SOFTMAN_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        nested_model_default_partial_update=True,
    )

    domain: str = Field(default="example.org", pattern=_DOMAIN, max_length=56)
    """Repositories are called ``<label>.<domain>``."""
    broker_url: SecretStr = SecretStr("amqp://guest:guest@127.0.0.1:5672//")
    """RabbitMQ: ``amqps://user:password@host:port/vhost``, with the user of this process's role."""
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    """Redis: ``rediss://user:password@host:port/0``, with the user of this process's role."""
    state_dir: Path = Path("/var/lib/softman")
    """Locks and scratch files of this host's workers."""
    log_format: str = Field(default="human", pattern="^(human|json)$")
    """``human`` or ``json``: one line an event."""
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``."""
    worker_memory: int = Field(default=1024**3, ge=1024**2)
    """A process of a worker that has more resident memory is replaced by a fresh one after its task."""
    reconcile_seconds: float = Field(default=900.0, gt=0)
    """How often every repository is compared with its bucket in full."""
    drain_seconds: float = Field(default=30.0, gt=0)
    """How often pending keys without a holder are looked for."""
    tls: TlsSettings = TlsSettings()
    s3: S3Settings = S3Settings()
    uploads: UploadSettings = UploadSettings()
    vault: VaultSettings = VaultSettings()
    sync: SyncSettings = SyncSettings()
    archives: ArchiveSettings = ArchiveSettings()
    events: EventSettings = EventSettings()
    cvmfs: CvmfsSettings = CvmfsSettings()
    metrics: MetricsSettings = MetricsSettings()
    dashboard: DashboardSettings = DashboardSettings()
    gateway: GatewaySettings = GatewaySettings()
    lifecycle: LifecycleSettings = LifecycleSettings()

    @property
    def addresses(self) -> dict[str, str]:
        """The addresses of all services by setting; some hold passwords."""
        return {
            "broker_url": self.broker_url.get_secret_value(),
            "redis_url": self.redis_url.get_secret_value(),
            "s3.endpoint": self.s3.endpoint,
            "s3.public_endpoint": self.s3.public_endpoint,
            "s3.push_endpoint": self.s3.push_endpoint.get_secret_value(),
            "cvmfs.s3.endpoint": self.cvmfs.s3.endpoint,
            "cvmfs.url": self.cvmfs.url,
            "vault.address": self.vault.address,
            "dashboard.url": self.dashboard.url,
            "dashboard.operations_url": self.dashboard.operations_url.get_secret_value(),
            "dashboard.provider.issuer": self.dashboard.provider.issuer,
        }

    @property
    def in_plain_text(self) -> dict[str, str]:
        """Hosts beyond this one that are reached in plain text, by setting."""
        return {name: host for name, url in self.addresses.items() if (host := plain_text_host(url))}

    @model_validator(mode="after")
    def _share_authorities(self) -> Self:
        """Give ``tls.ca_file`` to the sections that have no authorities of their own."""

        def filled(section: Any, default: Path | None) -> Any:
            return section.model_copy(update={"ca_file": default}) if section.ca_file is None else section

        s3 = filled(self.s3, self.tls.ca_file)
        storage = filled(self.cvmfs.s3, s3.ca_file)
        sections = {
            "vault": filled(self.vault, self.tls.ca_file),
            "s3": s3,
            "cvmfs": self.cvmfs.model_copy(update={"s3": storage}),
            "dashboard": self.dashboard.model_copy(
                update={"provider": filled(self.dashboard.provider, self.tls.ca_file)}
            ),
        }
        self.__dict__.update(sections)  # frozen for everybody else
        for file in (
            self.tls.ca_file,
            *(section.ca_file for section in (s3, storage, self.vault, self.dashboard.provider)),
        ):
            if file is not None and not file.is_file():
                msg = f"ca_file: {file} is no file"
                raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _protected(self) -> Self:
        known = self.addresses
        if strange := set(self.tls.allow_plaintext) - set(known):
            msg = f"tls.allow_plaintext names {', '.join(sorted(strange))}; addresses are {', '.join(known)}"
            raise ValueError(msg)
        for name, host in self.in_plain_text.items():
            if name not in self.tls.allow_plaintext:
                msg = f"{name} leads to {host} in plain text: use TLS, or name it in tls.allow_plaintext"
                raise ValueError(msg)
        if weak := [name for name, url in known.items() if weakens_tls(url)]:
            msg = f"{weak[0]} has options of TLS; there is tls.ca_file, and verification is always on"
            raise ValueError(msg)
        if len([parts for parts in addresses(known["broker_url"]) if parts.scheme == "amqps"]) > 1:
            msg = "broker_url names several hosts with TLS: give one name that leads to all of them"
            raise ValueError(msg)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - left out
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments win over the environment, the environment over the file; nothing else is read."""
        file = os.environ.get(CONFIG_VARIABLE)
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if file:
            sources.append(TomlConfigSettingsSource(settings_cls, Path(file)))
        return tuple(sources)


def load_settings(**overrides: Any) -> Settings:
    """Read and check the settings.

    Args:
        overrides: values that win over environment and file, for tests.

    Returns:
        The frozen settings.

    Raises:
        InvalidInput: a value is missing or wrong; the message names the setting, never the value of a secret.
    """
    file = os.environ.get(CONFIG_VARIABLE)
    if file and not Path(file).is_file():
        msg = f"{CONFIG_VARIABLE} names {file}, which is no file"
        raise InvalidInput(msg)
    try:
        return Settings(**overrides)
    except ValidationError as exc:
        errors = exc.errors(include_input=False)
        lines = [": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in errors]
        msg = "settings are not valid: " + "; ".join(lines)
        raise InvalidInput(msg) from None
    except ValueError as exc:  # TOML syntax, or JSON in a variable
        msg = f"settings cannot be read: {exc}"
        raise InvalidInput(msg) from None


def configured() -> bool:
    """Whether this process's environment has any setting of ours. Variables of the test suite do not count."""
    prefix = str(Settings.model_config["env_prefix"])
    names = {f"{prefix}{name}".upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    return any(variable.upper().partition("__")[0] in names for variable in os.environ)


def vault_token() -> SecretStr:
    """The token of an administrator of Vault, from where Vault's own programs take it too; empty when there is none."""
    return SecretStr(os.environ.get("VAULT_TOKEN") or os.environ.get("BAO_TOKEN") or "")


def user_state_dir() -> Path:
    """Where a person's own programs keep what outlives a session (XDG base directories), with our name below it."""
    home = os.environ.get("XDG_STATE_HOME", "")
    return (Path(home) if home.startswith("/") else Path.home() / ".local" / "state") / "softman"
