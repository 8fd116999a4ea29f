"""The faults of a storm: what is done to a scene, and how it is undone where softman cannot do that itself."""

import signal
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import redis

from softman.errors import ServiceUnavailable
from softman.standalone.process import wait_until
from softman.standalone.processes import BEATS, WORKERS
from tests.support.chaos.proxy import Weather
from tests.support.chaos.scene import Scene, Target
from tests.support.chaos.thief import Thief

Heal = Callable[[], None]
SECONDS = 180.0
_WORKERS = ("publisher", "bulk", "stratum0", "commit", "connector", "events", "flower", *BEATS)
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: for reports.
        inject: lets it happen; what it gives undoes it, or waits until the supervisor has.
        hold: seconds from the one to the other, from and to; added to the lease where ``beyond_lease``.
        own: it needs a scene of its own: proxies, a disk, or a gateway that others do not wait for.
        ends_gateway: nobody else shall start the gateway meanwhile.
        hinder: why it cannot be injected here, or nothing.
    """

    name: str
    inject: Callable[[Scene], Heal]
    hold: tuple[float, float] = (0.5, 3.0)
    own: bool = False
    beyond_lease: bool = False
    ends_gateway: bool = False
    hinder: Callable[[Scene], str] = lambda _scene: ""

    def seconds(self, scene: Scene) -> float:
        """How long to hold it this time."""
        return scene.random.uniform(*self.hold) + self.beyond_lease * scene.lease_seconds


def _nothing() -> None:
    pass


def _kill(worker: str) -> Fault:
    """``kill -9``: the main process, one of its children, or all of them."""
    process = WORKERS + worker

    def inject(scene: Scene) -> Heal:
        wait_until(lambda: bool(scene.members(process)), f"{worker} runs", seconds=SECONDS)
        members = scene.members(process)
        main = members[0]
        for each in scene.random.choice(([main], members, members[-1:])):
            each.send(signal.SIGKILL)
        return lambda: wait_until(lambda: scene.pid(worker) is not None, f"{worker} runs again", seconds=SECONDS)

    return Fault(f"kill -9 {worker}", inject, (0.0, 0.5))


def _kill_all(scene: Scene, worker: str) -> None:
    scene.signal(WORKERS + worker, signal.SIGKILL)


def _staged(scene: Scene, target: Target) -> set[Path]:
    """Root catalogs in transactions: the last thing that is uploaded."""
    return set(scene.repository(target).glob("data/txn/*/*C"))


def _upload_without_commit(scene: Scene) -> Target:
    """With the commit worker asleep, somebody writes; returns when the upload is complete."""
    wait_until(lambda: bool(scene.members(WORKERS + "commit")), "the commit worker runs", seconds=SECONDS)
    scene.signal(WORKERS + "commit", signal.SIGSTOP)
    target = scene.random.choice(scene.targets)
    before = _staged(scene, target)
    target.user.put("probe/staged", scene.random.randbytes(2000))
    wait_until(lambda: bool(_staged(scene, target) - before), "an upload is complete", seconds=SECONDS)
    return target


def _between_upload_and_commit(scene: Scene) -> Heal:
    try:
        _upload_without_commit(scene)
        _kill_all(scene, "publisher")
        _kill_all(scene, "bulk")
    finally:
        scene.signal(WORKERS + "commit", signal.SIGCONT)
    return _nothing


def _after_commit(*victims: str) -> Callable[[Scene], Heal]:
    """Redis sleeps, so that nobody hears of the commit; its worker or its publisher dies before it is acknowledged."""

    def inject(scene: Scene) -> Heal:
        try:
            target = _upload_without_commit(scene)
            manifest = scene.repository(target) / ".cvmfspublished"
            before = manifest.read_bytes()
            scene.signal("redis", signal.SIGSTOP)
        except BaseException:
            scene.signal("redis", signal.SIGCONT)
            raise
        finally:
            scene.signal(WORKERS + "commit", signal.SIGCONT)
        with suppress(ServiceUnavailable):  # it waited for Redis already: the fault is another one then
            wait_until(lambda: manifest.read_bytes() != before, "the commit happened", seconds=10)
        for victim in victims:
            _kill_all(scene, victim)
        return lambda: scene.signal("redis", signal.SIGCONT)

    return inject


def _server(name: str, how: str, *, start: bool = True) -> Callable[[Scene], Heal]:
    """Stop or kill a server, and start it again."""

    def inject(scene: Scene) -> Heal:
        server = scene.servers.server(name)
        getattr(server, how)()
        return server.start if start else _nothing

    return inject


def _flush(scene: Scene) -> Heal:
    client = redis.Redis.from_url(scene.servers.redis_url)
    client.flushall()
    client.close()
    return _nothing


def _seal(scene: Scene) -> Heal:
    vault = scene.servers.vault
    request = urllib.request.Request(  # noqa: S310 - our own loopback address
        f"{vault.url}/v1/sys/seal", method="PUT", headers={"X-Vault-Token": vault.root_token}
    )
    with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
        pass

    def unseal() -> None:
        vault.kill()
        vault.start()  # the stand-in keeps its state and is open after a start

    return unseal


def _forgetful(scene: Scene) -> str:
    program = scene.servers.vault.program
    return "" if program == "stand-in" else f"{program} in dev mode forgets everything when it ends"


def _pause(process: str) -> Callable[[Scene], Heal]:
    def inject(scene: Scene) -> Heal:
        wait_until(lambda: bool(scene.members(process)), f"{process} runs", seconds=SECONDS)
        members = scene.members(process)
        for each in members:
            each.send(signal.SIGSTOP)

        def go_on() -> None:
            for each in members:
                each.send(signal.SIGCONT)

        return go_on

    return inject


def _weather(name: str, weather: Weather) -> Fault:
    def inject(scene: Scene) -> Heal:
        proxy = scene.proxies[name]
        proxy.set(weather)
        return lambda: proxy.set(Weather.FAIR)

    return Fault(f"{name}: {weather.name.lower()} connections", inject, (1.0, 8.0), own=True)


def _fill_disk(scene: Scene) -> Heal:
    filler = scene.servers.repositories_dir / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while stream.write(bytes(_BLOCK)) == _BLOCK:
            pass
        while stream.write(b"\0" * 4096):
            pass
    return filler.unlink


def _steal(scene: Scene) -> Heal:
    thief = Thief(scene.servers.amqp_url, scene.random.getrandbits(32))
    thief.__enter__()
    return lambda: thief.__exit__(None, None, None)


def _table() -> Iterator[Fault]:
    yield from map(_kill, _WORKERS)
    yield Fault("publishers killed between upload and commit", _between_upload_and_commit)
    yield Fault("commit worker killed between commit and acknowledgement", _after_commit("commit"))
    yield Fault("publishers killed between commit and its answer", _after_commit("publisher", "bulk"))
    yield Fault("RabbitMQ restarted", _server("rabbitmq", "stop"), (0.0, 3.0), own=True)
    yield Fault("RabbitMQ killed", _server("rabbitmq", "kill"), (0.0, 3.0), own=True)
    yield Fault("Redis flushed", _flush, (0.0, 0.0))
    yield Fault("Redis killed", _server("redis", "kill"))
    yield Fault("vault stopped", _server("vault", "stop"), (1.0, 6.0), hinder=_forgetful)
    yield Fault("vault sealed", _seal, (1.0, 6.0), hinder=_forgetful)
    yield Fault("nginx stopped", _server("nginx", "stop"))
    yield Fault("RGW restarted", _server("rgw", "stop"), (0.0, 2.0), own=True, ends_gateway=True)
    yield Fault("notifications dropped, doubled, shuffled", _steal, (4.0, 8.0), own=True)
    for worker in ("publisher", "bulk", "commit", "events"):
        yield Fault(f"{worker} paused beyond the lease", _pause(WORKERS + worker), own=True, beyond_lease=True)
    yield Fault("Redis paused beyond the lease", _pause("redis"), own=True, beyond_lease=True)
    yield Fault("RabbitMQ paused", _pause("rabbitmq"), own=True, beyond_lease=True)
    yield Fault(
        "disk full", _fill_disk, (2.0, 6.0), own=True, hinder=lambda scene: "" if scene.disk else "we may not mount"
    )
    for name in ("redis", "rabbitmq", "rgw", "vault"):
        for weather in (Weather.CUT, Weather.SLOW, Weather.DEAF, Weather.HALF):
            yield _weather(name, weather)


FAULTS = tuple(_table())
"""All kinds there are."""
