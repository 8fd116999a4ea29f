"""Builds adapters and services from settings; the only place that chooses implementations.

What holds connections is built once per process and settings. Nothing connects before it is used, so importing and
building need no running service.
"""

import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from pathlib import Path
from typing import cast

from redis import Redis

from softman.adapters.audit import AuditFiles
from softman.adapters.circuit import Circuit, GuardedStore, guarded
from softman.adapters.clockwork import RedisClockwork
from softman.adapters.pending import RedisPendingKeys
from softman.adapters.ports import (
    AuditLog,
    BucketConnector,
    BucketReader,
    Clockwork,
    CommitDoor,
    KeyVault,
    PendingKeys,
    Records,
    Registry,
    TurnStates,
)
from softman.adapters.records import RedisRecords
from softman.adapters.redis_client import redis_client
from softman.adapters.registry import VaultRegistry
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_connector import S3Connector
from softman.adapters.s3_sessions import S3SessionBuckets
from softman.adapters.scratch import own_directory, sweep
from softman.adapters.turn_states import RedisTurnStates
from softman.adapters.upkeep_marks import UpkeepFiles
from softman.adapters.vault import VaultKeys
from softman.adapters.vault_credentials import unwrap_secret_ids
from softman.adapters.vault_layout import Role
from softman.adapters.vault_session import VaultSession
from softman.cvmfs.format.keys import RepositoryKeys
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository, Retention
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.http import HttpStore
from softman.cvmfs.transaction import Balance
from softman.errors import NotFound
from softman.names import RepositoryName
from softman.services.archives.limits import ArchiveLimits
from softman.services.connector import Connector
from softman.services.holdings import Holdings, OwnerLimits
from softman.services.lifecycle import Lifecycle
from softman.services.material import KeyMaterial, MasterKind, Material, owned_public_keys
from softman.services.portable import Porter
from softman.services.publisher import Publisher, TurnLimits
from softman.services.retirement import Retirements
from softman.services.rollback import Rollbacks
from softman.services.roster import Roster
from softman.services.rotation import Rotations, RotationTimes
from softman.services.site import site_rules
from softman.services.status import Status
from softman.services.stratum0 import Stratum0
from softman.services.sync import SliceLimits
from softman.services.turns import KeysOnly, Turns
from softman.services.upkeep import Schedule, Upkeep
from softman.services.whitelists import Whitelists, WhitelistTimes
from softman.settings import Settings
from softman.storage import open_store

_READERS = 256
_SWITCH_SECONDS = 0.0005
"""How long a thread of a publisher computes before it gives way, ten times less than Python's own choice.

Threads that read from the network need Python's lock for every line of headers. Beside one that computes, a GET took
0.7 ms, and takes 0.2.
"""
"""Repositories whose readers, with their connections, a process keeps."""


def take_credentials(settings: Settings) -> None:
    """Take what can be taken only once, before this process forks: secret ids out of their wrapping tokens.

    Raises:
        Forbidden: somebody else took one.
        ServiceUnavailable: the vault does not answer.
    """
    unwrap_secret_ids(settings.vault)


@cache
def pending(settings: Settings) -> PendingKeys:
    """Changed keys and leases, in Redis."""
    keys = RedisPendingKeys(_redis(settings), lease_seconds=settings.sync.lease_seconds)
    # Not the leases it hands out: a holder tries to renew as often as it can.
    return guarded(keys, _circuit(settings, "Redis"))


@cache
def records(settings: Settings) -> Records:
    """Progress and reports, in Redis."""
    kept = RedisRecords(_redis(settings))
    return guarded(kept, _circuit(settings, "Redis"))


@cache
def clockwork(settings: Settings) -> Clockwork:
    """What beats share, in Redis."""
    return RedisClockwork(_redis(settings))


def stratum0(settings: Settings) -> Stratum0:
    """What stratum 0 does, with its role in the vault."""
    vault, registry = _vault(settings, Role.STRATUM0)
    return Stratum0(
        vault=vault,
        material=_material(settings),
        whitelists=whitelists(settings),
        registry=registry,
        open_repository=lambda name, keys: _repository(settings, name, keys),
        domain=settings.domain,
        ttl=settings.cvmfs.ttl,
        whitelist_days=settings.cvmfs.whitelist_days,
        staging_age=timedelta(hours=settings.cvmfs.staging_hours),
        links_anywhere=settings.sync.links_anywhere,
        owner_quota=_holdings(settings, Role.STRATUM0).quota,
    )


def whitelists(settings: Settings) -> Whitelists:
    """What keeps whitelists signed, with the role of stratum 0."""
    _, registry = _vault(settings, Role.STRATUM0)
    return Whitelists(
        _material(settings),
        registry,
        lambda name, keys: _repository(settings, name, keys),
        WhitelistTimes(settings.cvmfs.whitelist_days, timedelta(days=settings.cvmfs.whitelist_alarm_days)),
        _now,
    )


def rotations(settings: Settings) -> Rotations:
    """What replaces keys, with the role of stratum 0."""
    _, registry = _vault(settings, Role.STRATUM0)
    return Rotations(
        _material(settings),
        whitelists(settings),
        registry,
        lambda name, keys: _repository(settings, name, keys),
        hand_over=stratum0(settings).hand_over,
        times=RotationTimes(
            timedelta(seconds=settings.cvmfs.rotation_lead_seconds),
            timedelta(hours=settings.cvmfs.rotation_grace_hours),
        ),
        clock=_now,
    )


def _material(settings: Settings) -> KeyMaterial:
    vault, _ = _vault(settings, Role.STRATUM0)
    return KeyMaterial(
        vault,
        kind=MasterKind(settings.cvmfs.master_key),
        offline_keys=lambda: tuple(path.read_bytes() for path in settings.cvmfs.master_public_keys),
        clock=_now,
    )


def lifecycle(settings: Settings) -> Lifecycle:
    """What is decided about repositories, with the role of stratum 0 in the vault."""
    grace = timedelta(days=settings.lifecycle.grace_days)
    return Lifecycle(_vault(settings, Role.STRATUM0)[1], grace, _now)


def retirements(settings: Settings) -> Retirements:
    """What gives repositories up, with the role of stratum 0."""
    vault, registry = _vault(settings, Role.STRATUM0)
    return Retirements(
        registry,
        vault,
        _material(settings),
        lambda name: open_store(settings, settings.cvmfs.storage, str(name), Role.STRATUM0),
        _now,
    )


def porter(settings: Settings) -> Porter:
    """What writes and reads archives of repositories, with the role of stratum 0."""
    vault, registry = _vault(settings, Role.STRATUM0)
    return Porter(
        registry,
        vault,
        _material(settings),
        lambda name: open_store(settings, settings.cvmfs.storage, str(name), Role.STRATUM0),
        hand_over=stratum0(settings).hand_over,
        sign_whitelist=whitelists(settings).ensure,
        marks=UpkeepFiles(settings.state_dir / "upkeep"),
        clock=_now,
    )


def rollbacks(settings: Settings) -> Rollbacks:
    """What rolls repositories back, with the role of stratum 0."""
    return Rollbacks(lifecycle(settings), _material(settings), _opened(settings))


def upkeep(settings: Settings) -> Upkeep:
    """What collects garbage and checks repositories, with the role of stratum 0."""
    wanted = settings.lifecycle
    return Upkeep(
        _vault(settings, Role.STRATUM0)[1],
        _material(settings),
        _opened(settings),
        UpkeepFiles(settings.state_dir / "upkeep"),
        records(settings),
        schedule=Schedule(
            Retention(wanted.keep_revisions, timedelta(days=wanted.keep_days)),
            collect=timedelta(hours=wanted.collect_hours),
            cycle=timedelta(days=wanted.check_days),
        ),
        clock=_now,
    )


def _opened(settings: Settings) -> Callable[[Material], Repository]:
    signed = whitelists(settings)
    return lambda material: signed.opened(material, material.keys)


@cache
def turn_states(settings: Settings) -> TurnStates:
    """What is remembered between turns, in Redis."""
    states = RedisTurnStates(_redis(settings), lease_seconds=settings.sync.lease_seconds)
    return guarded(states, _circuit(settings, "Redis"))


def turns(settings: Settings, door: CommitDoor, *, interactive: bool) -> Turns:
    """The turns of publishers; ``interactive`` ones leave full syncs to others."""
    _, registry = _vault(settings, Role.PUBLISHER)
    return Turns(
        publisher(settings, door, interactive=interactive),
        registry,
        pending(settings),
        turn_states(settings),
        most=settings.sync.owner_turns,
        lease_seconds=settings.sync.lease_seconds,
        clock=_now,
        interactive=interactive,
    )


def publisher(settings: Settings, door: CommitDoor, *, interactive: bool = False) -> Publisher:
    """What publishers do, with their role in the vault and their read-only credential for buckets.

    Threads of this process give way to each other sooner from now on.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    vault, registry = _vault(settings, Role.PUBLISHER)
    keys = pending(settings)
    sync = settings.sync
    return Publisher(
        vault=vault,
        registry=registry,
        buckets=_buckets(settings),
        pending=cast("PendingKeys", KeysOnly(keys)) if interactive else keys,
        records=records(settings),
        door=door,
        open_reader=lambda name, public_keys: reader_with(settings, name, public_keys, scratch(settings)),
        open_staging=lambda name: _staging(settings, name),
        limits=TurnLimits(
            slice=SliceLimits(objects=sync.slice_objects, bytes=sync.slice_bytes, seconds=sync.slice_seconds),
            slices=sync.turn_slices,
            seconds=sync.turn_seconds,
            threads=sync.fetch_threads,
            lease_seconds=sync.lease_seconds,
            balance=Balance(sync.catalog_max_entries, min(sync.catalog_min_entries, sync.catalog_max_entries // 2)),
        ),
        site=site_rules(links_anywhere=sync.links_anywhere, unpack=sync.unpack, below=sync.unpack_below),
        archives=ArchiveLimits(**settings.archives.model_dump()),
        scratch=scratch(settings),
        owner_quota=_holdings(settings, Role.PUBLISHER).quota,
        clock=_now,
    )


def connector(settings: Settings) -> Connector:
    """What connects buckets, with its own credential."""
    return Connector(_bucket_connector(settings))


def status(settings: Settings) -> Status:
    """Answers to the questions of dashboard and command line."""
    _, registry = _vault(settings, Role.DASHBOARD)
    return Status(
        registry=registry,
        records=records(settings),
        pending=pending(settings),
        url=settings.cvmfs.url,
        open_reader=lambda name: reader(settings, name),
        states=turn_states(settings),
        clockwork=clockwork(settings),
    )


def registry(settings: Settings) -> Registry:
    """The registry as the dashboard may read it."""
    return _vault(settings, Role.DASHBOARD)[1]


def roster(settings: Settings) -> Roster:
    """All repositories, kept by a thread once it is started; with the role of the dashboard."""
    _, registry = _vault(settings, Role.DASHBOARD)
    return Roster(registry, lambda name: reader(settings, name))


def audit_log(settings: Settings) -> AuditLog:
    """The audit log of this host's stratum 0."""
    return AuditFiles(settings.state_dir / "audit", _now)


def public_keys(settings: Settings, name: RepositoryName) -> tuple[bytes, ...]:
    """The public keys, PEM, that clients mount a repository with: the one in use, and the next once it is announced.

    Raises:
        NotFound: there is no such repository, or it has no keys yet.
        ServiceUnavailable: the vault does not answer.
    """
    vault, registry = _vault(settings, Role.DASHBOARD)
    record = registry.get(name)
    keys = vault.read_public_keys(name) if record is not None else None
    if not keys:
        state = "there is no repository" if record is None else "no keys are published yet for"
        msg = f"{state} {name}"
        raise NotFound(msg)
    return owned_public_keys(keys)


def reader(settings: Settings, name: RepositoryName) -> RepositoryReader:
    """A verifying reader of a repository, with the public keys from the vault; errors as for ``public_keys``."""
    return reader_with(settings, name, public_keys(settings, name))


def scratch(settings: Settings) -> Path | None:
    """Where this worker process keeps temporary files, so that the next one removes what it leaves when it is killed.

    None, for the system's place, where it may not write to the state directory.
    """
    try:
        return own_directory(_scratch_root(settings))
    except OSError:
        return None


def sweep_scratch(settings: Settings) -> int:
    """Remove temporary files of workers of this host that were killed; of how many."""
    try:
        return sweep(_scratch_root(settings))
    except OSError:  # not ours to look at
        return 0


def _scratch_root(settings: Settings) -> Path:
    return settings.state_dir / "scratch"


def _redis(settings: Settings) -> Redis:
    return redis_client(settings.redis_url.get_secret_value(), settings.tls.ca_file)


@cache
def _vault(settings: Settings, role: Role) -> tuple[KeyVault, Registry]:
    session = VaultSession(settings.vault, role)
    circuit = _circuit(settings, "the vault")
    keys, registry = VaultKeys(session, settings.vault), VaultRegistry(session, settings.vault)
    return guarded(keys, circuit), guarded(registry, circuit)


@cache
def _buckets(settings: Settings) -> BucketReader:
    threads = settings.sync.fetch_threads
    buckets: BucketReader = S3Buckets.from_settings(settings.s3, threads=threads)
    if settings.s3.reader_role_arn:
        buckets = S3SessionBuckets.from_settings(settings.s3, threads=threads)
    return guarded(buckets, _circuit(settings, "the object store"))


@cache
def _bucket_connector(settings: Settings) -> BucketConnector:
    uploads = settings.dashboard.url if settings.uploads.enabled else None
    connector = S3Connector.from_settings(settings.s3, settings.uploads.uid, uploads)
    return guarded(connector, _circuit(settings, "the object store"))


@cache
def _circuit(settings: Settings, what: str) -> Circuit:  # noqa: ARG001 - one for each service of each site
    return Circuit(what)


@cache
def commit_circuit(settings: Settings) -> Circuit:  # noqa: ARG001 - one for each site
    """The circuit of stratum 0's commit pool. The first commit that nobody begins opens it: each waits for long."""
    return Circuit("stratum 0's commit pool", most=1)


@cache
def _web_server(url: str) -> Circuit:
    return Circuit(f"the web server {url}")


@lru_cache(_READERS)
def reader_with(
    settings: Settings, name: RepositoryName, public_keys: tuple[bytes, ...], work_dir: Path | None = None
) -> RepositoryReader:
    """A verifying reader of a repository, with these public keys; kept, with its connections."""
    url = settings.cvmfs.url
    store = GuardedStore(HttpStore([f"{url.rstrip('/')}/{name}"], ca_file=settings.tls.ca_file), _web_server(url))
    return RepositoryReader(store, str(name), public_keys, now=_now, work_dir=work_dir)


@cache
def _holdings(settings: Settings, role: Role) -> Holdings:
    """What owners have: stratum 0 reads it where it is stored, and so needs no web server; publishers as clients do."""

    def stored(name: RepositoryName, public_keys: tuple[bytes, ...]) -> RepositoryReader:
        store = open_store(settings, settings.cvmfs.storage, str(name), role)
        return RepositoryReader(store, str(name), public_keys, now=_now, work_dir=scratch(settings))

    def published(name: RepositoryName, public_keys: tuple[bytes, ...]) -> RepositoryReader:
        return reader_with(settings, name, public_keys, scratch(settings))

    vault, registry = _vault(settings, role)
    limits = OwnerLimits(settings.sync.owner_entries, settings.sync.owner_bytes)
    return Holdings(registry, vault, stored if role is Role.STRATUM0 else published, limits)


def _repository(settings: Settings, name: RepositoryName, keys: RepositoryKeys) -> Repository:
    # The lock of a directory lies in it: softman repo, run beside the service, takes the same one.
    store = open_store(settings, settings.cvmfs.storage, str(name), Role.STRATUM0)
    return Repository(store, str(name), keys, now=_now, work_dir=scratch(settings))


def _staging(settings: Settings, name: RepositoryName) -> Staging:
    store = open_store(settings, settings.cvmfs.storage, str(name), Role.PUBLISHER)
    return Staging(store.new_area(), published=store.is_stored)


def _now() -> datetime:
    return datetime.now(UTC)


def now() -> datetime:
    """The present time."""
    return _now()


def vault(settings: Settings, role: Role) -> tuple[KeyVault, Registry]:
    """Keys and registry with the rights of a role."""
    return _vault(settings, role)
