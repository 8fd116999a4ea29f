"""Puts to many repositories, a burst of puts to one, and how fast notifications are taken in, on the embedded stack.

There is no peer: nothing else does this. radosgw 16.2 crashes now and then, and its topics then sleep for up to 90 s,
which is not ours: a round in which that happened is repeated, and said.
"""

import argparse
import json
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import amqp
from kombu import Connection

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the storm's scene is part of the tests

from softman.cvmfs.errors import CvmfsError
from softman.log import configure_logging
from softman.standalone.process import wait_until
from softman.standalone.processes import WORKERS
from softman.standalone.signals import signals_interrupt
from softman.standalone.stack import Options, Stack
from softman.tasks.catalogue import EVENTS
from tests.support.chaos.scene import Scene, Target, borrowed
from tests.support.site import Site

_LONGEST = 600.0
_LOOK = 0.05
_ROUNDS = 3


def say(name: str, value: float, unit: str = "s") -> None:
    print(json.dumps({"name": name, "value": round(value, 3), "unit": unit}), flush=True)


def visible(target: Target, name: str, content: bytes) -> float:
    """Seconds from a PUT to the revision that shows it."""
    started = time.monotonic()
    target.user.put(name, content)
    while time.monotonic() - started < _LONGEST:
        with suppress(CvmfsError), target.reader.snapshot() as snapshot:
            snapshot.lookup("/" + name)
            return time.monotonic() - started
        time.sleep(_LOOK)
    raise TimeoutError(name)


def crashes(scene: Scene) -> int:
    """How often the object gateway was started again because it crashed."""
    return scene.servers.rgw.log.read_text(errors="replace").count("is started again")


def steady(scene: Scene, rate: float, puts: int) -> None:
    """Puts at a fixed rate, each to any of the repositories."""
    for number in range(_ROUNDS):
        scene.site.wake_topic()
        before = crashes(scene)
        seconds = puts_to_visible(scene, rate, puts, f"steady{number}")
        if crashes(scene) == before:
            break
        say("rounds in which the object gateway crashed", number + 1, "rounds")
    what = f"PUT to visible at {rate:g} puts/s over {len(scene.targets)} repositories"
    say(f"{what}, median of {puts}", statistics.median(seconds))
    say(f"{what}, 99th percentile", seconds[-(-len(seconds) * 99 // 100) - 1])


def puts_to_visible(scene: Scene, rate: float, puts: int, folder: str) -> list[float]:
    """The seconds of each PUT, sorted."""
    with ThreadPoolExecutor(4 * len(scene.targets)) as pool:
        list(pool.map(lambda target: visible(target, f"{folder}/warm", b""), scene.targets))  # connections and caches
        futures = []
        began = time.monotonic()
        for number in range(puts):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            target = scene.random.choice(scene.targets)
            futures.append(pool.submit(visible, target, f"{folder}/{number}", b"%d" % number))
        return sorted(future.result() for future in futures)


def burst(scene: Scene, puts: int) -> None:
    """Many puts to one repository at once."""
    target = scene.targets[0]
    bucket = scene.site.bucket(target.name.bucket)
    before = target.reader.manifest().revision
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: bucket.put(f"burst/{n // 1000}/{n}", b"%d" % n), range(puts)))
    ended = time.monotonic()

    def all_there() -> bool:
        with target.reader.snapshot() as snapshot:
            return sum(1 for entry in snapshot.walk("/burst") if entry.is_file) == puts

    wait_until(lambda: _without_errors(all_there), "all of the burst is shown", seconds=_LONGEST)
    say(f"burst of {puts} puts: puts", puts / (ended - began), "puts/s")
    say(f"burst of {puts} puts: all visible after the last put", time.monotonic() - ended)
    say(f"burst of {puts} puts: revisions", target.reader.manifest().revision - before, "revisions")


def _without_errors(look: Any) -> bool:
    with suppress(CvmfsError):
        return bool(look())
    time.sleep(_LOOK)
    return False


def intake(scene: Scene, events: int) -> None:
    """Notifications that wait in the queue while the events worker sleeps, and then wakes up."""
    scene.signal(WORKERS + "events", signal.SIGSTOP)
    with Connection(scene.servers.amqp_url) as connection:
        channel: Any = connection.default_channel
        for body in _notifications(scene, events):
            channel._basic_publish(amqp.Message(body, delivery_mode=2), exchange=EVENTS, routing_key="softman")  # noqa: SLF001

        def depth() -> int:
            return int(channel.queue_declare(EVENTS, passive=True).message_count)

        last = [-1]

        def steady_depth() -> bool:
            before, last[0] = last[0], depth()
            time.sleep(0.5)
            return before == last[0]

        wait_until(steady_depth, "all notifications are in the queue", seconds=_LONGEST)
        began, count = time.monotonic(), depth()
        scene.signal(WORKERS + "events", signal.SIGCONT)
        wait_until(lambda: depth() == 0, "all notifications are taken in", seconds=_LONGEST)
        say("notifications taken in", count / (time.monotonic() - began), "events/s")


def _notifications(scene: Scene, events: int) -> Iterator[bytes]:
    for number in range(events):
        bucket = scene.targets[number % len(scene.targets)].user.bucket
        s3 = {"bucket": {"name": bucket}, "object": {"key": f"cvmfs/steady/{number % 100}"}}
        record = {"eventSource": "ceph:s3", "eventName": "ObjectCreated:Put", "s3": s3}
        yield json.dumps({"Records": [record]}).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=20)
    parser.add_argument("--rate", type=float, default=5.0)
    parser.add_argument("--puts", type=int, default=300)
    parser.add_argument("--burst", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=50_000)
    arguments = parser.parse_args()
    configure_logging(level="ERROR")  # standard output is for figures
    with signals_interrupt(), Stack.start(workers=True, options=Options(flower=False)) as stack:
        site = Site(stack)
        site.wake_topic()
        scene = borrowed(site, 1)
        scene.add_targets([f"many-{number}" for number in range(arguments.repositories)], 1, 1.0)
        steady(scene, arguments.rate, arguments.puts)
        burst(scene, arguments.burst)
        intake(scene, arguments.events)


if __name__ == "__main__":
    main()
