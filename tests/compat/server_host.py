"""The official ``cvmfs_server`` in a mount namespace of its own: what it writes all over a machine lies in one folder.

It mounts each repository and an overlay over it, and wants its programs in ``/usr/bin``: those there pass on to the
ones on the PATH. Neither Apache nor systemd is needed; a file of hooks takes the questions for them away.
"""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from softman.standalone.process import wait_until
from tests.support.serving import served

_PROGRAMS = ("cvmfs2", "cvmfs_publish", "cvmfs_server", "cvmfs_suid_helper", "cvmfs_swissknife")
_PLACES = {"etc": "/etc/cvmfs", "srv": "/srv", "spool": "/var/spool/cvmfs", "cvmfs": "/cvmfs"}
_HOOKS = "".join(f"{name}() {{ :; }}\n" for name in ("check_apache", "ensure_enabled_apache_modules"))
_HOOKS += "request_apache_service() { :; }\n"
_SECONDS = 120.0


@dataclass(frozen=True)
class ServerHost:
    """A stratum 0 of the official tools.

    Attributes:
        root: what they see as ``/srv``, ``/etc/cvmfs`` and so on lies here.
        namespace: the process that keeps the namespace.
        url: where ``/srv/cvmfs`` is read.
    """

    root: Path
    namespace: int
    url: str

    @property
    def storage(self) -> Path:
        """``/srv/cvmfs``, with a folder for each repository."""
        return self.root / "srv" / "cvmfs"

    @property
    def keys(self) -> Path:
        """``/etc/cvmfs/keys``."""
        return self.root / "etc" / "keys"

    def run(self, *command: object) -> str:
        """Run a program in the namespace, which has to succeed; what it prints."""
        enter = ["nsenter", f"--mount=/proc/{self.namespace}/ns/mnt", "--wd=/"]
        done = subprocess.run(
            [*enter, *map(str, command)], capture_output=True, text=True, timeout=_SECONDS, check=False, cwd="/"
        )
        assert done.returncode == 0, (command, done.stdout + done.stderr)
        return done.stdout

    def server(self, command: str, *arguments: object) -> str:
        """Run ``cvmfs_server``."""
        return self.run("cvmfs_server", command, *arguments)

    def publish(self, name: str, *changes: tuple[object, ...]) -> None:
        """A transaction with these commands in it."""
        self.server("transaction", name)
        for command in changes:
            self.run(*command)
        self.server("publish", "-f", name)


@contextmanager
def server_host(root: Path) -> Iterator[ServerHost]:
    """Make the namespace, and take everything in it down at the end; skips the test where it cannot be made."""
    for program in _PROGRAMS:
        if shutil.which(program) is None:
            pytest.skip(f"the official {program} is not on the PATH")
    if os.geteuid() != 0:
        pytest.skip("cvmfs_server mounts: it needs root")
    for folder in (*_PLACES, "etc/keys", "etc/repositories.d", "srv/cvmfs", "upper", "work"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "fstab").touch()
    (root / "etc" / "cvmfs_server_hooks.sh").write_text(_HOOKS)
    keeper = subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _set_up(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/",
    )  # fmt: skip
    with _mount_points(), keeper, served(root / "srv") as url:
        said = keeper.stdout.readline() if keeper.stdout else ""
        if said != "ready\n":
            pytest.skip(f"no namespace with an overlay can be made here: {said}")
        host = ServerHost(root, keeper.pid, f"{url}/cvmfs")
        try:
            yield host
        finally:
            host.run("sh", "-c", 'for p in /cvmfs/* /var/spool/cvmfs/*/rdonly; do umount -l "$p" || :; done')
            wait_until(lambda: _inside(keeper.pid) == {keeper.pid}, "nobody is in the namespace any more", seconds=30.0)


@contextmanager
def _mount_points() -> Iterator[None]:
    """The folders of the machine that are mounted over, for the time being."""
    wanted = [folder for place in _PLACES.values() for folder in (Path(place), *Path(place).parents)]
    missing = [folder for folder in wanted if not folder.exists()]
    for place in _PLACES.values():
        Path(place).mkdir(parents=True, exist_ok=True)
    yield
    for folder in sorted(missing, reverse=True):
        with suppress(OSError):  # another test uses it meanwhile
            folder.rmdir()


def _set_up(root: Path) -> str:
    place, here = shlex.quote(str(root)), "/usr/bin"
    lines = [f"mount --bind {place}/{mine} {theirs}" for mine, theirs in _PLACES.items()]
    lines.append(f"mount --bind {place}/fstab /etc/fstab")
    lines.append(f"mount -t overlay overlay -o lowerdir={here},upperdir={place}/upper,workdir={place}/work {here}")
    lines.append(f"rm -f {here}/systemctl")
    for program in _PROGRAMS:
        real = str(Path(shutil.which(program) or program))
        if Path(real).parent != Path(here):
            lines.append(f"printf '#!/bin/sh\\nexec %s \"$@\"\\n' {shlex.quote(real)} >{here}/{program}")
            lines.append(f"chmod 755 {here}/{program}")
    return "\n".join([*lines, "echo ready", "exec cat"])


def _inside(pid: int) -> set[int]:
    """The processes in the same mount namespace."""
    wanted = Path(f"/proc/{pid}/ns/mnt").readlink()
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "ns" / "mnt").readlink() == wanted:
                found.add(int(process.name))
    return found
