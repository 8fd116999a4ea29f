"""What must hold after a storm: nothing waits, nothing is lost, everything is in order."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import redis

from softman import wiring
from softman.adapters.redis_client import key_name
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.integrity import Extent, check_repository
from softman.errors import SoftmanError
from softman.model import DeadLetter, Fate
from softman.standalone.processes import BEATS, WORKERS
from softman.tasks.catalogue import EVENTS, TASK_QUEUES
from softman.tasks.client import client_app
from softman.tasks.deadletters import BrokerDeadLetters
from softman.tasks.waiting import WAITING
from tests.support.chaos.scene import Scene, Target
from tests.support.chaos.watch import ManifestWatch

SETTLE_SECONDS = 420.0
"""Above the longest pauses added up: 60 s between retries, 90 s of a topic asleep, a supervisor's 30 s."""


class NotQuiet(AssertionError):
    """Something still waits, long after the storm."""


class Settling:
    """Waits until a scene is quiet.

    Args:
        scene: all faults are healed, and its users have stopped.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._equal: dict[str, str] = {}
        """Root hash of the revision that was found to show what it should."""
        self._differs: dict[str, tuple[str, str]] = {}

    def wait(self, seconds: float = SETTLE_SECONDS) -> float:
        """Return when nothing waits any more: seconds it took.

        Raises:
            NotQuiet: not in time; the message says what still waits.
        """
        began = time.monotonic()
        self._wait(self._unsettled, seconds)
        own = bool(self._scene.proxies)
        if own:  # nobody asks for anything by the clock, so every queue must run empty
            for beat in BEATS:
                self._scene.signal(WORKERS + beat, signal.SIGSTOP)
        try:
            self._wait(lambda: self._queues(delayed=own), seconds)
            self._wait(self._unsettled, seconds)
        finally:
            for beat in BEATS:
                self._scene.signal(WORKERS + beat, signal.SIGCONT)
        return time.monotonic() - began

    def _wait(self, look: Callable[[], Iterator[str]], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                waiting = list(look())
            except (SoftmanError, CvmfsError, OSError, redis.RedisError) as exc:
                waiting = [repr(exc)]
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise NotQuiet("; ".join(waiting))
            time.sleep(0.5)

    def _unsettled(self) -> Iterator[str]:
        client = redis.Redis.from_url(self._scene.servers.redis_url)
        pending = wiring.pending(self._scene.site.settings)
        for target in self._scene.targets:
            yield from self._content(target)
            if pending.count(target.name):
                yield f"{target.name}: {pending.count(target.name)} keys are pending"
            if not pending.is_whole(target.name):
                yield f"{target.name}: a full sync is due"
            if client.exists(key_name(target.name, "lease")):
                yield f"{target.name}: the lease is held"
        client.close()

    def _content(self, target: Target) -> Iterator[str]:
        with target.reader.snapshot() as snapshot:
            name, root = str(target.name), str(snapshot.manifest.root_hash)
            known = self._differs.get(name, ("", ""))
            if known[0] == root:
                yield known[1]
            elif self._equal.get(name) != root:
                files = {
                    entry.path.decode().lstrip("/"): b"".join(snapshot.read_entry(entry))
                    for entry in snapshot.walk()
                    if entry.is_file
                }
                difference = differing(target.user.holds, files)
                if difference:
                    self._differs[name] = root, f"{name}: revision {snapshot.manifest.revision}: {difference}"
                    yield self._differs[name][1]
                else:
                    self._equal[name] = root

    def _queues(self, *, delayed: bool) -> Iterator[str]:
        columns = ("name", "messages_ready", "messages_unacknowledged")
        for row in json.loads(self._scene.servers.rabbitmqctl("list_queues", *columns, "--formatter=json")):
            ours = row["name"] in {*TASK_QUEUES, EVENTS} or (delayed and row["name"].startswith(WAITING))
            if ours and (row["messages_ready"] or row["messages_unacknowledged"]):
                ready, held = row["messages_ready"], row["messages_unacknowledged"]
                yield f"the queue {row['name']} has {ready} messages, and {held} unacknowledged"


def differing(wanted: dict[str, bytes], found: dict[str, bytes]) -> str:
    """How two sets of files differ, in words; nothing when they do not."""
    lacking, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    other = sorted(name for name in wanted.keys() & found.keys() if wanted[name] != found[name])
    parts = {"lacking": lacking, "too many": more, "other content": other}
    return ", ".join(f"{len(names)} {what} ({names[0]})" for what, names in parts.items() if names)


def losses(scene: Scene) -> list[str]:
    """Where object store and users do not agree: then a storm has shown nothing."""
    found = ((target, differing(target.user.holds, target.user.stored())) for target in scene.targets)
    return [f"bucket {target.user.bucket}: {difference}" for target, difference in found if difference]


def defects(target: Target) -> list[str]:
    """What a full check finds, objects read included."""
    extent = Extent(content=True)
    keys = [target.public_key]
    found = check_repository(target.store, str(target.name), keys, now=lambda: datetime.now(UTC), extent=extent)
    return [f"{target.name}: {problem}" for problem in found]


def gaps(target: Target, watch: ManifestWatch) -> list[str]:
    """Where the history is no chain from the newest revision to the first, or lacks what was seen."""
    chain = {revision.number: str(revision.root_hash) for revision in target.reader.revisions()}
    name = str(target.name)
    numbers = list(chain)
    found = [] if numbers == list(range(max(numbers), 0, -1)) else [f"{name}: revisions are {numbers}"]
    lost = [number for number, root in watch.seen[name].items() if chain.get(number) != root]
    return [*found, *(f"{name}: revision {number} was published and is not in the history" for number in lost)]


def letters(scene: Scene) -> list[DeadLetter]:
    """All dead letters; they stay where they are."""
    found: list[DeadLetter] = []

    def keep(letter: DeadLetter) -> Fate:
        found.append(letter)
        return Fate.KEEP

    app = client_app(scene.site.settings)
    try:
        BrokerDeadLetters(app).visit(keep)
    finally:
        app.close()
    return found
