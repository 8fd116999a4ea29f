"""First sync of 10,000 small objects against downloading them with the fastest client known to us, in objects a second.

Both read from the same object store in the same run, one after the other, round by round, into the same file system.
The clients that were tried are in ``docs/sync.md``. All share the machine with the object store. With TMPDIR in a tmpfs
neither side waits for a disk. The CPU time, which counts better than the rate on a busy machine, has stratum 0's in it.
"""

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from obstore.store import S3Store

from bench.sync_site import BenchSite, say, site
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import S3Access, s3_client
from softman.names import RepositoryName

_THREADS = 8
_WORDS = 2000
Get = Callable[[str], bytes]


def content(number: int, words: list[bytes]) -> bytes:
    """What small files are like: text, 1.8 kB in the median, 3.7 kB in the mean."""
    source = random.Random(number)  # noqa: S311 - data that is the same in each run
    return b" ".join(source.choices(words, k=max(1, int(source.lognormvariate(7.5, 1.2)) // 7)))


def fill(access: S3Access, bucket: str, count: int) -> list[str]:
    """Put the objects; their keys."""
    client = s3_client(access, connections=_THREADS)
    client.create_bucket(Bucket=bucket)
    source = random.Random(1)  # noqa: S311 - same
    words = [bytes(source.choices(b"abcdefghijklmnop", k=source.randint(3, 9))) for _ in range(_WORDS)]
    keys = [f"cvmfs/package{number // 100:03}/lib/module{number % 100:02}.py" for number in range(count)]

    def put(number: int) -> None:
        client.put_object(Bucket=bucket, Key=keys[number], Body=content(number, words))

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put, range(count)))
    return keys


def obstore(access: S3Access, bucket: str) -> Get:
    """GETs of obstore, the fastest client of all that were tried."""
    store = S3Store(
        bucket,
        endpoint=access.endpoint,
        region=access.region,
        access_key_id=access.access_key,
        secret_access_key=access.secret_key,
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )
    return lambda key: bytes(store.get(key).bytes())


def ours(access: S3Access, bucket: str) -> Get:
    """Our own GETs."""
    buckets = S3Buckets(access)

    def get(key: str) -> bytes:
        with buckets.read(bucket, key) as body:
            return b"" if body is None else b"".join(body.chunks())

    return get


def download(get: Get, keys: list[str], place: Path) -> float:
    """Objects a second, each into a file of its own."""
    folder = Path(tempfile.mkdtemp(dir=place))

    def work(part: int) -> None:
        for number in range(part, len(keys), _THREADS):
            (folder / str(number)).write_bytes(get(keys[number]))

    started = time.perf_counter()
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(work, range(_THREADS)))
    seconds = time.perf_counter() - started
    shutil.rmtree(folder)
    return len(keys) / seconds


def first_sync(bench: BenchSite, name: RepositoryName, count: int) -> tuple[float, float]:
    """Objects a second, from an empty repository to the last commit, and this process's CPU for one, in ms."""
    started, cpu = time.perf_counter(), time.process_time()
    changed = bench.sync(name)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    if changed != count:
        msg = f"{changed} objects were published, not {count}"
        raise RuntimeError(msg)
    return count / seconds, 1000 * cpu / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    syncs, peers, gets, costs = [], [], [], []
    with site() as bench:
        for number in range(arguments.rounds):
            user = f"bench{number}"
            bench.stack.create_s3_user(user)
            access = bench.access(user)
            keys = fill(access, user, arguments.objects)
            name = bench.repository(user)
            place = bench.stack.directory
            peers.append(download(obstore(access, user), keys, place))
            rate, cost = first_sync(bench, name, len(keys))
            syncs.append(rate)
            costs.append(cost)
            gets.append(download(ours(access, user), keys, place))
    peer = statistics.median(peers)
    for what, rates in (("first sync of small objects", syncs), ("small objects read by our client", gets)):
        ratio = statistics.median(mine / theirs for mine, theirs in zip(rates, peers, strict=True))
        say(f"{what}, median of {arguments.rounds}", statistics.median(rates), "objects/s", peer=peer, ratio=ratio)
    say("CPU of a first sync", statistics.median(costs), "ms an object")


if __name__ == "__main__":
    main()
