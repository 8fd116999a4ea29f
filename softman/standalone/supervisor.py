"""The small program that keeps our own processes running: ``python -m softman.standalone.supervisor DIRECTORY``.

It starts every process of ``processes``, starts those that end again after a pause that grows while they keep ending,
and on SIGTERM or SIGINT stops them, those that bring work before those that do it. What it knows is in
``workers.json``. When it is killed itself, the processes go on without it; ``Stack.stop`` ends both.
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from types import FrameType

from softman.errors import ServiceUnavailable, SoftmanError
from softman.log import configure_logging, get_logger
from softman.standalone.process import write_private
from softman.standalone.processes import ProcessSpec, child_environment, command, process_specs, scratch_directory
from softman.standalone.stack import Stack

STATUS_FILE = "workers.json"
_LOOK_SECONDS = 0.2
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STEADY_SECONDS = 30.0
"""A process that ran so long may be started again at once when it ends."""
_STOP_SECONDS = 10.0
"""What running tasks get to finish; what is cut off then is delivered again."""

_log = get_logger(__name__)


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    starts: int = 0
    started: float = 0.0
    pause: float = 0.0
    due: float = 0.0

    def ended(self, now: float) -> None:
        """Decide when to start it again."""
        steady = now - self.started >= _STEADY_SECONDS
        self.pause = 0.0 if steady else min(max(_FIRST_PAUSE, self.pause * 2), _LONGEST_PAUSE)
        self.due = now + self.pause


class Supervisor:
    """Keeps processes running until it is told to stop.

    Args:
        stack: whose processes these are.
        specs: the processes.
    """

    def __init__(self, stack: Stack, specs: Iterable[ProcessSpec]) -> None:
        self._stack = stack
        self._children = [_Child(spec) for spec in specs]
        self._running: set[str] = set()
        self._stop = threading.Event()

    def stop(self, *_: object) -> None:
        """Ask it to stop; also a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Start all, watch them until ``stop`` is called, then stop them."""
        scratch_directory(self._stack).mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            while not self._stop.is_set():
                if self._look():
                    self._write_status()
                self._stop.wait(_LOOK_SECONDS)
        finally:
            self._stop_all()

    def _look(self) -> bool:
        """Start what does not run and is due; True when something changed."""
        changed = False
        for child in self._children:
            process = child.spec.process
            if self._stack.processes.alive(process):
                continue
            changed = True
            now = time.monotonic()
            if process in self._running:
                self._running.discard(process)
                child.ended(now)
                status = self._stack.processes.exit_status(process)
                _log.warning("process ended", process=child.spec.name, status=status, again_in=child.pause)
            if now >= child.due:
                self._start(child)
        return changed

    def _start(self, child: _Child) -> None:
        table, spec = self._stack.processes, child.spec
        child.started = time.monotonic()
        child.starts += 1
        try:
            table.kill(spec.process)  # the children of one that was killed may still be there
            table.spawn(
                spec.process,
                command(spec),
                log=self._stack.directory / "log" / f"{spec.name}.log",
                environment=child_environment(self._stack, spec, self._stack.flower),
                cwd=self._stack.directory / "state",
            )
        except ServiceUnavailable as exc:
            child.ended(time.monotonic())
            _log.warning("process cannot be started", process=spec.name, reason=str(exc), again_in=child.pause)
            return
        self._running.add(spec.process)
        _log.info("process started", process=spec.name, starts=child.starts)

    def _stop_all(self) -> None:
        by_stage = sorted(self._children, key=attrgetter("spec.stage"))
        for _stage, children in groupby(by_stage, key=attrgetter("spec.stage")):
            names = [child.spec.process for child in children]
            self._stack.processes.stop_all(names, grace=_STOP_SECONDS)
            _log.info("processes stopped", processes=names)
        self._running.clear()
        self._write_status()

    def _write_status(self) -> None:
        status = {
            child.spec.name: {"running": child.spec.process in self._running, "starts": child.starts}
            for child in self._children
        }
        write_private(self._stack.directory / STATUS_FILE, json.dumps(status, indent=1) + "\n")


def main(arguments: list[str]) -> int:
    """Run until a signal comes.

    Returns:
        0 after a signal, 2 when the directory holds no stack.
    """
    configure_logging()
    try:
        [directory] = arguments
        stack = Stack.attach(Path(directory))
    except (ValueError, SoftmanError) as exc:
        _log.error("no stack to supervise", reason=str(exc))
        return 2
    supervisor = Supervisor(stack, process_specs(stack.flower, stack.dashboard))

    def on_signal(number: int, _frame: FrameType | None) -> None:
        _log.info("stopping", signal=signal.Signals(number).name)
        supervisor.stop()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    supervisor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
