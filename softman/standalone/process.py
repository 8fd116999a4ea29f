"""Starting and ending processes so that exactly ours are ended, whoever asks and however late.

Each process is started as the leader of its own session and recorded in ``pids/<name>.json`` with its pid, its start
time in clock ticks since boot (field 22 of ``/proc/<pid>/stat``, proc(5)) and the boot's id. Wall-clock start times
are not used: they move when the clock is set. A record whose process is another one by now never leads to a signal:
signals go through a pidfd that is opened before the identity is checked. Every process also inherits a random marker in
its environment, by which children that outlived their parent are found.

Linux only, like the servers.
"""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil

from softman.errors import NotFound, ServiceUnavailable

MARKER_VARIABLE = "STANDALONE_STACK_MARKER"
_INHERITED = ("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD", "USER", "LOGNAME")
_SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_POLL_SECONDS = 0.02
_KILL_SECONDS = 10.0
_TAIL_BYTES = 4096


def search_path() -> str:
    """The caller's PATH with the system directories that an ordinary user's PATH leaves out."""
    own = [part for part in os.environ.get("PATH", os.defpath).split(os.pathsep) if part]
    return os.pathsep.join([*own, *(part for part in _SYSTEM_DIRECTORIES if part not in own)])


def find_program(name: str) -> str | None:
    """The absolute path of a program, or None when it is not installed."""
    return shutil.which(name, path=search_path())


def require_program(name: str) -> str:
    """The absolute path of a program.

    Raises:
        NotFound: it is not installed.
    """
    found = find_program(name)
    if found is None:
        msg = f"the program {name} is not installed"
        raise NotFound(msg)
    return found


def base_environment() -> dict[str, str]:
    """What a child gets of our environment: locale and search path, and nothing that could carry a secret."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "PATH": search_path()}


def python_environment() -> dict[str, str]:
    """For a child that is Python of ours: it finds the modules that we found, wherever it works, installed or not."""
    ours = str(Path(__file__).resolve().parents[2])
    inherited = os.environ.get("PYTHONPATH", "")
    return {**base_environment(), "PYTHONPATH": os.pathsep.join(filter(None, (ours, inherited)))}


def wait_until(
    condition: Callable[[], bool], what: str, *, seconds: float, still_possible: Callable[[], bool] = lambda: True
) -> None:
    """Wait for a condition. ``OSError`` and ``ValueError`` (no answer, a broken one) count as not yet.

    Args:
        condition: asked about fifty times a second.
        what: for the message, a clause such as ``redis answers``.
        seconds: how long at most.
        still_possible: asked beside the condition; False ends the wait at once.

    Raises:
        ServiceUnavailable: the time is over, or the condition cannot come true any more.
    """
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError, ValueError):
            if condition():
                return
        if not still_possible():
            msg = f"the process ended before {what}"
            raise ServiceUnavailable(msg)
        if time.monotonic() > deadline:
            msg = f"not within {seconds:g} s: {what}"
            raise ServiceUnavailable(msg)
        time.sleep(_POLL_SECONDS)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, or an empty text when there is none."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file in one step; nobody else can read it at any moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    temporary.chmod(mode)
    temporary.replace(path)


def _stat_fields(pid: int) -> list[str]:
    """State, parent, ... of ``/proc/<pid>/stat`` after the command, or an empty list when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, never mistaken for a later one with the same pid."""

    pid: int
    started: int
    """Clock ticks since boot."""
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Identity | None":
        """Who has this pid now; None when nobody has, or a zombie."""
        fields = _stat_fields(pid)
        if not fields or fields[0] in "ZX":
            return None
        return cls(pid, int(fields[19]), _BOOT_ID.read_text(encoding="ascii").strip())

    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this very process; nothing happens when it is gone."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)


class ProcessTable:
    """The processes of one stack, by name. Several programs may hold a table of the same directory.

    Args:
        directory: the stack's directory; records go to ``pids/`` in it.
        marker: the stack's random marker.
    """

    def __init__(self, directory: Path, marker: str) -> None:
        self._directory = directory
        self._marker = marker
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def _records(self) -> Path:
        return self._directory / "pids"

    def spawn(
        self, name: str, argv: Sequence[str], *, log: Path, environment: Mapping[str, str], cwd: Path
    ) -> Identity:
        """Start a process as the leader of a new session and record it.

        Args:
            name: by which it is found again; an earlier process of this name must have ended.
            argv: program and arguments; no secrets, for everybody can read them.
            log: where standard output and error are appended.
            environment: the whole environment but the marker.
            cwd: working directory; below the stack's directory.

        Raises:
            ServiceUnavailable: the program cannot be started, or ended before it could be recorded.
        """
        self._records.mkdir(mode=0o700, exist_ok=True)
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock:
            self._refuse_when_closed(name)
            try:
                with log.open("ab") as output:
                    child = self._popen(argv, output, {**environment, MARKER_VARIABLE: self._marker}, cwd)
            except OSError as exc:
                msg = f"{name} cannot be started: {exc}"
                raise ServiceUnavailable(msg) from exc
            self._children[name] = child
        identity = Identity.of(child.pid)
        if identity is None:
            child.wait()
            msg = f"{name} ended at once with status {child.returncode}; the end of its log:\n{tail(log)}"
            raise ServiceUnavailable(msg)
        write_private(self._records / f"{name}.json", json.dumps({**asdict(identity), "program": argv[0]}))
        return identity

    def run(
        self, argv: Sequence[str], *, environment: Mapping[str, str], cwd: Path, seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        """Run a short command to its end; ``sweep`` ends it too.

        Raises:
            ServiceUnavailable: it cannot be started, or did not end in time.
        """
        self._refuse_when_closed(argv[0])
        try:
            return subprocess.run(
                list(argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env={**environment, MARKER_VARIABLE: self._marker},
                cwd=cwd,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            msg = f"{argv[0]} did not run: {exc}"
            raise ServiceUnavailable(msg) from exc

    def _refuse_when_closed(self, name: str) -> None:
        if self._closed:
            msg = f"{name} is not started: the stack is being stopped"
            raise ServiceUnavailable(msg)

    @staticmethod
    def _popen(
        argv: Sequence[str], output: IO[bytes], environment: dict[str, str], cwd: Path
    ) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=cwd,
            start_new_session=True,
        )

    def names(self) -> list[str]:
        """All recorded processes, sorted, whether they run or not."""
        return sorted(path.stem for path in self._records.glob("*.json"))

    def identity(self, name: str) -> Identity | None:
        """The process recorded under ``name``, or None."""
        try:
            record = json.loads((self._records / f"{name}.json").read_text(encoding="utf-8"))
            return Identity(int(record["pid"]), int(record["started"]), str(record["boot"]))
        except (OSError, ValueError, KeyError):
            return None

    def alive(self, name: str) -> bool:
        """Whether the process recorded under ``name`` runs."""
        identity = self.identity(name)
        self._reap(name)
        return identity is not None and identity.alive()

    def exit_status(self, name: str) -> int | None:
        """The exit status of a child of this program that ended; None when it runs or is not our child."""
        child = self._children.get(name)
        return None if child is None else child.poll()

    def stop(self, name: str, *, grace: float) -> None:
        """End a process: SIGTERM, after ``grace`` seconds SIGKILL for it and all of its session; forget it."""
        self.stop_all([name], grace=grace)

    def stop_all(self, names: Sequence[str], *, grace: float) -> None:
        """The same for several at the same time."""
        if grace > 0:
            for name in names:
                identity = self.identity(name)
                if identity is not None:
                    identity.send(signal.SIGTERM)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline and any(self.alive(name) for name in names):
                time.sleep(_POLL_SECONDS)
        for name in names:
            self.kill(name)

    def kill(self, name: str) -> None:
        """SIGKILL for a process and all of its session, wait until they are gone, forget it.

        Raises:
            ServiceUnavailable: a process did not end.
        """
        identity = self.identity(name)
        if identity is not None:
            self._kill_all(lambda: self._session(identity), name)
        child = self._children.pop(name, None)
        if child is not None:
            child.wait()
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def sweep(self) -> None:
        """SIGKILL for every process that carries the marker of this stack, but never for this program itself.

        Nothing is started through this table after that, by whichever thread.
        """
        with self._lock:
            self._closed = True
        self._kill_all(lambda: [found for found in self._marked() if found.pid != os.getpid()], "the stack")
        for child in tuple(self._children.values()):
            child.poll()

    def detach(self) -> None:
        """Let the children outlive this program without a complaint about them."""
        for child in self._children.values():
            child.returncode = child.poll() or 0
        self._children.clear()

    def _reap(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None:
            child.poll()

    def _kill_all(self, find: Callable[[], Sequence[Identity]], what: str) -> None:
        """Repeat until nothing is found: a process may fork while it is being looked for."""
        deadline = time.monotonic() + _KILL_SECONDS
        while found := find():
            for identity in found:
                identity.send(signal.SIGKILL)
            for child in tuple(self._children.values()):
                child.poll()
            if time.monotonic() > deadline:
                msg = f"{what}: processes {[item.pid for item in found]} do not end"
                raise ServiceUnavailable(msg)
            time.sleep(_POLL_SECONDS / 2)

    def _session(self, leader: Identity) -> list[Identity]:
        """The living processes of a session that we started.

        The kernel does not give a session's id to a new process while the session has members. Once the leader is gone
        a member must also carry our marker or work below our directory (servers overwrite their environment), so that a
        later session with the same id is left alone.
        """
        occupant = Identity.of(leader.pid)
        if occupant is not None and occupant != leader:
            return []
        members = []
        for pid in psutil.pids():
            with suppress(OSError):
                if os.getsid(pid) != leader.pid:
                    continue
                identity = Identity.of(pid)
                if identity is not None and (occupant is not None or self._is_ours(pid)):
                    members.append(identity)
        return members

    def _is_ours(self, pid: int) -> bool:
        return self._has_marker(pid) or self._works_here(pid)

    def _works_here(self, pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(self._directory)
        except OSError:
            return False

    def _has_marker(self, pid: int) -> bool:
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return False
        return f"{MARKER_VARIABLE}={self._marker}".encode() in environment.split(b"\0")

    def _marked(self) -> Iterator[Identity]:
        for pid in psutil.pids():
            if self._has_marker(pid):
                identity = Identity.of(pid)
                if identity is not None:
                    yield identity
