"""Reads of the REST API at a steady rate, with many repositories in the registry.

The dashboard is a process of its own, with the real Redis, the vault and the web server of an embedded stack without
workers. One repository has content; of the others registry and Redis hold what they hold of any. Requests begin when
they are due, whether or not others have ended, and times count from when they were due.
"""

import argparse
import asyncio
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
from fastapi import Response

from bench.sync_site import USER, BenchSite, say, site
from softman import wiring
from softman.adapters.records import RedisRecords
from softman.adapters.redis_client import redis_client
from softman.adapters.registry import VaultRegistry
from softman.adapters.vault_layout import Role
from softman.adapters.vault_session import VaultSession
from softman.cli.demo.bucket import UserBucket
from softman.dashboard.auth.sessions import Sessions
from softman.dashboard.store import DashboardStore
from softman.identity import Principal
from softman.model import Link, LinkProgress, LinkState, Refusal, RegistryRecord, State, SyncReport
from softman.names import Owner, RepositoryName
from softman.settings import load_settings
from softman.standalone.process import base_environment
from softman.standalone.roles import environment

FILES = 60
GOAL = 0.050
PATIENCE = 120.0
ADMIN = Principal("root", "root", admin=True)
OWNER = Principal(USER, USER)


def fill(bench: BenchSite, repositories: int) -> list[RepositoryName]:
    """Registry records and what Redis has of each; the first repository is a real one."""
    real = bench.repository()
    bucket = UserBucket(bench.access(), USER)
    bench.stack.create_s3_user(USER)
    wiring._bucket_connector(bench.settings).ensure_bucket(real.bucket, USER)  # noqa: SLF001 - as the connector does
    for number in range(FILES):
        bucket.put(f"dir{number % 10}/file{number}", b"content %d" % number)
    bench.sync(real)
    settings = bench.settings
    registry = VaultRegistry(VaultSession(settings.vault, Role.STRATUM0), settings.vault)
    records = RedisRecords(redis_client(settings.redis_url.get_secret_value()))
    names = [RepositoryName(f"user{number:05}", settings.domain) for number in range(repositories - 1)]
    for name in names:
        registry.put(RegistryRecord(name, Owner(name.label, name.label), State.ACTIVE))
        for link in Link:
            records.set_link(name, LinkProgress(link, LinkState.DONE, time.time(), "done"))
        for revision in range(2, 6):
            records.set_report(SyncReport(str(name), revision, "ab" * 20, added=3, finished_at=time.time()))
        records.set_refusals(name, [Refusal(f"cvmfs/bad{each}", "why") for each in range(5)], None)
    return [real, *names]


@contextmanager
def dashboard(bench: BenchSite, directory: Path) -> Iterator[tuple[str, psutil.Process, Sessions]]:
    """The dashboard in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {
        "SOFTMAN_DASHBOARD__URL": f"http://127.0.0.1:{port}",
        "SOFTMAN_DASHBOARD__LISTEN_PORT": str(port),
        "SOFTMAN_DASHBOARD__STATE_DIR": str(directory),
        "SOFTMAN_DASHBOARD__READS_PER_MINUTE": "1000000",
        "SOFTMAN_LOG_LEVEL": "WARNING",
    }
    variables = {**base_environment(), **environment(bench.stack, "dashboard"), **own}
    process = subprocess.Popen([sys.executable, "-m", "softman.dashboard.main"], env=variables)
    settings = load_settings(dashboard={"url": own["SOFTMAN_DASHBOARD__URL"], "state_dir": directory}).dashboard
    try:
        yield settings.url, psutil.Process(process.pid), Sessions(DashboardStore(directory), settings)
    finally:
        process.terminate()
        process.wait(timeout=30)


def cookie(sessions: Sessions, who: Principal) -> dict[str, str]:
    response = Response()
    sessions.begin(response, who)
    return {"Cookie": response.headers["set-cookie"].partition(";")[0]}


def ready(url: str, headers: dict[str, str], repositories: int) -> float:
    """Wait until the dashboard has read the registry; how many seconds that took."""
    began = time.monotonic()
    while time.monotonic() - began < PATIENCE:
        try:
            answer = httpx2.get(f"{url}/api/v1/admin/overview", headers=headers, trust_env=False)
        except httpx2.TransportError:
            answer = None
        if answer is not None and answer.is_success and answer.json()["repositories"] >= repositories:
            return time.monotonic() - began
        time.sleep(0.1)
    sys.exit("the dashboard does not come up")


def questions(names: list[RepositoryName], seed: int) -> Iterator[tuple[str, str, bool]]:
    """What is asked, without end: kind, path, and whether an administrator asks."""
    chance = random.Random(seed)  # noqa: S311 - the same mix each time
    real = names[0]
    while True:
        one = chance.choice(names)
        yield from (
            ("own list", "/repositories", False),
            ("one repository", f"/repositories/{one}", True),
            ("syncs", f"/repositories/{one}/syncs", True),
            ("pending", f"/repositories/{one}/pending", True),
            ("refusals", f"/repositories/{one}/refusals", True),
            ("one repository", f"/repositories/{chance.choice(names)}", True),
            ("page of 50", f"/admin/repositories?limit=50&after={one}", True),
            ("directory", f"/repositories/{real}/tree?path=/dir{chance.randrange(10)}", False),
            ("own repository", f"/repositories/{real}", False),
            ("entry", f"/repositories/{real}/entry?path=/dir3/file3", False),
        )


async def load(
    url: str, headers: tuple[dict[str, str], dict[str, str]], names: list[RepositoryName], rate: int, seconds: float
) -> dict[str, list[float]]:
    """Ask ``rate`` times a second; times by kind of question."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    asked = questions(names, 7)
    limits = httpx2.Limits(max_connections=64, max_keepalive_connections=64)
    async with httpx2.AsyncClient(base_url=f"{url}/api/v1", limits=limits, trust_env=False, timeout=30) as client:

        async def ask(kind: str, path: str, due: float, *, admin: bool) -> None:
            answer = await client.get(path, headers=headers[int(admin)])
            found[kind if answer.is_success else f"failed {answer.status_code}"].append(time.perf_counter() - due)

        began, tasks = time.perf_counter(), set()
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            kind, path, admin = next(asked)
            tasks.add(asyncio.create_task(ask(kind, path, due, admin=admin)))
        await asyncio.gather(*tasks)
        found["all"] = [each for kind, times in found.items() if not kind.startswith("failed") for each in times]
    return found


def report(found: dict[str, list[float]], rate: int) -> None:
    for kind, times in sorted(found.items()):
        ordered = sorted(times)
        p95 = ordered[int(len(ordered) * 0.95)]
        more: dict[str, object] = {"p50": statistics.median(ordered), "max": ordered[-1], "requests": len(ordered)}
        if kind == "all":
            more |= {"rate": rate, "goal": GOAL, "met": p95 < GOAL}
        say(f"api: {kind}, p95", p95, "s", **more)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repositories", type=int, default=1000)
    arguments.add_argument("--rate", type=int, default=100, help="requests a second")
    arguments.add_argument("--seconds", type=float, default=20.0)
    chosen = arguments.parse_args()
    with site() as bench:
        names = fill(bench, chosen.repositories)
        with dashboard(bench, bench.stack.directory / "bench-dashboard") as (url, process, sessions):
            headers = (cookie(sessions, OWNER), cookie(sessions, ADMIN))
            say("api: registry is read after", ready(url, headers[1], chosen.repositories), "s")
            asyncio.run(load(url, headers, names, chosen.rate, 3.0))  # warm
            before, began = sum(process.cpu_times()[:2]), time.monotonic()
            found = asyncio.run(load(url, headers, names, chosen.rate, chosen.seconds))
            busy = (sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)
            report(found, chosen.rate)
            say("api: cores that the dashboard uses", busy, "cores", memory_mib=process.memory_info().rss // 2**20)


if __name__ == "__main__":
    main()
