"""TLS to every service, on real listeners: the right authority is believed, all else is refused with its reason."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

import pytest
from kombu import Connection

from softman.adapters.records import RedisRecords
from softman.adapters.redis_client import redis_client
from softman.adapters.registry import VaultRegistry
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import S3Access, s3_client, sns_client
from softman.adapters.s3_connector import S3Connector, Topic
from softman.adapters.vault_layout import Role
from softman.adapters.vault_session import VaultSession
from softman.cvmfs.errors import ObjectMissing, StoreUnavailable
from softman.cvmfs.store.http import HttpStore
from softman.errors import NotFound, PermanentError, ServiceUnavailable
from softman.names import RepositoryName
from softman.settings import Settings, VaultSettings, load_settings
from softman.standalone.ports import PortHold
from softman.standalone.process import ProcessTable, wait_until
from softman.standalone.rabbitmq import RabbitServer
from softman.standalone.redis import RedisServer
from softman.standalone.server import Place
from softman.standalone.stack import Stack
from softman.tasks.catalogue import EVENTS
from softman.tasks.client import broker_errors, client_app
from softman.tasks.queues import declare_all
from tests.support.certificates import Authority
from tests.support.tls_front import TlsFront

pytestmark = pytest.mark.stack
NAME = RepositoryName("nobody", "example.org")
TOPIC = "softman-tls"
CAUSES = {
    "wrong name": "mismatch|doesn't match|no alternative certificate subject name|not valid for",
    "expired": "has expired",
    "unknown authority": "unable to get local issuer certificate|self.signed certificate",
}
ERRORS = (ServiceUnavailable, PermanentError, StoreUnavailable)


class TlsRabbit(RabbitServer):
    """RabbitMQ with a TLS listener beside the plain one."""

    port_names: ClassVar[tuple[str, ...]] = (*RabbitServer.port_names, "tls")  # type: ignore[assignment]  # one more
    files: tuple[Path, Path]

    def prepare(self) -> None:
        super().prepare()
        with (self.home / "rabbitmq.conf").open("a") as out:
            out.write(f"listeners.ssl.local = 127.0.0.1:{self.facts.ports['tls']}\nnum_acceptors.ssl = 2\n")
            out.write(f"ssl_options.certfile = {self.files[0]}\nssl_options.keyfile = {self.files[1]}\n")
            out.write("ssl_options.verify = verify_none\nssl_options.fail_if_no_peer_cert = false\n")


class TlsRedis(RedisServer):
    """Redis with a TLS listener beside the plain one."""

    port_names: ClassVar[tuple[str, ...]] = (*RedisServer.port_names, "tls")  # type: ignore[assignment]  # one more
    files: tuple[Path, Path]

    def prepare(self) -> None:
        super().prepare()
        with (self.home / "redis.conf").open("a") as out:
            out.write(f"tls-port {self.facts.ports['tls']}\ntls-cert-file {self.files[0]}\n")
            out.write(f"tls-key-file {self.files[1]}\ntls-auth-clients no\n")


@dataclass
class Listeners:
    """Where each service listens with TLS: with a certificate for ``localhost`` in force, and with one that is over."""

    stack: Stack
    authority: Authority
    stranger: Authority
    rabbit: TlsRabbit
    redis: TlsRedis
    good: dict[str, int]
    expired: dict[str, int]

    def connector(self) -> S3Connector:
        """One whose buckets notify the broker over TLS."""
        secret = urlsplit(self.rabbit.url_of("rgw"))
        endpoint = f"amqps://{secret.username}:{secret.password}@localhost:{self.good['amqp']}"
        topic = Topic(TOPIC, endpoint, ca_location=str(self.authority.file))
        return S3Connector(_access(self.stack, "connector"), topic)

    def settings(self, where: Callable[[str], str], ca_file: Path) -> Settings:
        """The settings of a site with TLS everywhere."""
        rabbit, cache = urlsplit(self.rabbit.url_of("client")), urlsplit(self.redis.url_of("publisher"))
        keys, (role_id, secret_id) = self.stack.s3_credentials("reader"), self.stack.vault_role("publisher")
        return load_settings(
            broker_url=f"amqps://{rabbit.username}:{rabbit.password}@{where('amqp')}//",
            redis_url=f"rediss://{cache.username}:{cache.password}@{where('redis')}/0",
            cvmfs={"url": f"https://{where('web')}/cvmfs"},
            s3={
                "endpoint": f"https://{where('s3')}",
                "reader": {"access_key": keys.access_key, "secret_key": keys.secret_key},
            },
            vault={
                "address": f"https://{where('vault')}",
                "publisher": {"role_id": role_id, "secret_id": secret_id},
            },
            tls={"ca_file": ca_file},
        )


@pytest.fixture(scope="module")
def listeners(stack: Stack) -> Iterator[Listeners]:
    with ExitStack() as opened:
        directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="softman-tls-")))
        for name in ("log", "sockets", "certificates"):
            (directory / name).mkdir()
        authority = Authority.make(directory / "certificates", "ours")
        stranger = Authority.make(directory / "certificates", "stranger")
        files, over = authority.issue("localhost"), authority.issue("localhost", left=timedelta(days=-1))
        table = ProcessTable(directory, f"tls{time.monotonic_ns()}")
        opened.callback(table.sweep)
        place = Place(directory, directory / "sockets", table, PortHold())
        rabbit, cache = TlsRabbit(place), TlsRedis(place)
        for server in (rabbit, cache):
            server.files = files
            opened.callback(server.kill)
            server.start_anywhere()
        plain = {
            "amqp": rabbit.facts.ports["amqp"],
            "redis": cache.facts.ports["redis"],
            **{name: urlsplit(url).port or 0 for name, url in _addresses(stack).items()},
        }
        good = {"amqp": rabbit.facts.ports["tls"], "redis": cache.facts.ports["tls"]}
        for name in ("web", "s3", "vault"):
            good[name] = opened.enter_context(TlsFront(plain[name], *files)).port
        expired = {name: opened.enter_context(TlsFront(port, *over)).port for name, port in plain.items()}
        made = Listeners(stack, authority, stranger, rabbit, cache, good, expired)
        made.connector()._ensure_topic()  # it sleeps half a minute, while other tests run
        yield made


def _addresses(stack: Stack) -> dict[str, str]:
    return {"web": stack.web_url, "s3": stack.s3_endpoint, "vault": stack.vault_address}


def _amqp(settings: Settings) -> None:
    app = client_app(settings)
    with broker_errors(app), app.connection_for_write() as connection:
        connection.connect()


def _redis(settings: Settings) -> None:
    client = redis_client(settings.redis_url.get_secret_value(), settings.tls.ca_file)
    with client:
        assert RedisRecords(client).links(NAME) == []


def _results(settings: Settings) -> None:
    backend: Any = client_app(settings).backend
    try:
        assert backend.get_task_meta("nobody")["status"] == "PENDING"
    except backend.connection_errors as exc:
        raise ServiceUnavailable(str(exc)) from exc


def _vault(settings: Settings) -> None:
    assert VaultRegistry(VaultSession(settings.vault, Role.PUBLISHER), settings.vault).get(NAME) is None


def _boto(settings: Settings) -> None:
    with pytest.raises(NotFound):
        S3Buckets.from_settings(settings.s3, threads=1).owner("no-such-bucket")


def _listing(settings: Settings) -> None:
    with pytest.raises(NotFound):
        list(S3Buckets.from_settings(settings.s3, threads=1).list_objects("no-such-bucket", ""))


def _object(settings: Settings) -> None:
    with pytest.raises(NotFound), S3Buckets.from_settings(settings.s3, threads=1).read("no-such-bucket", "key"):
        pass


def _web(settings: Settings) -> None:
    with pytest.raises(ObjectMissing):
        HttpStore([f"{settings.cvmfs.url}/{NAME}"], ca_file=settings.tls.ca_file).get(".cvmfspublished", max_size=1)


ASK = {
    "broker": _amqp, "Redis": _redis, "results": _results, "Vault": _vault, "S3 by boto3": _boto,
    "S3 listings": _listing, "S3 objects": _object, "web": _web,
}  # fmt: skip


@pytest.mark.parametrize("ask", ASK)
def test_the_right_certificate_is_believed(listeners: Listeners, ask: str) -> None:
    ASK[ask](listeners.settings(lambda name: f"localhost:{listeners.good[name]}", listeners.authority.file))


@pytest.mark.usefixtures("impatient_users")
@pytest.mark.parametrize("fault", CAUSES)
@pytest.mark.parametrize("ask", ASK)
def test_a_wrong_one_is_refused_with_host_and_cause(listeners: Listeners, ask: str, fault: str) -> None:
    host = "127.0.0.1" if fault == "wrong name" else "localhost"
    ports = listeners.expired if fault == "expired" else listeners.good
    authority = listeners.stranger if fault == "unknown authority" else listeners.authority
    with pytest.raises(ERRORS, match=CAUSES[fault]) as refused:
        ASK[ask](listeners.settings(lambda name: f"{host}:{ports[name]}", authority.file))
    assert host in str(refused.value)


def test_without_an_authority_of_its_own_those_of_the_system_count(listeners: Listeners) -> None:
    keys = listeners.settings(lambda name: f"localhost:{listeners.good[name]}", listeners.authority.file)
    with pytest.raises(PermanentError, match="certificate of localhost is refused"):
        _vault(keys.model_copy(update={"vault": VaultSettings(**{**keys.vault.model_dump(), "ca_file": None})}))


def test_the_object_store_pushes_events_over_tls(listeners: Listeners, unique: str) -> None:
    rabbit, stack = listeners.rabbit, listeners.stack
    with Connection(rabbit.url) as connection:
        declare_all(connection)
        connector = listeners.connector()
        connector.ensure_bucket(unique, "alice")
        assert connector.ensure_notification(unique) is True
        assert connector.ensure_notification(unique) is False
        s3_client(_access(stack, "alice")).put_object(Bucket=unique, Key="cvmfs/a", Body=b"x")
        channel = cast("Any", connection.channel())
        try:  # a topic sleeps 30 s after a start of RGW
            wait_until(lambda: channel.basic_get(EVENTS, no_ack=True) is not None, "an event comes by TLS", seconds=300)
        finally:
            connector.remove_notification(unique)
            # Its events would be tried again for ever, a lot of work beside the tests that come after this one.
            sns_client(_access(stack, "connector")).delete_topic(TopicArn=f"arn:aws:sns:default::{TOPIC}")


def _access(stack: Stack, user: str) -> S3Access:
    keys = stack.s3_credentials(user)
    return S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)
