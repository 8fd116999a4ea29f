"""Reading a repository of 1,000,000 entries from local storage: walking it in both orders, checking it, comparing.

Each figure is the median of some runs, each in a process of its own, with the largest memory that such a process had.
``--scale 0.01`` makes a run of seconds.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

from bench.large_repository import NAME, LargeRepository, make, memory_directory, now, say
from softman.cvmfs.diff import differences
from softman.cvmfs.format.rows import Order
from softman.cvmfs.integrity import Extent, check_repository

ENTRIES = 1_000_000


def walk(made: LargeRepository) -> int:
    with made.reader.snapshot() as snapshot:
        return sum(1 for _ in snapshot.walk())


def list_recursively(made: LargeRepository) -> int:
    """With what ``ls -lR`` shows of each entry."""
    shown = attrgetter("mode", "linkcount", "uid", "gid", "size", "mtime", "path")
    with made.reader.snapshot() as snapshot:
        return sum(1 for _ in map(shown, snapshot.walk()))


def walk_by_key(made: LargeRepository) -> int:
    """As reconciliation does: keys and marks, in the order of S3."""
    found = 0
    with made.reader.snapshot() as snapshot:
        for entry in snapshot.walk(order=Order.KEY):
            key = b"cvmfs" + entry.path + b"/" if entry.is_dir else b"cvmfs" + entry.path
            found += key != entry.xattrs.get(b"user.softman.source")
    return found


def check(made: LargeRepository) -> int:
    problems = list(check_repository(made.store, NAME, [made.keys.public_key], now=now, extent=Extent()))
    if problems:
        sys.exit(f"problems: {problems[:3]}")
    with made.reader.snapshot() as snapshot:
        return snapshot.catalog.counters.total.entries


def compare(made: LargeRepository) -> int:
    """With the revision before, in which one file differs."""
    reader = made.reader
    with reader.snapshot(revision=2) as old, reader.snapshot() as new:
        if len(list(differences(old, new))) != 1:
            sys.exit("the wrong difference")
        return new.catalog.counters.total.entries


WORK: dict[str, tuple[Callable[[LargeRepository], int], str]] = {
    "walk": (walk, "walk {} entries"),
    "list": (list_recursively, "walk {} entries with all that ls -lR shows"),
    "key": (walk_by_key, "walk {} entries in the order of S3, with marks"),
    "check": (check, "check {} entries"),
    "compare": (compare, "find one file that differs among {} entries"),
}


def child(name: str, made: LargeRepository) -> None:
    """Do one thing; seconds by the clock and of the processor, entries, and peak memory in MiB."""
    started, busy = time.perf_counter(), time.process_time()
    entries = WORK[name][0](made)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    print(json.dumps([seconds, busy, entries, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def measure(name: str, made: LargeRepository, rounds: int) -> None:
    runs = []
    for _ in range(rounds):
        command = [sys.executable, "-E", __file__, "--child", name, str(made.root)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        runs.append(json.loads(done.stdout))
    seconds, busy = statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)
    entries = runs[0][2]
    title = WORK[name][1].format(entries)
    if name == "compare":
        say(title, seconds, "s")
    else:
        say(title, entries / seconds, "entries/s")
    say(f"{title}: processor", busy, "s")
    say(f"{title}: memory", max(run[3] for run in runs), "MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of entries")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WORK)
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child[0], LargeRepository.opened(Path(arguments.child[1])))
        return
    with tempfile.TemporaryDirectory(prefix="softman-bench-", dir=memory_directory()) as root:
        made = make(Path(root) / NAME, max(1000, int(ENTRIES * arguments.scale)))
        with made.repository.transaction() as transaction:
            transaction.add_bytes("/1/1/new", b"new", mode=0o644, mtime=1)
        for name in WORK if arguments.only is None else [arguments.only]:
            measure(name, made, arguments.rounds)


if __name__ == "__main__":
    main()
