"""What the servers of the stack have in common: their facts (ports and secrets), starting, ending, asking.

A server is one or more processes that start and end together. It is started on the ports its facts name, again and
again, so that an outage can be played.
"""

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from softman.errors import ServiceUnavailable
from softman.standalone.ports import PortHold, is_taken
from softman.standalone.process import ProcessTable, base_environment, tail, wait_until

_PORT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Facts:
    """What must be known to find a running server again: loopback ports and secrets by purpose."""

    ports: dict[str, int] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the servers of one stack live."""

    directory: Path
    """Private (mode 0700); everything is below it."""
    sockets: Path
    """For UNIX sockets: their paths are limited to 107 characters (unix(7)), so this one is short."""
    processes: ProcessTable
    ports: PortHold


class Server(ABC):
    """One server of the stack.

    Args:
        place: where it lives.
        facts: ports and secrets of a server that was started before; fresh ones when None.
    """

    name: ClassVar[str]
    port_names: ClassVar[tuple[str, ...]]
    secret_names: ClassVar[tuple[str, ...]] = ()
    process_names: ClassVar[tuple[str, ...]]
    """In the order of starting."""
    start_seconds: ClassVar[float] = 120.0
    stop_seconds: ClassVar[float] = 5.0

    def __init__(self, place: Place, facts: Facts | None = None) -> None:
        self.place = place
        self.facts = facts or Facts(self._fresh_ports(), {name: secrets.token_hex(16) for name in self.secret_names})

    @property
    def home(self) -> Path:
        """The server's own directory."""
        return self.place.directory / self.name

    @property
    def log(self) -> Path:
        """What the server's processes print."""
        return self.place.directory / "log" / f"{self.name}.log"

    @abstractmethod
    def prepare(self) -> None:
        """Write configuration and data directories; nothing runs yet."""

    @abstractmethod
    def launch(self) -> None:
        """Start the processes and wait until the server answers."""

    @abstractmethod
    def version(self) -> str:
        """The version of the installed program."""

    def start(self) -> None:
        """Start on the ports of the facts; returns when the server answers.

        Raises:
            ServiceUnavailable: it did not come up; nothing of it runs, and the end of the log is in the message.
        """
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.prepare()
            self._release_ports()
            self.launch()
        except ServiceUnavailable as exc:
            self.kill()
            msg = f"{self.name} did not start: {exc}\nthe end of {self.log}:\n{tail(self.log)}"
            raise ServiceUnavailable(msg) from exc
        except BaseException:
            self.kill()
            raise

    def start_anywhere(self) -> None:
        """Like ``start``; moves to other ports when somebody else took one in the meantime."""
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            try:
                self.start()
            except ServiceUnavailable:
                if attempt == _PORT_ATTEMPTS or not any(is_taken(port) for port in self.facts.ports.values()):
                    raise
                self.facts = replace(self.facts, ports=self._fresh_ports())
            else:
                return

    def stop(self) -> None:
        """End the processes in good order, the last started first."""
        for process in reversed(self.process_names):
            self.place.processes.stop(process, grace=self.stop_seconds)

    def kill(self) -> None:
        """End the processes at once, as a crash would."""
        for process in reversed(self.process_names):
            self.place.processes.kill(process)

    def alive(self) -> bool:
        """Whether all of its processes run."""
        return all(self.place.processes.alive(process) for process in self.process_names)

    def environment(self) -> dict[str, str]:
        """The environment of the server's processes."""
        return {**base_environment(), "HOME": str(self.home), "LC_ALL": "C.UTF-8"}

    def spawn(self, process: str, argv: Iterable[str]) -> None:
        """Start one of the processes."""
        self.place.processes.spawn(process, list(argv), log=self.log, environment=self.environment(), cwd=self.home)

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until the condition holds, or give up when a process ends."""
        wait_until(condition, what, seconds=self.start_seconds, still_possible=self._running)

    def _running(self) -> bool:
        recorded = set(self.place.processes.names())
        return all(self.place.processes.alive(name) for name in self.process_names if name in recorded)

    def _fresh_ports(self) -> dict[str, int]:
        return {name: self.place.ports.take() for name in self.port_names}

    def _release_ports(self) -> None:
        for port in self.facts.ports.values():
            self.place.ports.release(port)
