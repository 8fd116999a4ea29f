"""Publishing one changed file in repositories of 200,000 and of 1,000,000 entries, which should take the same time.

The catalogs are as large in both, 40,000 rows in the root catalog and 10,000 in each other one: there are only more.

In each of three ways: by the command ``softman repo publish`` from its start to its end; in a running process by
whoever holds the keys; and as a publisher without keys, whose candidate is inspected in a process of its own. Each
figure is the median of some runs, each in a new process, with the memory of its largest process. The peer was measured
before, with ``cvmfs_server publish`` in a repository of 200,000 entries.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.large_repository import NAME, LargeRepository, make, memory_directory, now, say
from softman.cvmfs.balancing import Balance
from softman.cvmfs.staging import Staging
from softman.cvmfs.transaction import Transaction

SIZES = (200_000, 1_000_000)
PEER = 0.62
PEER_NAME = "cvmfs_server publish, 200,000 entries, recorded"
COMMAND = "from softman.cli.main import main; main()"
PLACES = {"in a nested catalog": "/10/7", "in the root catalog": "/1/7"}


def by_command(made: LargeRepository, directory: str) -> None:
    with tempfile.TemporaryDirectory(dir=made.root.parent) as source:
        Path(source, f"new-{os.getpid()}").write_bytes(os.urandom(50))
        storage, keys = made.root.parent.as_uri(), str(made.key_directory)
        arguments = ["repo", "publish", NAME, source, "--to", directory, "--storage", storage, "--keys", keys]
        subprocess.run([sys.executable, "-E", "-c", COMMAND, *arguments], check=True, stdout=subprocess.DEVNULL)


def trusted(made: LargeRepository, directory: str) -> None:
    with made.repository.transaction(balance=Balance()) as transaction:
        transaction.add_bytes(f"{directory}/new-{os.getpid()}", os.urandom(50), mode=0o644, mtime=1)


def inspected(made: LargeRepository, directory: str) -> None:
    store = made.store
    area = store.new_area()
    staging = Staging(area, published=store.is_stored)
    with made.reader.snapshot() as base, Transaction(base, staging, now=now, balance=Balance()) as transaction:
        content = staging.write_object([os.urandom(50)])
        transaction.add_file(f"{directory}/new-{os.getpid()}", content, 0o644, 1)
        candidate = transaction.seal()
    if candidate is None:
        sys.exit("nothing to publish")
    made.repository.commit(
        candidate.root_hash,
        base_revision=candidate.base_revision,
        base_root_hash=candidate.base_root_hash,
        transaction=area.transaction,
    )


WAYS: dict[str, tuple[Callable[[LargeRepository, str], None], str]] = {
    "command": (by_command, "softman repo publish"),
    "trusted": (trusted, "with the keys"),
    "inspected": (inspected, "inspected"),
}


def child(way: str, directory: str, made: LargeRepository) -> None:
    """Publish once; seconds by the clock and of the processor, and MiB of the largest process."""
    started, busy = time.perf_counter(), _busy()
    WAYS[way][0](made, directory)
    seconds, busy = time.perf_counter() - started, _busy() - busy
    print(json.dumps([seconds, busy, max(one.ru_maxrss for one in _usage()) / 1024]))


def _usage() -> list[resource.struct_rusage]:
    return [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]


def _busy() -> float:
    return sum(one.ru_utime + one.ru_stime for one in _usage())


def measure(way: str, made: LargeRepository, entries: int, rounds: int) -> None:
    for place, directory in PLACES.items():
        runs = []
        for _ in range(rounds):
            command = [sys.executable, "-E", __file__, "--child", way, directory, str(made.root)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            runs.append(json.loads(done.stdout))
        title = f"change one of {entries} entries {place}, {WAYS[way][1]}"
        say(title, statistics.median(run[0] for run in runs), "s", PEER, PEER_NAME)
        say(f"{title}: processor", statistics.median(run[1] for run in runs), "s")
        say(f"{title}: memory", max(run[2] for run in runs), "MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of entries")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", choices=WAYS)
    parser.add_argument("--child", nargs=3, metavar=("WAY", "DIRECTORY", "ROOT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        way, directory, root = arguments.child
        child(way, directory, LargeRepository.opened(Path(root)))
        return
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="softman-bench-", dir=memory_directory()) as root:
            entries, largest = (max(1000, int(each * arguments.scale)) for each in (size, max(SIZES)))
            made = make(Path(root) / NAME, entries, catalogs_of=largest)
            for way in WAYS if arguments.only is None else [arguments.only]:
                measure(way, made, entries, arguments.rounds)


if __name__ == "__main__":
    main()
