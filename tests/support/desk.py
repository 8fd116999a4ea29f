"""A desk on a world in memory: real services, repositories on disk, and a broker that remembers what it was given."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from softman.adapters.memory_clockwork import MemoryClockwork
from softman.adapters.memory_glances import MemoryGlances
from softman.adapters.memory_letters import MemoryDeadLetters
from softman.adapters.memory_turn_states import MemoryTurnStates
from softman.adapters.memory_vault import MemoryRegistry
from softman.adapters.vault_layout import Role
from softman.dashboard.desk import Desk
from softman.dashboard.desk_base import Services
from softman.dashboard.desk_views import Part
from softman.errors import ServiceUnavailable
from softman.identity import Principal
from softman.model import Glance, QueueDepth, WorkerState
from softman.names import RepositoryName
from softman.services.browsing import Browser
from softman.services.deadletters import DeadLetterOffice
from softman.services.roster import Roster
from softman.services.status import Status
from tests.support.world import DOMAIN, World

ALICE = Principal("sub-alice", "alice", frozenset({"physics"}), name="Alice")
BOB = Principal("sub-bob", "bob", frozenset({"physics"}), frozenset({"physics"}))
CAROL = Principal("sub-carol", "carol")
ADMIN = Principal("sub-root", "root", admin=True)


@dataclass
class MemoryWishes:
    """``Wishes``: what was asked for, in order; through the broker unless it is ``away``."""

    sent: list[tuple[str, tuple[object, ...], str]] = field(default_factory=list)
    kept: list[tuple[str, tuple[object, ...], str]] = field(default_factory=list)
    away: bool = False

    def send(self, task: str, arguments: Sequence[object], *, requested_by: str) -> tuple[str, str]:
        place, where = (self.kept, "outbox") if self.away else (self.sent, "broker")
        place.append((task, tuple(arguments), requested_by))
        return f"task-{len(self.sent) + len(self.kept)}", where

    def waiting(self) -> int:
        return len(self.kept)

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class MemoryOperations:
    """``Operations``: one worker, two queues."""

    away: bool = False

    def queues(self) -> list[QueueDepth]:
        self._check()
        return [QueueDepth("publisher", 3, 1), QueueDepth("softman.dead", 0, 0)]

    def workers(self) -> list[WorkerState]:
        self._check()
        return [WorkerState("publisher@host", ("publisher",), active=1, processed=7, processes=2)]

    def _check(self) -> None:
        if self.away:
            msg = "the message broker does not answer"
            raise ServiceUnavailable(msg)


class SwitchedGlances(MemoryGlances):
    """``Glances`` that can be away."""

    away = False

    def read(self, repositories: Sequence[RepositoryName]) -> list[Glance]:
        if self.away:
            msg = "Redis does not answer"
            raise ServiceUnavailable(msg)
        return super().read(repositories)


@dataclass
class Office:
    """A desk with the parts behind it."""

    world: World

    def __post_init__(self) -> None:
        world = self.world
        self.registry = MemoryRegistry(Role.DASHBOARD, world.vault)
        self.states = MemoryTurnStates()
        self.clockwork = MemoryClockwork()
        self.letters = MemoryDeadLetters()
        self.wishes = MemoryWishes()
        self.operations = MemoryOperations()
        self.glances = SwitchedGlances(world.records, world.pending, self.states)
        self.roster = Roster(self.registry, world.reader, clock=world.clock.unix)
        self.browser = Browser(world.reader, clock=world.clock.unix)
        status = Status(
            self.registry, world.records, world.pending, "http://cvmfs.example.org/cvmfs", world.reader,
            states=self.states, clockwork=self.clockwork,
        )  # fmt: skip
        self.desk = Desk(
            Services(
                domain=DOMAIN,
                url="http://cvmfs.example.org/cvmfs",
                roster=self.roster,
                glances=self.glances,
                records=world.records,
                pending=world.pending,
                states=self.states,
                status=status,
                browser=self.browser,
                public_keys=lambda _name: (world.material["publicKey"].encode(),),
                wishes=self.wishes,
                operations=self.operations,
                dead_letters=DeadLetterOffice(self.letters),
                checks={Part.BROKER: lambda: str(len(self.operations.queues()))},
                clock=world.clock.unix,
            )
        )

    def publish(self, name: RepositoryName, files: dict[str, bytes]) -> None:
        """A revision with these files more, keys without ``cvmfs/``."""
        for key, body in files.items():
            self.world.buckets.put(name.bucket, f"cvmfs/{key}", body)
        self.world.sync(name)

    def look(self) -> None:
        """A round of the roster, later."""
        self.world.clock.tick(11)
        self.roster.refresh()
