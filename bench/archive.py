"""Unpacking an archive into a repository, as publishers do it, against ``tar -x`` and publishing the folder.

Ours reads the archive once, stages, builds the catalogs and commits through stratum 0's checks, in one process. The
peer unpacks to a memory file system and runs ``softman repo publish``, which signs what it wrote itself, without
checks, and uses a process for each core. Rates are bytes of the files by seconds, memory is the peak of our process,
its modules included. Each is one run in a process of its own; ``python -m bench.archive --scale 0.05`` takes seconds.
"""

import argparse
import gzip
import json
import lzma
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.publish import MB, NAME, Bench, large_files, software
from softman.cvmfs.format.keys import generate_keys
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.repository import Repository
from softman.cvmfs.staging import Staging
from softman.cvmfs.store.local import LocalStore
from softman.cvmfs.transaction import Transaction
from softman.services.archives.kinds import ArchiveKind
from softman.services.archives.limits import ArchiveLimits
from softman.services.archives.staging import stage_archive

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE = 256 * 1024
_LONG: dict[int, int] = {
    zstd.CompressionParameter.window_log: 26,
    zstd.CompressionParameter.enable_long_distance_matching: 1,
}
_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".tar": lambda path: path.open("wb"),
    ".tar.gz": lambda path: gzip.GzipFile(path, "wb", 1),
    ".tar.xz": lambda path: lzma.LZMAFile(path, "wb", preset=0),  # noqa: SIM115 - the caller does
    ".tar.zst": lambda path: zstd.ZstdFile(path, "wb", options=_LONG),
}
_KINDS = {".tar": ArchiveKind.TAR, ".gz": ArchiveKind.GZIP, ".xz": ArchiveKind.XZ, ".zst": ArchiveKind.ZSTD}


def _now() -> datetime:
    return datetime.now(UTC)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def unpack(path: Path, root: Path) -> dict[str, float]:
    """What our way costs, in this process."""
    keys = generate_keys(NAME, _now())
    store = LocalStore(root / NAME)
    repository = Repository(store, NAME, keys, now=_now)
    repository.create(ttl=60, whitelist_days=30)
    started = time.monotonic()
    staging = Staging.create(store.root, published=store.is_stored)
    base = RepositoryReader(store, NAME, [keys.public_key], now=_now).snapshot()
    tree = stage_archive(_pieces(path), _KINDS[path.suffix], staging, ArchiveLimits(), scratch=root)
    with tree, base, Transaction(base, staging, now=_now) as transaction:
        tree.apply(transaction, b"/a", mtime=0)
        candidate = transaction.seal()
    if candidate is not None:
        repository.commit(
            candidate.root_hash,
            base_revision=candidate.base_revision,
            base_root_hash=candidate.base_root_hash,
            transaction=staging.transaction,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": time.monotonic() - started, "bytes": tree.bytes, "memory": peak * 1024}


def _peer(bench: Bench, path: Path, folder: Path) -> float:
    folder.mkdir()
    started = time.monotonic()
    subprocess.run(["tar", "-xf", path, "-C", folder], check=True)
    subprocess.run(
        bench.command("publish", NAME, str(folder), "--to", "/a", *bench.place), check=True, capture_output=True
    )
    return time.monotonic() - started


def measure(root: Path, what: str, source: Path, suffix: str) -> None:
    """One archive, both ways."""
    path = root / f"archive{suffix}"
    plain = root / "plain"
    subprocess.run(["tar", "-C", source, "-cf", plain, "."], check=True)
    with _OPENERS[suffix](path) as file:
        for piece in _pieces(plain):
            file.write(piece)
    plain.unlink()
    with tempfile.TemporaryDirectory(dir=root) as ours:
        command = [sys.executable, "-m", "bench.archive", "--unpack", str(path), ours]
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    with tempfile.TemporaryDirectory(dir=root) as other:
        bench = Bench(Path(other), 1)
        subprocess.run(bench.command("create", NAME, *bench.place), check=True, capture_output=True)
        peer = _peer(bench, path, Path(other) / "unpacked")
    path.unlink()
    rate = result["bytes"] / MB / result["seconds"]
    row = {"name": f"unpack {what}{suffix}", "value": round(rate, 1), "unit": "MB/s"}
    row |= {"peer": round(result["bytes"] / MB / peer, 1), "ratio": round(peer / result["seconds"], 2)}
    print(json.dumps({**row, "memory MB": round(result["memory"] / MB)}), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of all sizes")
    parser.add_argument("--unpack", nargs=2, metavar=("ARCHIVE", "FOLDER"), type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.unpack:
        print(json.dumps(unpack(*arguments.unpack)))
        return
    memory = Path("/dev/shm")  # noqa: S108 - what is measured must not be the disk
    with tempfile.TemporaryDirectory(prefix="softman-bench-", dir=memory if memory.is_dir() else None) as folder:
        root = Path(folder)
        tree = software(root, arguments.scale)
        for suffix in _OPENERS:
            measure(root, "a software tree as ", tree, suffix)
        large = large_files(root, int(512 * 2**20 * arguments.scale))
        for suffix in _OPENERS:
            measure(root, "large files as ", large, suffix)


if __name__ == "__main__":
    main()
