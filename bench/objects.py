"""Making objects: bytes of the running Python's standard library a second, compressed and hashed, on one core.

The peer is Python's own zlib at level 6, what the stock tools use (``Z_DEFAULT_COMPRESSION``).
"""

import hashlib
import json
import statistics
import sysconfig
import time
import zlib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from softman.cvmfs.format.objects import compress

_FILES = 400
_ROUNDS = 5
_MB = 1e6


def _sample() -> list[bytes]:
    root = Path(sysconfig.get_path("stdlib"))
    return [path.read_bytes() for path in islice(sorted(root.glob("*/*.py")), _FILES)]


def _rate(work: Callable[[bytes], object], sample: list[bytes]) -> float:
    """Median of some rounds, in MB of input a second of CPU time."""
    total = sum(map(len, sample))
    rates = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        for data in sample:
            work(data)
        rates.append(total / _MB / (time.process_time() - started))
    return statistics.median(rates)


def _say(name: str, value: float, peer: float, unit: str) -> None:
    row = {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "peer": round(peer, 3),
        "ratio": round(value / peer, 3),
    }
    print(json.dumps(row))


def main() -> None:
    sample = _sample()
    ours = _rate(lambda data: hashlib.sha1(compress(data), usedforsecurity=False), sample)
    peer = _rate(lambda data: hashlib.sha1(zlib.compress(data, 6), usedforsecurity=False), sample)
    _say("objects made, one core", ours, peer, "MB/s")
    total = sum(map(len, sample))
    stored = sum(len(compress(data)) for data in sample)
    _say("stored size", stored / total, sum(len(zlib.compress(data, 6)) for data in sample) / total, "of the input")


if __name__ == "__main__":
    main()
