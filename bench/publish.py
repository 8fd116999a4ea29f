"""Publishing, walking, and changing one file, on a memory file system where there is one (disks spoil the figures).

The peer of publishing is ``cvmfs_swissknife ingest`` on the same tar archive in the same run, without signing; it needs
to write ``/var/spool/cvmfs``. Where it is not on the PATH or may not, the stand-in is "zlib level 6 in one thread":
compressing and hashing the same files, storing nothing. Our figures are those of the whole command ``softman repo
publish``, from its start to the signed revision. ``--scale 0.02`` makes a run of seconds.
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
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from softman.cvmfs.balancing import Balance
from softman.cvmfs.format.hashes import ObjectKind, hash_bytes
from softman.cvmfs.format.manifest import MANIFEST_NAME, Manifest
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.snapshot import Snapshot
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Transaction

NAME = "bench.example.org"
SOFTMAN = (sys.executable, "-c", "from softman.cli.main import main; main()")
SPOOL = Path("/var/spool/cvmfs") / NAME
MB = 1e6
STAND_IN = "zlib level 6 in one thread"


def say(name: str, value: float, unit: str, peer: float | None = None, peer_name: str = "") -> None:
    """One figure. ``ratio`` above 1 says that we are so many times as fast."""
    row: dict[str, object] = {"name": name, "value": round(value, 3), "unit": unit}
    if peer is not None:
        row |= {"peer": round(peer, 3), "ratio": round(peer / value, 3), "peer_name": peer_name}
    print(json.dumps(row), flush=True)


def now() -> datetime:
    return datetime.now(UTC)


class Bench:
    """A scratch folder with a repository that is made anew for every run."""

    def __init__(self, root: Path, rounds: int) -> None:
        self.root = root
        self.rounds = rounds
        self.place = ("--storage", (root / "srv").as_uri(), "--keys", str(root / "keys"))

    def fresh(self) -> Path:
        shutil.rmtree(self.root / "srv", ignore_errors=True)
        subprocess.run([*SOFTMAN, "repo", "create", NAME, *self.place], check=True, stdout=subprocess.DEVNULL)
        return self.root / "srv" / NAME

    def ours(self, source: Path) -> tuple[float, int]:
        """Seconds of the whole command, and MiB of its largest process."""
        self.fresh()
        started = time.perf_counter()
        process = subprocess.Popen(
            [*SOFTMAN, "repo", "publish", NAME, str(source), *self.place, "--json"], stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"publishing ended with {process.returncode}")
        return time.perf_counter() - started, usage.ru_maxrss // 1024

    def official(self, archive: Path) -> float:
        """Seconds of ``cvmfs_swissknife ingest``."""
        storage = self.fresh()
        temporary = Path(tempfile.mkdtemp(dir=self.root))
        base = Manifest.from_bytes((storage / MANIFEST_NAME).read_bytes()).manifest.root_hash
        command = f"cvmfs_swissknife ingest -u {temporary} -c {temporary} -t {temporary} -b {base} -N {NAME} -B data"
        command += f" -r local,{storage}/data/txn,{storage} -w file://{storage} -o {temporary}/manifest"
        command += f" -K {self.root}/keys/{NAME}.pub -T {archive}"
        started = time.perf_counter()
        subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    def median(self, work: Callable[[], float]) -> float:
        return statistics.median(work() for _ in range(self.rounds))


def compress_alone(source: Path) -> float:
    """Seconds of the stand-in."""
    started = time.perf_counter()
    for path in source.rglob("*"):
        if path.is_file() and not path.is_symlink():
            state, hasher = zlib.compressobj(6), hashlib.sha1(usedforsecurity=False)
            with path.open("rb") as file:
                while piece := file.read(1024 * 1024):
                    hasher.update(state.compress(piece))
            hasher.update(state.flush())
    return time.perf_counter() - started


def measure(bench: Bench, name: str, source: Path, *, use_official: bool) -> None:
    archive = bench.root / "source.tar"
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(source, arcname=".")
    if use_official:
        peer, peer_name = bench.median(lambda: bench.official(archive)), "cvmfs_swissknife ingest"
    else:
        peer, peer_name = bench.median(lambda: compress_alone(source)), STAND_IN
    for kind, place in (("directory", source), ("tar", archive)):
        runs = [bench.ours(place) for _ in range(bench.rounds)]
        say(f"publish {name} ({kind})", statistics.median(run[0] for run in runs), "s", peer, peer_name)
        say(f"publish {name} ({kind}): largest process", max(run[1] for run in runs), "MiB")
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
    # Piece by piece: what this process holds at most would count as memory of the commands that it starts.
    content = library_content()
    for number in range(4):
        with (root / "large" / str(number)).open("wb") as file:
            while (left := size // 4 - file.tell()) > 0:
                file.write(next(content)[:left])
    return root / "large"


def large_repository(bench: Bench, entries: int) -> None:
    """Walking ``entries`` entries, and changing one file among them."""
    storage = bench.fresh()
    store, key = LocalStore(storage), (bench.root / "keys" / f"{NAME}.pub").read_bytes()
    reader = RepositoryReader(store, NAME, [key], now=now)
    staging = Staging(store.new_area(), published=store.is_stored)
    one = staging.write_object([b"content"])
    store.promote(staging.directory / f"{one.hash}", one.hash, ObjectKind.FILE)
    with reader.snapshot() as base, Transaction(base, staging, now=now, balance=Balance()) as transaction:
        for number in range(entries):
            transaction.add_file(f"/{number % 97}/{number // 97 % 103}/{number}", one, 0o644, 1_700_000_000)
        candidate = transaction.seal()
    if candidate is None:
        sys.exit("nothing was made")
    for path in staging.directory.iterdir():
        if path.name.endswith("C"):
            store.promote(path, hash_bytes(path.read_bytes()), ObjectKind.CATALOG)
    manifest = replace(reader.manifest(), root_hash=candidate.root_hash, root_size=candidate.root_size, revision=2)
    with Snapshot(store, manifest) as snapshot:
        started = time.perf_counter()
        walked = sum(1 for _ in snapshot.walk())
        say(f"walk {entries} entries", walked / (time.perf_counter() - started), "entries/s")

        def change() -> float:
            area = Staging(store.new_area(), published=store.is_stored)
            begun = time.perf_counter()
            with Transaction(snapshot, area, now=now) as changing:
                changing.add_file("/1/1/new", area.write_object([os.urandom(50)]), 0o644, 1)
                changing.seal()
            seconds = time.perf_counter() - begun
            area.discard()
            return seconds

        say(f"one changed file among {entries} entries, without the commit", bench.median(change), "s")
    staging.discard()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=["small", "software", "large", "entries"])
    arguments = parser.parse_args()
    scale, only = arguments.scale, arguments.only
    memory = Path("/dev/shm")  # noqa: S108 - what is measured must not be the disk
    use_official = shutil.which("cvmfs_swissknife") is not None and os.geteuid() == 0
    spools = [path for path in (SPOOL.parent, SPOOL) if use_official and not path.exists()]
    for path in spools:
        path.mkdir()
    try:
        with tempfile.TemporaryDirectory(prefix="softman-bench-", dir=memory if memory.is_dir() else None) as root:
            bench = Bench(Path(root), arguments.rounds)
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
            if only in {None, "entries"}:
                large_repository(bench, max(1000, int(1_000_000 * scale)))
    finally:
        for path in reversed(spools):
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    main()
