"""A whole softman in memory, but for the repositories, which are real ones on disk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from softman.adapters.memory import MemoryBuckets, MemoryRecords
from softman.adapters.memory_pending import MemoryPendingKeys
from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.memory_vault import MemoryKeyVault, MemoryRegistry, MemoryVault
from softman.adapters.upkeep_marks import UpkeepFiles
from softman.adapters.vault_layout import Role
from softman.cvmfs.format.keys import RepositoryKeys, generate_gateway_key, generate_keys
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository, Retention
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.base import StagedStore
from softman.cvmfs.store.local import LocalStore
from softman.model import CommitAnswer, CommitRequest, RegistryRecord, Turn
from softman.names import Kind, RepositoryName
from softman.services.connector import Connector
from softman.services.lifecycle import Lifecycle
from softman.services.material import KeyMaterial, MasterKind, Material
from softman.services.portable import Porter
from softman.services.publisher import Publisher, TurnLimits
from softman.services.retirement import Retirements
from softman.services.rollback import Rollbacks
from softman.services.rotation import Rotations, RotationTimes
from softman.services.stratum0 import Stratum0
from softman.services.sync import SliceLimits
from softman.services.turns import Turns
from softman.services.upkeep import Schedule, Upkeep
from softman.services.whitelists import Whitelists, WhitelistTimes
from tests.support.bucket_model import Shown, shown_by

DOMAIN = "example.org"
LIMITS = TurnLimits(SliceLimits(1000, 10**9, 60.0), slices=20, seconds=60.0, threads=2, lease_seconds=60)
Before = Callable[[CommitRequest], None]
After = Callable[[CommitAnswer], CommitAnswer]


@dataclass
class Clock:
    """Time that passes only when told to."""

    now: datetime = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def unix(self) -> float:
        return self.now.timestamp()

    def tick(self, seconds: float = 1.0) -> None:
        self.now += timedelta(seconds=seconds)


class Door:
    """Stratum 0 behind a function call; ``before`` runs between the request and its handling."""

    def __init__(self, stratum0: Stratum0) -> None:
        self.stratum0 = stratum0
        self.requests: list[CommitRequest] = []
        self.before: Before = lambda _request: None
        self.after: After = lambda answer: answer

    def commit(self, request: CommitRequest) -> CommitAnswer:
        self.requests.append(request)
        self.before(request)
        return self.after(self.stratum0.commit(request))


def make_material() -> dict[str, str]:
    """Key material of a repository, as stratum 0 keeps it. Making RSA keys takes a while."""
    keys = generate_keys("alice.example.org", datetime(2026, 11, 22, tzinfo=UTC))
    return {
        "masterKey": keys.master_key.decode(),
        "publicKey": keys.public_key.decode(),
        "privateKey": keys.private_key.decode(),
        "certificate": keys.certificate.decode(),
        "gatewayKey": generate_gateway_key().to_text(),
    }


@dataclass
class World:
    """Everything softman consists of, for one site."""

    root: Path
    material: dict[str, str]
    clock: Clock = field(default_factory=Clock)
    limits: TurnLimits = field(default_factory=lambda: LIMITS)
    master: MasterKind = MasterKind.REPOSITORY
    offline_keys: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        self.vault = MemoryVault()
        self.buckets = MemoryBuckets(self.clock.unix)
        self.pending = MemoryPendingKeys(clock=self.clock.unix)
        self.records = MemoryRecords()
        keys, registry = MemoryKeyVault(Role.STRATUM0, self.vault), MemoryRegistry(Role.STRATUM0, self.vault)
        self.keys = KeyMaterial(keys, kind=self.master, offline_keys=lambda: self.offline_keys, clock=self.clock)
        times = WhitelistTimes(30, timedelta(days=7))
        self.whitelists = Whitelists(self.keys, registry, self.repository, times, self.clock)
        self.stratum0 = Stratum0(
            vault=keys,
            material=self.keys,
            whitelists=self.whitelists,
            registry=registry,
            open_repository=self.repository,
            domain=DOMAIN,
            ttl=60,
            whitelist_days=30,
            staging_age=timedelta(hours=24),
        )
        self.rotations = Rotations(
            self.keys,
            self.whitelists,
            registry,
            self.repository,
            hand_over=self.stratum0.hand_over,
            times=RotationTimes(lead=timedelta(minutes=2), grace=timedelta(hours=24)),
            clock=self.clock,
        )
        self.lifecycle = Lifecycle(registry, timedelta(days=30), self.clock)
        self.retirements = Retirements(registry, keys, self.keys, self.store, self.clock)
        self.connector = Connector(self.buckets)
        self.upkeep = Upkeep(
            registry,
            self.keys,
            self.opened,
            UpkeepFiles(self.root / "upkeep"),
            self.records,
            schedule=Schedule(Retention(1, timedelta(days=1)), collect=timedelta(hours=24), cycle=timedelta(days=10)),
            clock=self.clock,
        )
        self.porter = Porter(
            registry,
            keys,
            self.keys,
            self.store,
            hand_over=self.stratum0.hand_over,
            sign_whitelist=self.whitelists.ensure,
            marks=UpkeepFiles(self.root / "upkeep"),
            clock=self.clock,
        )
        self.rollbacks = Rollbacks(self.lifecycle, self.keys, self.opened)
        self.door = Door(self.stratum0)
        self.publisher = self.make_publisher()

    def make_publisher(self) -> Publisher:
        return Publisher(
            vault=MemoryKeyVault(Role.PUBLISHER, self.vault),
            registry=MemoryRegistry(Role.PUBLISHER, self.vault),
            buckets=self.buckets,
            pending=self.pending,
            records=self.records,
            door=self.door,
            open_reader=self.reader,
            open_staging=self.staging,
            limits=self.limits,
            clock=self.clock,
        )

    def repository(self, name: RepositoryName, keys: RepositoryKeys) -> Repository:
        return Repository(LocalStore(self.root / str(name)), str(name), keys, now=self.clock)

    def store(self, name: RepositoryName) -> StagedStore:
        return LocalStore(self.root / str(name))

    def opened(self, material: Material) -> Repository:
        return self.whitelists.opened(material, material.keys)

    def record(self, name: RepositoryName) -> RegistryRecord:
        found = MemoryRegistry(Role.STRATUM0, self.vault).get(name)
        assert found is not None
        return found

    def staging(self, name: RepositoryName) -> Staging:
        return Staging.create(self.root / str(name))

    def reader(self, name: RepositoryName, public_keys: tuple[bytes, ...] = ()) -> RepositoryReader:
        keys = public_keys or (self.material["publicKey"].encode(),)
        return RepositoryReader(LocalStore(self.root / str(name)), str(name), keys, now=self.clock)

    def turns(self, *, interactive: bool = False) -> Turns:
        registry = MemoryRegistry(Role.PUBLISHER, self.vault)
        return Turns(
            self.publisher,
            registry,
            self.pending,
            MemoryTurnStates(),
            most=4,
            lease_seconds=60,
            clock=self.clock,
            interactive=interactive,
        )

    def provision(self, user: str = "alice", group: str | None = None) -> RepositoryName:
        """A repository that takes commits, and its empty bucket."""
        kind = Kind.PERSONAL if group is None else Kind.GROUP
        name = self.stratum0.request(user, f"sub-{user}", kind, group).repository
        MemoryKeyVault(Role.STRATUM0, self.vault).create_signing(name, self.material)
        self.stratum0.create_repository(name)
        self.stratum0.publish_keys(name)
        self.buckets.add_user(name.bucket)
        self.buckets.ensure_bucket(name.bucket, name.bucket)
        return name

    def sync(self, name: RepositoryName, *keys: str) -> Turn:
        """Publish some keys, or everything; turn after turn until nothing is left."""
        if keys:
            self.pending.add(name, frozenset(keys))
            turn = self.publisher.publish_changes(name)
        else:
            turn = self.publisher.sync_everything(name)
        while turn.again:
            turn = self.publisher.publish_changes(name)
        return turn

    def shown(self, name: RepositoryName) -> Shown:
        """What the verifying reader shows."""
        return shown_by(self.reader(name))
