"""Staging one large object as publishers do it, against downloading alone and against compressing and hashing alone.

All in MB/s of content, from the same object store in the same run; the peer is the smaller of the two. The memory is
the highest of a process of its own that does nothing else (``VmHWM``), and that of one that only imports the same.
"""

import argparse
import json
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench.sync_site import USER, say, site
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import S3Access, s3_client
from softman.cvmfs.areas import new_transaction_id
from softman.cvmfs.staging import Staging

_KEY = "cvmfs/large"
_MIB = 1024 * 1024
_PART = 16 * _MIB


def software() -> Iterator[bytes]:
    """Shared libraries of this Python's packages and of the system, again and again, each time a little different."""
    roots = (Path(sysconfig.get_path("platlib")), Path("/usr/lib"))
    found = sorted(path for root in roots for path in root.rglob("*.so*") if path.is_file() and not path.is_symlink())
    number = 0
    while True:
        for path in found:
            number += 1
            yield path.read_bytes() + b"%d" % number


def fill(access: S3Access, size: int) -> None:
    client = s3_client(access)
    client.create_bucket(Bucket=USER)
    upload = client.create_multipart_upload(Bucket=USER, Key=_KEY)["UploadId"]
    waiting, parts, source = bytearray(), [], software()
    for number in range(1, size // _PART + 1):
        while len(waiting) < _PART:
            waiting += next(source)
        body, waiting = bytes(waiting[:_PART]), waiting[_PART:]
        answer = client.upload_part(Bucket=USER, Key=_KEY, UploadId=upload, PartNumber=number, Body=body)
        parts.append({"ETag": answer["ETag"], "PartNumber": number})
    done = {"Parts": parts}
    client.complete_multipart_upload(Bucket=USER, Key=_KEY, UploadId=upload, MultipartUpload=done)  # type: ignore[arg-type]


def download(access: S3Access) -> int:
    with S3Buckets(access).read(USER, _KEY) as body:
        return 0 if body is None else sum(map(len, body.chunks()))


def stage(pieces: Iterator[bytes], folder: Path) -> int:
    staging = Staging(folder / new_transaction_id())
    stored = staging.write_file(pieces)
    staging.discard()
    return stored.size


def both(access: S3Access, folder: Path) -> int:
    with S3Buckets(access).read(USER, _KEY) as body:
        return 0 if body is None else stage(body.chunks(), folder)


def sample(access: S3Access, size: int) -> list[bytes]:
    """The beginning of the object, in memory."""
    found, left = [], size
    with S3Buckets(access).read(USER, _KEY) as body:
        for piece in body.chunks() if body is not None else ():
            found.append(piece)
            left -= len(piece)
            if left <= 0:
                break
    return found


def rate(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    size = work()
    return size / 1e6 / (time.perf_counter() - started)


def child(access: S3Access | None) -> float:
    """Peak memory in MB of a process that stages the object; None for one that does nothing."""
    told = json.dumps(None if access is None else [access.endpoint, access.access_key, access.secret_key])
    answer = subprocess.run(
        [sys.executable, __file__, "--child"], input=told, text=True, check=True, capture_output=True
    )
    return float(answer.stdout)


def as_child() -> None:
    told = json.load(sys.stdin)
    if told is not None:
        with tempfile.TemporaryDirectory() as folder:
            both(S3Access(*told), Path(folder))
    # Not ru_maxrss, which begins with that of the process that started this one.
    high = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    print(int(high.split()[1]) * 1024 / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        as_child()
        return
    alone, compressing, together = [], [], []
    with site() as bench, tempfile.TemporaryDirectory() as name:
        access, folder = bench.access(), Path(name)
        fill(access, int(arguments.gigabytes * 1e9))
        for _ in range(arguments.rounds):
            alone.append(rate(lambda: download(access)))
            together.append(rate(lambda: both(access, folder)))
            held = sample(access, 256 * _MIB)
            compressing.append(rate(partial(stage, iter(held), folder)))
            del held
        memory, idle = child(access), child(None)
    peers = [min(pair) for pair in zip(alone, compressing, strict=True)]
    ratio = statistics.median(mine / theirs for mine, theirs in zip(together, peers, strict=True))
    what = f"{arguments.gigabytes:g} GB"
    say(f"downloading {what} alone", statistics.median(alone), "MB/s")
    say("compressing and hashing alone, all cores", statistics.median(compressing), "MB/s")
    say(f"staging {what}", statistics.median(together), "MB/s", peer=statistics.median(peers), ratio=ratio)
    say(f"memory of staging {what}", memory, "MB", idle=idle)


if __name__ == "__main__":
    main()
