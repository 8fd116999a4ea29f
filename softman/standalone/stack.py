"""The door to the embedded stack: start it, find it again, ask it for addresses and credentials, stop it."""

import secrets
import shutil
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from filelock import FileLock, Timeout
from kombu import Connection

from softman.errors import Busy, NotFound
from softman.settings import Settings
from softman.standalone import roles
from softman.standalone.ceph import CephServer
from softman.standalone.identity_provider import new_dashboard
from softman.standalone.listeners import Dashboard, Flower
from softman.standalone.nginx import WebServer
from softman.standalone.packages import ensure_packages
from softman.standalone.ports import PortHold
from softman.standalone.process import ProcessTable, python_environment
from softman.standalone.processes import WORKERS, ProcessSpec, pages_of, process_specs, wait_ready
from softman.standalone.rabbitmq import RabbitServer
from softman.standalone.record import (
    LOCK_NAME,
    LOGS,
    Options,
    Record,
    fresh_record,
    load_record,
    prepare_directory,
    remove_sockets,
)
from softman.standalone.redis import RedisServer
from softman.standalone.rgw import CONNECTOR, READER, REPOSITORIES, STAGING, STORING, UPLOADER, GatewayServer, S3Keys
from softman.standalone.server import Place, Server
from softman.standalone.vault import VaultServer
from softman.tasks.queues import declare_all

__all__ = ["Options", "Stack"]

_SUPERVISOR = "supervisor"
_GIVE_UP_SECONDS = 15.0
_SERVICE_USERS = {
    "reader": READER,
    "connector": CONNECTOR,
    "uploader": UPLOADER,
    "storing": STORING,
    "staging": STAGING,
}


class Stack:
    """A stack, running or not. Made by ``start`` or ``attach``; a context manager that stops and removes it.

    Attributes:
        directory: everything of the stack is in it, logs in ``log/``.
    """

    def __init__(self, directory: Path, record: Record) -> None:
        self.directory = directory
        self._record = record
        self._lock = threading.Lock()
        self.processes = ProcessTable(directory, record.marker)
        self._ports = PortHold()
        place = Place(directory, Path(record.sockets), self.processes, self._ports)
        facts = record.facts
        self.redis = RedisServer(place, facts.get("redis"))
        self.rabbitmq = RabbitServer(place, facts.get("rabbitmq"))
        self.nginx = WebServer(place, facts.get("nginx"))
        self.vault = VaultServer(place, facts.get("vault"))
        self.ceph = CephServer(place, facts.get("ceph"))
        self.rgw = GatewayServer(place, self.ceph, facts.get("rgw"), front_end=record.front_end)

    @classmethod
    def start(cls, directory: Path | None = None, *, workers: bool = False, options: Options | None = None) -> Self:
        """Start all servers at the same time; returns when every one answers, and users and queues exist.

        Args:
            directory: where; None makes a temporary directory. What a former stack left there is removed, but for its
                logs: the object store lived in memory, and repositories without their buckets would be emptied.
            workers: also start our own processes, see ``start_workers``.
            options: how it differs from the usual one.

        Raises:
            NotFound: Debian packages are missing; the message has the command that installs them.
            Busy: a stack runs there already.
            InvalidInput: the directory holds other things.
            Forbidden: the directory is somebody else's.
            ServiceUnavailable: a server did not come up; nothing runs, and the end of its log is in the message.
        """
        ensure_packages(install=False)
        options = options or Options()
        home = prepare_directory(directory)
        with _only_one(home):
            stack = cls(home, fresh_record(home, options))
            try:
                stack._come_up(options)
                if workers:
                    stack.start_workers(flower=options.flower, dashboard=options.dashboard)
            except BaseException:
                stack._give_up(remove=directory is None)
                raise
        return stack

    @classmethod
    def attach(cls, directory: Path) -> Self:
        """Find the stack in ``directory``, running or not.

        Raises:
            NotFound: there is none.
        """
        home = directory.expanduser().resolve()
        return cls(home, load_record(home))

    def stop(self, *, purge: bool = False) -> None:
        """Stop every process of the stack.

        Args:
            purge: also remove the directory with all data and logs; the servers are then killed, which is faster.
        """
        if not purge:
            self.stop_workers()
            for server in self.servers.values():
                server.stop()
        self._end_everything()
        if purge:
            shutil.rmtree(self.directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(purge=True)

    def detach(self) -> None:
        """Let the stack outlive this program."""
        self.processes.detach()

    def start_workers(self, *, flower: bool = True, dashboard: bool = False, seconds: float = 180.0) -> None:
        """Start our own processes under a supervisor that starts them again when they end; returns when all are ready.

        Args:
            flower: start Flower too.
            dashboard: start the dashboard too, and the identity provider where it is installed.
            seconds: how long that may take.

        Raises:
            ServiceUnavailable: not all got ready; none of them runs.
        """
        ports = [self._ports.take() for _ in range(3)]
        self._record = replace(
            self._record,
            flower=Flower(ports[0], secrets.token_hex(8)) if flower else None,
            dashboard=new_dashboard(ports[1], ports[2]) if dashboard else None,
        )
        self._save()
        try:
            self._spawn_supervisor()
            for port in ports:
                self._ports.release(port)
            wait_ready(self, self.process_specs(), pages_of(self.flower, self.dashboard), seconds=seconds)
        except BaseException:
            self.stop_workers(grace=_GIVE_UP_SECONDS)  # not killed: it may be about to start one that nobody knows yet
            raise

    def _spawn_supervisor(self) -> None:
        self.processes.spawn(
            _SUPERVISOR,
            [sys.executable, "-m", "softman.standalone.supervisor", str(self.directory)],
            log=self.directory / LOGS / "supervisor.log",
            environment=python_environment(),
            cwd=self.directory,
        )

    def stop_workers(self, *, grace: float = 40.0) -> None:
        """Stop the supervisor and our own processes; running tasks get up to ``grace`` seconds to finish."""
        self.processes.stop(_SUPERVISOR, grace=grace)
        for name in self.processes.names():
            if name.startswith(WORKERS):
                self.processes.kill(name)

    @property
    def flower(self) -> Flower | None:
        """Where Flower listens, when it was started."""
        return self._record.flower

    @property
    def dashboard(self) -> Dashboard | None:
        """Where the dashboard listens, when it was started."""
        return self._record.dashboard

    def process_specs(self) -> tuple[ProcessSpec, ...]:
        """Our own processes that belong to the stack as it was started last."""
        return process_specs(self.flower, self.dashboard)

    @property
    def servers(self) -> dict[str, Server]:
        """All servers by name, in the order in which they can be stopped."""
        order: tuple[Server, ...] = (self.nginx, self.rgw, self.ceph, self.rabbitmq, self.vault, self.redis)
        return {server.name: server for server in order}

    def server(self, name: str) -> Server:
        """One server; ``kill()``, ``stop()`` and ``start()`` keep its ports.

        ``rgw`` can be restarted by itself; ``ceph`` behind it loses all data when it ends.

        Raises:
            NotFound: there is no server of this name.
        """
        try:
            return self.servers[name]
        except KeyError:
            msg = f"{name!r} is no server of the stack; there are {', '.join(self.servers)}"
            raise NotFound(msg) from None

    def down(self) -> list[str]:
        """The names of the servers, and of our own processes that were started, that do not run."""
        servers = [name for name, server in self.servers.items() if not server.alive()]
        own = [name for name in self.processes.names() if name.startswith((WORKERS, _SUPERVISOR))]
        return servers + [name for name in own if not self.processes.alive(name)]

    def environment(self, role: str = "admin") -> dict[str, str]:
        """The ``SOFTMAN_*`` variables of one role of ``roles.ROLES``, with its own secrets only."""
        return roles.environment(self, role)

    def settings(self, role: str = "admin") -> Settings:
        """The settings of one role of ``roles.ROLES``."""
        return roles.settings(self, role)

    def versions(self) -> dict[str, str]:
        """The versions of the servers, to be shown."""
        shown = {"RabbitMQ": self.rabbitmq, "Redis": self.redis, "Ceph": self.ceph, "nginx": self.nginx}
        return {**{name: server.version() for name, server in shown.items()}, "Vault": self.vault.version()}

    @property
    def domain(self) -> str:
        """Repositories are called ``<label>.<domain>``."""
        return self._record.domain

    @property
    def own_settings(self) -> Mapping[str, str]:
        """``Options.settings``."""
        return self._record.settings

    @property
    def amqp_url(self) -> str:
        """The broker, with the password of its administrator."""
        return self.rabbitmq.url

    def broker_url(self, role: str) -> str:
        """The broker, with the password of a role's user."""
        return self.rabbitmq.url_of(role)

    @property
    def push_endpoint(self) -> str:
        """The broker as the object gateway reaches it, with a user that can only push events."""
        return self.rabbitmq.push_endpoint

    @property
    def redis_url(self) -> str:
        """Redis, with the password of its administrator."""
        return self.redis.url

    def cache_url(self, role: str) -> str:
        """Redis, with the password of a role's user."""
        return self.redis.url_of(role)

    @property
    def s3_endpoint(self) -> str:
        """The object store."""
        return self.rgw.url

    @property
    def web_url(self) -> str:
        """Where the repositories are read; the name of one follows after a slash."""
        return self.rgw.repositories_url if self._record.storage == "s3" else self.nginx.url

    @property
    def storage_url(self) -> str:
        """Where the repositories are stored: ``cvmfs.storage`` of the settings."""
        return f"s3://{REPOSITORIES.bucket}" if self._record.storage == "s3" else self.repositories_dir.as_uri()

    @property
    def repositories_dir(self) -> Path:
        """Where the repositories are stored, one folder each, unless they are in a bucket."""
        return self.nginx.repositories

    @property
    def vault_address(self) -> str:
        """The API of the vault."""
        return self.vault.url

    def vault_role(self, role: str) -> tuple[str, str]:
        """Role id and secret id of an AppRole; ``adapters.vault_layout.Role`` lists them."""
        return self.vault.role(role)

    def s3_credentials(self, user: str) -> S3Keys:
        """The keys of a user of the object store; ``reader``, ``connector`` and ``uploader`` are softman's own.

        So are ``storing`` and ``staging``, where repositories are stored in a bucket.

        Raises:
            NotFound: there is no such user.
        """
        try:
            return self._record.users[_SERVICE_USERS.get(user, user)]
        except KeyError:
            msg = f"the stack knows no user {user!r} of the object store"
            raise NotFound(msg) from None

    def create_s3_user(self, uid: str) -> S3Keys:
        """The keys of a user of the object store, who is made when there is none."""
        with self._lock:
            known = self._record.users.get(uid)
            if known is not None:
                return known
            keys = self.rgw.ensure_user(uid)
            self._record = replace(self._record, users={**self._record.users, uid: keys})
            self._save()
            return keys

    def rabbitmqctl(self, *arguments: str) -> str:
        """Run ``rabbitmqctl``; takes a second or two."""
        return self.rabbitmq.ctl(*arguments)

    def _come_up(self, options: Options) -> None:
        self._save()
        users: dict[str, S3Keys] = {}
        jobs = (
            self._start_broker,
            lambda: users.update(self._start_object_store(options)),
            self.vault.start_anywhere,
            self.redis.start_anywhere,
            self.nginx.start_anywhere,
        )
        with ThreadPoolExecutor(len(jobs), thread_name_prefix="stack") as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
            except BaseException:
                self.processes.sweep()  # what others wait for will not come: do not wait for them
                raise
        self._record = replace(self._record, users=users)
        self._save()

    def _start_broker(self) -> None:
        self.rabbitmq.start_anywhere()
        with Connection(self.amqp_url) as connection:
            declare_all(connection)

    def _start_object_store(self, options: Options) -> dict[str, S3Keys]:
        self.ceph.start_anywhere()
        users = self.rgw.create_service_users()
        self.rgw.start_anywhere()
        self.rgw.allow_reader(users[CONNECTOR])
        if options.storage == "s3":
            users |= self.rgw.create_storage_users()
            self.rgw.share_repositories(users[STORING])
        return users | {uid: self.rgw.create_user(uid) for uid in options.users}

    def _save(self) -> None:
        facts = {name: server.facts for name, server in self.servers.items()}
        self._record = replace(self._record, facts=facts)
        self._record.save(self.directory)

    def _end_everything(self) -> None:
        self.stop_workers(grace=0)
        for name in self.processes.names():
            self.processes.kill(name)
        self.processes.sweep()
        self._ports.close()
        remove_sockets(self._record, self.directory)

    def _give_up(self, *, remove: bool) -> None:
        self._end_everything()
        if remove:
            shutil.rmtree(self.directory, ignore_errors=True)


@contextmanager
def _only_one(directory: Path) -> Iterator[None]:
    """Hold the directory's lock while a stack starts in it."""
    try:
        with FileLock(directory / LOCK_NAME, timeout=0):
            yield
    except Timeout as exc:
        msg = f"another program starts a stack in {directory} at this moment"
        raise Busy(msg) from exc
