"""Publishing from a directory and from a tar archive, on a memory file system where there is one (disks spoil figures).

Ours is the whole command ``softman repo publish``, from its start to the signed revision. The peer is
``cvmfs_swissknife ingest`` on the same archive in the same run: the core of ``cvmfs_server ingest``, which adds about
0.3 s for mounting, signing and tagging, but needs Apache, an overlay mount and root's ``/etc/cvmfs``, so that it is not
measured here. It does write ``/var/spool/cvmfs``; where it is not on the PATH or may not, the stand-in is "zlib level 6
in one thread": compressing and hashing the same files, storing nothing.

Every figure is a median. Besides seconds there are seconds of CPU time of all processes, which other work on the
machine disturbs less, and the memory of all processes together (proportional set sizes, looked at every 20 ms in a run
of its own). ``--scale 0.02`` makes a run of seconds.

What level of compression costs, on 46 MB of the interpreter's library in 7,042 files, one core, python-isal: level 0
495 MB/s to 50.7 % of the size, level 1 330 to 43.3, level 2 (the default) 330 to 43.1, level 3 212 to 42.9; level 6 of
zlib 42 MB/s to 40.4 %.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from softman.cvmfs.format.manifest import MANIFEST_NAME, Manifest

NAME = "bench.example.org"
# As installed: with its compiled modules, which PYTHONDONTWRITEBYTECODE (-E) would keep from being there.
SOFTMAN = (sys.executable, "-E", "-c", "from softman.cli.main import main; main()")
SPOOL = Path("/var/spool/cvmfs") / NAME
MB = 1e6
PEER, STAND_IN = "cvmfs_swissknife ingest", "zlib level 6 in one thread"
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Run:
    """Seconds by the clock, and of CPU time of all processes."""

    seconds: float
    cpu: float


def say(name: str, value: float, unit: str, peer: float | None = None, peer_name: str = "") -> None:
    """One figure. ``ratio`` above 1 says that we are so many times as fast."""
    row: dict[str, object] = {"name": name, "value": round(value, 3), "unit": unit}
    if peer is not None:
        row |= {"peer": round(peer, 3), "ratio": round(peer / value, 3), "peer_name": peer_name}
    print(json.dumps(row), flush=True)


def medians(runs: Sequence[Run]) -> Run:
    return Run(statistics.median(run.seconds for run in runs), statistics.median(run.cpu for run in runs))


class Bench:
    """A scratch folder with a repository that is made anew for every run."""

    def __init__(self, root: Path, rounds: int) -> None:
        self.root = root
        self.rounds = rounds
        self.place = ("--storage", (root / "srv").as_uri(), "--keys", str(root / "keys"))
        self.scratch = root / "scratch"
        self.scratch.mkdir()

    def command(self, *arguments: str) -> list[str]:
        """``softman``, with its temporary files where everything is."""
        return ["/usr/bin/env", f"TMPDIR={self.scratch}", *SOFTMAN, "repo", *arguments]

    def fresh(self) -> Path:
        shutil.rmtree(self.root / "srv", ignore_errors=True)
        subprocess.run(self.command("create", NAME, *self.place), check=True, stdout=subprocess.DEVNULL)
        return self.root / "srv" / NAME

    def publishing(self, source: Path) -> list[str]:
        self.fresh()
        return self.command("publish", NAME, str(source), *self.place, "--json")

    def ours(self, source: Path) -> Run:
        return timed(self.publishing(source))

    def memory(self, source: Path) -> float:
        """MiB of all processes together, at most, beyond those of an interpreter that does nothing."""
        idle = largest_memory([sys.executable, "-E", "-c", "import time; time.sleep(0.3)"])
        return largest_memory(self.publishing(source)) - idle

    def official(self, archive: Path) -> Run:
        storage = self.fresh()
        temporary = Path(tempfile.mkdtemp(dir=self.root))
        base = Manifest.from_bytes((storage / MANIFEST_NAME).read_bytes()).manifest.root_hash
        command = f"cvmfs_swissknife ingest -u {temporary} -c {temporary} -t {temporary} -b {base} -N {NAME} -B data"
        command += f" -r local,{storage}/data/txn,{storage} -w file://{storage} -o {temporary}/manifest"
        command += f" -K {self.root}/keys/{NAME}.pub -T {archive}"
        run = timed(command.split())
        shutil.rmtree(temporary)
        return run


def timed(command: Sequence[str]) -> Run:
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return Run(time.perf_counter() - started, usage.ru_utime + usage.ru_stime)


def largest_memory(command: Sequence[str]) -> float:
    """MiB of a process and those below it together, at most."""
    process = psutil.Popen(command, stdout=subprocess.DEVNULL)
    largest = 0
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):
            family = [process.pid, *(child.pid for child in process.children(recursive=True))]
            largest = max(largest, sum(map(proportional_size, family)))
        time.sleep(LOOK_SECONDS)
    if process.returncode:
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return largest / 1024


def proportional_size(pid: int) -> int:
    """KiB of memory; what several processes share is split among them."""
    with suppress(OSError):  # it is gone
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0


def compress_alone(source: Path) -> Run:
    """The stand-in."""
    started, before = time.perf_counter(), time.process_time()
    for path in source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            state, hasher = zlib.compressobj(6), hashlib.sha1(usedforsecurity=False)
            with path.open("rb") as file:
                while piece := file.read(1024 * 1024):
                    hasher.update(state.compress(piece))
            hasher.update(state.flush())
    return Run(time.perf_counter() - started, time.process_time() - before)


def measure(bench: Bench, name: str, source: Path, *, use_official: bool) -> None:
    """All figures of one tree; ours and the peer's take turns, so that both meet the same machine."""
    archive = bench.root / "source.tar"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(source, arcname=".")
    places = {"directory": source, "tar": archive}
    peers: list[Run] = []
    runs: dict[str, list[Run]] = {kind: [] for kind in places}
    for _ in range(bench.rounds):
        peers.append(bench.official(archive) if use_official else compress_alone(source))
        for kind, place in places.items():
            runs[kind].append(bench.ours(place))
    peer, peer_name = medians(peers), PEER if use_official else STAND_IN
    for kind, place in places.items():
        ours = medians(runs[kind])
        say(f"publish {name} ({kind})", ours.seconds, "s", peer.seconds, peer_name)
        say(f"publish {name} ({kind}): CPU time", ours.cpu, "s", peer.cpu, peer_name)
        say(f"publish {name} ({kind}): memory of all processes", bench.memory(place), "MiB")
    archive.unlink()


def small_files(root: Path, count: int) -> Path:
    source = random.Random(3)  # noqa: S311 - test data
    words = [bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz", k=source.randint(2, 9))) for _ in range(3000)]
    for number in range(count):
        folder = root / "small" / f"{number % 100:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / str(number)).write_bytes(b" ".join(source.choices(words, k=250))[:1024])
    return root / "small"


def software(root: Path, scale: float) -> Path:
    """The interpreter's library with its packages, or the first part of it."""
    left = 820 * MB * scale
    for path in sorted(Path(sysconfig.get_path("stdlib")).rglob("*")):
        if path.is_file() and not path.is_symlink() and left > 0:
            target = root / "software" / path.relative_to(path.anchor)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            left -= path.stat().st_size
    return root / "software"


def library_content() -> Iterator[bytes]:
    for path in sorted(Path("/usr/lib").rglob("*")):
        if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
            with path.open("rb") as file:
                while piece := file.read(1024 * 1024):
                    yield piece
    while True:
        yield os.urandom(1024 * 1024)


def large_files(root: Path, size: int) -> Path:
    """Four files of what a program library is made of: the libraries of this system one after the other."""
    (root / "large").mkdir()
    content = library_content()
    for number in range(4):
        with (root / "large" / str(number)).open("wb") as file:
            while (left := size // 4 - file.tell()) > 0:
                file.write(next(content)[:left])
    return root / "large"


def measure_all(bench: Bench, scale: float, only: str | None, *, use_official: bool) -> None:
    if only in {None, "small"}:
        count = max(100, int(10_000 * scale))
        measure(bench, f"{count} files of 1 KiB", small_files(bench.root, count), use_official=use_official)
    if only in {None, "software"}:
        measure(bench, "a software tree", software(bench.root, scale), use_official=use_official)
        shutil.rmtree(bench.root / "software")
    if only in {None, "large"}:
        size = int(1024**3 * scale)
        source = large_files(bench.root, size)
        measure(bench, f"{size // 2**20} MiB in large files", source, use_official=use_official)
        shutil.rmtree(source)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["small", "software", "large"])
    arguments = parser.parse_args()
    memory = Path("/dev/shm")  # noqa: S108 - what is measured must not be the disk
    use_official = shutil.which("cvmfs_swissknife") is not None and os.geteuid() == 0
    spools = [path for path in (SPOOL.parent, SPOOL) if use_official and not path.exists()]
    for path in spools:
        path.mkdir()
    try:
        with tempfile.TemporaryDirectory(prefix="softman-bench-", dir=memory if memory.is_dir() else None) as root:
            bench = Bench(Path(root), arguments.rounds)
            measure_all(bench, arguments.scale, arguments.only, use_official=use_official)
    finally:
        for path in reversed(spools):
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
