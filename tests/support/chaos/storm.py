"""A storm: under a steady load one fault after the other, then quiet, and a look at what is left."""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field

from softman.cvmfs.errors import CvmfsError
from softman.errors import SoftmanError
from tests.support.chaos.checks import Settling, defects, gaps, letters, losses
from tests.support.chaos.faults import Fault
from tests.support.chaos.load import Load
from tests.support.chaos.scene import Scene, Target
from tests.support.chaos.watch import ManifestWatch

HEAL_SECONDS = 300.0
_LOOK = 0.1
DIED = "RGW died by itself"
_PROBES = 8


@dataclass(slots=True)
class Injection:
    """One fault that was injected."""

    name: str
    held: float = 0.0
    healed: float = 0.0
    """Seconds from its end until the object written at its beginning is shown; 0 when it was shown before."""
    late: bool = False
    """That object was not shown in time. It must be shown after the storm."""


@dataclass(slots=True)
class Report:
    """What a storm found."""

    seed: int
    seconds: float = 0.0
    settled: float = 0.0
    """Seconds from the last fault's end until nothing waited any more."""
    injections: list[Injection] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """Kinds of faults that cannot be injected here, and why."""
    deaths: int = 0
    """How often the object gateway crashed without our doing, and was started again."""
    requests: Counter[str] = field(default_factory=Counter)
    revisions: int = 0
    letters: list[str] = field(default_factory=list)
    """Reasons of the dead letters."""
    wrong: list[str] = field(default_factory=list)
    """What must not be."""

    def heal_times(self) -> dict[str, list[float]]:
        """By kind of fault, in the order of the kinds' first appearance."""
        found: dict[str, list[float]] = {}
        for injection in self.injections:
            found.setdefault(injection.name, []).append(injection.healed)
        return found

    def table(self) -> str:
        """For people."""
        lines = [f"{'fault':<62}{'times':>6}{'healed after (median, most)':>30}"]
        for name, seconds in self.heal_times().items():
            lines.append(f"{name:<62}{len(seconds):>6}{statistics.median(seconds):>20.1f} s{max(seconds):>6.1f} s")
        if self.deaths:
            lines.append(f"{DIED:<62}{self.deaths:>6}")
        lines += [f"{name:<62}{'-':>6}  {reason}" for name, reason in self.skipped.items()]
        requests = ", ".join(f"{count} {kind}" for kind, count in self.requests.most_common())
        lines += [
            f"{len(self.injections)} faults in {self.seconds:.0f} s; {self.requests.total()} requests ({requests})",
            f"{self.revisions} revisions; quiet {self.settled:.1f} s after the last fault; {len(self.wrong)} losses",
            *(f"dead letter: {reason}" for reason in self.letters),
            *self.wrong,
            f"SOFTMAN_CHAOS_SEED={self.seed} repeats the choice of faults",
        ]
        return "\n".join(lines)


@dataclass
class Storm:
    """Faults, one after the other.

    Args:
        scene: with targets.
        seed: told in the report.
        patient: whether the next fault waits until the last one has healed. Otherwise it comes when it comes.
        pause: seconds between faults, up to.
        say: told what happens.
    """

    scene: Scene
    seed: int
    patient: bool = False
    pause: float = 2.0
    say: Callable[[str], None] = lambda _text: None

    def __post_init__(self) -> None:
        self.report = Report(self.seed)
        self._gateway = threading.Lock()
        """Held while a fault ends the gateway: nobody else starts it then."""
        self._settling = Settling(self.scene)

    def possible(self, faults: Iterable[Fault]) -> list[Fault]:
        """Those that can be injected here; the others are told of in the report."""
        found = []
        for fault in faults:
            if fault.own and not self.scene.proxies:
                continue
            hinder = fault.hinder(self.scene)
            if hinder:
                self.report.skipped[fault.name] = hinder
            else:
                found.append(fault)
        return found

    def run(self, faults: Iterable[Fault]) -> Report:
        """Inject these faults under load, wait until all is quiet, and look.

        Raises:
            NotQuiet: something still waits, long after.
        """
        scene, report = self.scene, self.report
        began = time.monotonic()
        with self._caretaker(), ManifestWatch(scene) as watch:
            with Load([target.user for target in scene.targets]) as load, ThreadPoolExecutor(_PROBES) as pool:
                pending = [self._inject(fault, pool) for fault in faults]
                for future in pending:
                    future.result()
            report.seconds = time.monotonic() - began
            self.say(f"the storm is over after {report.seconds:.0f} s")
            report.requests = load.done
            report.settled = self._settling.wait()
        report.wrong += self._wrong(watch)
        return report

    def _wrong(self, watch: ManifestWatch) -> Iterator[str]:
        scene, report = self.scene, self.report
        yield from watch.broken
        yield from losses(scene)
        for target in scene.targets:
            report.revisions += target.reader.manifest().revision
            yield from defects(target)
            yield from gaps(target, watch)
        for letter in letters(scene):
            report.letters.append(f"{letter.task or letter.queue}: {letter.reason}")
            if not letter.reason:
                yield f"a dead letter of {letter.queue} has no reason"

    def _inject(self, fault: Fault, pool: ThreadPoolExecutor) -> "Future[None]":
        scene, injection = self.scene, Injection(fault.name)
        time.sleep(scene.random.uniform(0, self.pause))
        self.report.injections.append(injection)
        number = len(self.report.injections)
        target, held = scene.random.choice(scene.targets), fault.seconds(scene)
        self.say(f"{number}: {fault.name}, {held:.1f} s")
        began = time.monotonic()
        ended: Future[float] = Future()
        with self._gateway if fault.ends_gateway else nullcontext():
            heal = fault.inject(scene)
            probe = pool.submit(self._probe, target, number, injection, ended)
            try:
                time.sleep(held)
            finally:
                heal()
                injection.held = time.monotonic() - began
                ended.set_result(time.monotonic())
        if self.patient:
            probe.result()
            self.say(f"   healed after {injection.healed:.1f} s")
        return probe

    @contextmanager
    def _caretaker(self) -> Iterator[None]:
        """Starts the gateway again when it ended, and no fault has ended it.

        radosgw 16.2 crashes now and then under concurrent requests to buckets that notify: a fault of its own.
        """
        stopping = threading.Event()

        def look() -> None:
            gateway = self.scene.servers.rgw
            while not stopping.wait(1.0):
                with self._gateway:
                    if not gateway.alive():
                        self.say(DIED)
                        self.report.deaths += 1
                        gateway.kill()
                        gateway.start()

        thread = threading.Thread(target=look, name="caretaker", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def _probe(self, target: Target, number: int, injection: Injection, ended: "Future[float]") -> None:
        """Write an object in the middle of a fault, and note when it is shown."""
        name = f"probe/{number}"
        target.user.put(name, b"%d" % number)
        deadline = time.monotonic() + HEAL_SECONDS
        while not _shows(target, name):
            if time.monotonic() > deadline:
                injection.late = True
                break
            time.sleep(_LOOK)
        seen = time.monotonic()
        injection.healed = max(0.0, seen - ended.result())


def _shows(target: Target, name: str) -> bool:
    with suppress(CvmfsError, SoftmanError, OSError), target.reader.snapshot() as snapshot:
        snapshot.lookup("/" + name)
        return True
    return False
