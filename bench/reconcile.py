"""A reconciliation pass that finds nothing to do: how fast, and in how much memory.

    python bench/reconcile.py [--entries 1000000] [--directory-size 100]

Makes a repository of so many entries in a temporary directory (not counted), then compares it with a synthetic listing
of the same objects in a process of its own, as a publisher does: catalogs fetched, verified and walked in the order of
keys, merged with the listing, every mark compared. Rates are by CPU seconds (user and system) and by the clock.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from softman.cvmfs.balancing import Balance
from softman.cvmfs.format.keys import generate_keys
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Transaction
from softman.model import BucketObject
from softman.services.mapping import SOURCE_XATTR, Rules, Target
from softman.services.plan import Difference, walk

NAME = "bench.example.org"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
RULES = Rules(NAME)


def now() -> datetime:
    return NOW


def listing(entries: int, directory_size: int) -> Iterator[BucketObject]:
    """Objects as a bucket lists them: so many in each folder, folders in folders, in the order of S3."""
    for number in range(entries):
        folder, file = divmod(number, directory_size)
        key = f"cvmfs/lib{folder // 100:05}/pkg{folder % 100:02}/file{file:06}.py"
        yield BucketObject(key, 1000, f"{number:032x}", 1_700_000_000.0)


def make(root: Path, public_key: Path, entries: int, directory_size: int) -> None:
    """A repository that shows the listing; all files have one content."""
    keys = generate_keys(NAME, NOW)
    public_key.write_bytes(keys.public_key)
    store = LocalStore(root)
    repository = Repository(store, NAME, keys, now=now)
    repository.create(ttl=60, whitelist_days=30)
    reader = RepositoryReader(store, NAME, [keys.public_key], now=now)
    staging = Staging.create(root)
    stored = staging.write_file([b"x" * 1000])
    with reader.snapshot() as base, Transaction(base, staging, now=now, balance=Balance()) as transaction:
        for item in listing(entries, directory_size):
            target = RULES.target_of(item.key)
            assert isinstance(target, Target)  # noqa: S101
            mark = {SOURCE_XATTR: RULES.mark(target, item)}
            transaction.add_file(target.path, stored, 0o644, 1_700_000_000, xattrs=mark)
        candidate = transaction.seal()
        assert candidate is not None  # noqa: S101
    repository.commit(
        candidate.root_hash,
        base_revision=candidate.base_revision,
        base_root_hash=candidate.base_root_hash,
        transaction=staging.transaction,
    )


def compare(root: Path, public_key: Path, entries: int, directory_size: int) -> None:
    """The pass itself."""
    reader = RepositoryReader(LocalStore(root), NAME, [public_key.read_bytes()], now=now)
    started, cpu = time.monotonic(), time.process_time()
    with reader.snapshot() as base:
        difference = Difference(RULES, {})
        steps = sum(1 for _ in difference.steps(listing(entries, directory_size), walk(base)))
    seconds, cpu = time.monotonic() - started, time.process_time() - cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{difference.compared} entries compared, {steps} steps: {seconds:.1f} s, {entries / seconds:,.0f}/s; "
        f"{cpu:.1f} s of CPU, {entries / cpu:,.0f}/s of CPU; peak memory {memory:.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--directory-size", type=int, default=100)
    parser.add_argument("--compare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help="make the repository here, or use the one that is here")
    options = parser.parse_args()
    if options.compare:
        compare(options.compare, options.compare.with_suffix(".pub"), options.entries, options.directory_size)
        return
    with tempfile.TemporaryDirectory(prefix="softman-bench-") as folder:
        root = options.keep or Path(folder) / NAME
        if not root.exists():
            make(root, root.with_suffix(".pub"), options.entries, options.directory_size)
        subprocess.run(
            [
                sys.executable,
                __file__,
                "--compare",
                str(root),
                "--entries",
                str(options.entries),
                "--directory-size",
                str(options.directory_size),
            ],
            check=True,
        )


if __name__ == "__main__":
    main()
