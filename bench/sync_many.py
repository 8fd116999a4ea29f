"""Many repositories with one changed object each: repositories a second against the number of publisher processes.

Then a reconciliation that finds nothing to do, over the object store, against the listing of the same bucket alone.
Publisher processes share the machine with the object store and stratum 0, which works in each of them; the curve ends
where the machine is full. The peer of each figure is that of one process.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from bench.sync_site import USER, BenchSite, Door, say, site
from softman import wiring
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import s3_client
from softman.log import configure_logging
from softman.names import RepositoryName
from softman.settings import load_settings
from softman.standalone.stack import Stack

_THREADS = 8


def put(bench: BenchSite, users: list[str], text: bytes) -> None:
    """One object into the bucket of each user."""

    def one(user: str) -> None:
        client = s3_client(bench.access(user), connections=1)
        client.create_bucket(Bucket=user)
        client.put_object(Bucket=user, Key="cvmfs/tool", Body=text)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(one, users))


def publish(stack: Stack, users: list[str], processes: int) -> float:
    """Repositories a second; the clock runs from when every process is ready."""
    environment = {**os.environ, **stack.environment()}  # noqa: TID251 - handed on to our own processes
    command = [sys.executable, __file__, "--child"]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(processes)
    ]
    for child in children:
        assert child.stdout is not None  # noqa: S101 - asked for
        child.stdout.readline()
    started = time.perf_counter()
    for number, child in enumerate(children):
        assert child.stdin is not None  # noqa: S101 - same
        child.stdin.write(json.dumps(users[number::processes]) + "\n")
        child.stdin.close()
    failed = [child.args for child in children if child.wait()]
    seconds = time.perf_counter() - started
    if failed:
        msg = f"{len(failed)} publishers failed"
        raise RuntimeError(msg)
    return len(users) / seconds


def as_child() -> None:
    configure_logging(level="WARNING")
    settings = load_settings()
    publisher = wiring.publisher(settings, Door(wiring.stratum0(settings)))
    print("ready", flush=True)
    for user in json.loads(sys.stdin.readline()):
        publisher.sync_everything(RepositoryName(user, settings.domain))


def curve(bench: BenchSite, count: int, processes: list[int]) -> None:
    users = [f"many{number:04}" for number in range(count)]
    for user in users:
        bench.stack.create_s3_user(user)
        bench.repository(user)
    one = 0.0
    for many in processes:
        put(bench, users, b"as published by %d processes" % many)
        rate = publish(bench.stack, users, many)
        one = one or rate
        say(f"repositories with one change, {many} publishers", rate, "repositories/s", peer=one, ratio=rate / one)


def reconciliation(bench: BenchSite, count: int) -> None:
    access = bench.access()
    client = s3_client(access, connections=_THREADS)
    client.create_bucket(Bucket=USER)

    def put_one(number: int) -> None:
        client.put_object(Bucket=USER, Key=f"cvmfs/{number // 100:04}/{number % 100:02}", Body=b"%d" % number)

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put_one, range(count)))
    name = bench.repository()
    bench.sync(name)
    started = time.perf_counter()
    listed = sum(1 for _ in S3Buckets(access).list_objects(USER, "cvmfs/"))
    listing = listed / (time.perf_counter() - started)
    started = time.perf_counter()
    bench.sync(name)
    rate = count / (time.perf_counter() - started)
    say(f"reconciling {count} objects, nothing to do", rate, "objects/s", peer=listing, ratio=rate / listing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=1000)
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        as_child()
        return
    with site() as bench:
        reconciliation(bench, arguments.objects)
        curve(bench, arguments.repositories, arguments.processes)


if __name__ == "__main__":
    main()
