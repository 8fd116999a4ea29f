"""The servers of the stack, as the tests and the demo use them."""

import json
import stat
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import amqp
import botocore.exceptions
import hvac
import pytest
import redis
from kombu import Connection, Exchange, Message, Queue
from redis.backoff import NoBackoff
from redis.retry import Retry

from softman.adapters.s3_client import S3Access, s3_client
from softman.errors import NotFound, ServiceUnavailable
from softman.standalone.process import wait_until
from softman.standalone.rgw import S3Keys
from softman.standalone.stack import Stack
from softman.tasks.catalogue import DEAD, EVENTS, TASK_QUEUES
from tests.support.patience import patiently
from tests.support.shaking import crash_gateway

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ALL = ["nginx", "rgw", "ceph", "rabbitmq", "vault", "redis"]


def _s3(stack: Stack, keys: S3Keys) -> "S3Client":
    return s3_client(S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key))


def _channel(connection: Connection) -> AbstractContextManager[Any]:
    channel: AbstractContextManager[Any] = connection.channel()
    return channel


def _get(url: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - http on loopback
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, dict(exc.headers), exc.read()


def test_every_server_runs_and_tells_its_version(stack: Stack) -> None:
    assert stack.down() == []
    assert list(stack.servers) == ALL
    versions = stack.versions()
    assert set(versions) == {"RabbitMQ", "Redis", "Ceph", "nginx", "Vault"}
    assert all(versions[name][0].isdigit() for name in ("RabbitMQ", "Redis", "Ceph", "nginx"))


def test_everything_is_private(stack: Stack) -> None:
    assert stat.S_IMODE(stack.directory.stat().st_mode) == 0o700
    readable = [
        path
        for name in ("env.json", "redis/redis.conf", "rabbitmq/definitions.json", "rabbitmq/.erlang.cookie")
        if (path := stack.directory / name).stat().st_mode & 0o077
    ]
    assert readable == []


def test_a_stack_is_found_again(stack: Stack) -> None:
    again = Stack.attach(stack.directory)
    assert again.down() == []
    assert again.environment() == stack.environment()


def test_an_unknown_server_is_named(stack: Stack) -> None:
    with pytest.raises(NotFound, match="'kafka' is no server of the stack"):
        stack.server("kafka")


def test_redis_wants_its_password(stack: Stack) -> None:
    with redis.Redis.from_url(stack.redis_url) as client:
        assert client.ping()
    port = stack.redis.facts.ports["redis"]
    with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_the_queues_are_declared(stack: Stack) -> None:
    with Connection(stack.amqp_url) as connection, _channel(connection) as channel:
        for name in (*TASK_QUEUES, EVENTS, DEAD):
            channel.queue_declare(name, passive=True)


def test_the_object_stores_user_of_the_broker_can_only_push(stack: Stack, unique: str) -> None:
    with Connection(stack.push_endpoint) as connection:
        with _channel(connection) as channel:
            channel.exchange_declare(EVENTS, "topic", passive=True)
            reply = channel.queue_declare("", exclusive=True).queue
            assert reply.startswith("amq.gen")
        with _channel(connection) as channel, pytest.raises(amqp.AccessRefused):
            channel.queue_declare(unique)
        with _channel(connection) as channel, pytest.raises(amqp.AccessRefused):
            channel.basic_get(EVENTS)


def test_guest_is_not_there(stack: Stack) -> None:
    port = stack.rabbitmq.facts.ports["amqp"]
    with pytest.raises(amqp.AccessRefused), Connection(f"amqp://guest:guest@127.0.0.1:{port}//") as connection:
        connection.connect()


def test_rabbitmqctl_reaches_the_node(stack: Stack) -> None:
    assert "softman" in stack.rabbitmqctl("--quiet", "list_users")
    with pytest.raises(ServiceUnavailable, match="rabbitmqctl no-such-command failed"):
        stack.rabbitmqctl("no-such-command")


def test_the_reader_reads_every_bucket_and_writes_none(stack: Stack, unique: str) -> None:
    owner, reader = _s3(stack, stack.create_s3_user(unique)), _s3(stack, stack.s3_credentials("reader"))
    owner.create_bucket(Bucket=unique)
    owner.put_object(Bucket=unique, Key="cvmfs/a", Body=b"content")
    assert reader.get_object(Bucket=unique, Key="cvmfs/a")["Body"].read() == b"content"
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        reader.put_object(Bucket=unique, Key="cvmfs/b", Body=b"")
    with pytest.raises(botocore.exceptions.ClientError, match="AccessDenied"):
        _s3(stack, stack.s3_credentials("bob")).get_object(Bucket=unique, Key="cvmfs/a")


def test_a_user_that_exists_keeps_its_keys(stack: Stack) -> None:
    assert stack.create_s3_user("alice") == stack.s3_credentials("alice")
    with pytest.raises(NotFound, match="no user 'mallory'"):
        stack.s3_credentials("mallory")


def test_the_vault_lets_each_role_see_its_own(stack: Stack, unique: str) -> None:
    clients = {}
    for role in ("stratum0", "publisher", "dashboard"):
        clients[role] = hvac.Client(url=stack.vault_address)
        clients[role].auth.approle.login(*stack.vault_role(role))
    write = clients["stratum0"].secrets.kv.v2.create_or_update_secret
    read = clients["publisher"].secrets.kv.v2.read_secret_version
    write(f"{unique}/cvmfs_keys/x.example.org", {"gatewayKey": "k"}, mount_point="secrets")
    write(f"signing/{unique}", {"privateKey": "k"}, mount_point="softman")
    found = read(f"{unique}/cvmfs_keys/x.example.org", mount_point="secrets", raise_on_deleted_version=True)
    assert found["data"]["data"] == {"gatewayKey": "k"}
    with pytest.raises(hvac.exceptions.Forbidden):
        read(f"signing/{unique}", mount_point="softman", raise_on_deleted_version=True)
    look = clients["dashboard"].secrets.kv.v2.read_secret_version
    with pytest.raises(hvac.exceptions.Forbidden):
        look(f"{unique}/cvmfs_keys/x.example.org", mount_point="secrets", raise_on_deleted_version=True)


@pytest.mark.parametrize(
    ("name", "cache"),
    [
        (".cvmfspublished", "max-age=0, no-cache"),
        (".cvmfswhitelist", "max-age=0, no-cache"),
        ("data/ab/cdef", "max-age=259200"),
        ("data/ab/cdefC", "max-age=259200"),
    ],
)
def test_the_web_server_shows_repositories(stack: Stack, unique: str, name: str, cache: str) -> None:
    file = stack.repositories_dir / unique / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"\x1f\x8b" * 5000)
    status, headers, body = _get(f"{stack.web_url}/{unique}/{name}")
    assert (status, body) == (200, file.read_bytes())
    assert headers["Cache-Control"] == cache
    assert headers["Content-Length"] == "10000"
    assert "Content-Encoding" not in headers


def test_the_web_server_hides_the_rest(stack: Stack, unique: str) -> None:
    staged = stack.repositories_dir / unique / "data" / "txn" / "t1" / "x"
    staged.parent.mkdir(parents=True)
    staged.touch()
    for path in ("data/txn/t1/x", "data/txn", "data//txn/t1/x", "data/%74xn/t1/x", "data/./txn/t1/x", "absent"):
        assert _get(f"{stack.web_url}/{unique}/{path}")[0] in {404, 403}, path
    assert _get(f"{stack.web_url}/{unique}/")[0] in {403, 404}
    assert _get(f"{stack.web_url}/../../env.json")[0] in {400, 403, 404}


def test_a_gateway_that_crashes_is_started_again_with_its_buckets(stack: Stack, unique: str) -> None:
    client = _s3(stack, stack.create_s3_user(unique))
    client.create_bucket(Bucket=unique)
    with _queue_locked(stack, unique) as lockers:
        assert len(lockers()) == 1
        crash_gateway(stack)
        wait_until(lambda: lockers() == [], "the lock of a topic's queue is broken", seconds=120)
        patiently(lambda: client.head_bucket(Bucket=unique))
    assert "SIGSEGV" in stack.rgw.log.read_text(encoding="utf-8", errors="replace")
    client.delete_bucket(Bucket=unique)


@contextmanager
def _queue_locked(stack: Stack, name: str) -> Iterator[Callable[[], list[Any]]]:
    """The queue of a topic, locked as by a gateway; gives who locks it."""

    def rados(*arguments: str) -> str:
        pool = ("-p", "default.rgw.log", "-N", "notif")
        return stack.ceph.command("rados", "-c", str(stack.ceph.configuration), *pool, *arguments)

    rados("lock", "get", name, "a-lock")
    try:
        yield lambda: list(json.loads(rados("lock", "info", name, "a-lock"))["lockers"])
    finally:
        rados("rm", name)


def test_redis_and_the_gateway_are_killed_noticed_and_come_back(stack: Stack, unique: str) -> None:
    client = _s3(stack, stack.create_s3_user(unique))
    client.create_bucket(Bucket=unique)
    client.put_object(Bucket=unique, Key="k", Body=b"kept")
    addresses = stack.redis_url, stack.s3_endpoint
    for name in ("redis", "rgw"):
        server = stack.server(name)
        server.kill()
        assert stack.down() == [name]
        server.start()
    assert stack.down() == []
    assert (stack.redis_url, stack.s3_endpoint) == addresses
    assert client.get_object(Bucket=unique, Key="k")["Body"].read() == b"kept"


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_the_broker_keeps_durable_messages(stack: Stack, unique: str, how: str) -> None:
    queue = Queue(unique, Exchange(unique, "topic"), routing_key="#", queue_arguments={"x-queue-type": "quorum"})
    with Connection(stack.amqp_url, transport_options={"confirm_publish": True}) as connection:
        connection.Producer().publish("kept", exchange=queue.exchange, routing_key="x", declare=[queue])
    server = stack.rabbitmq
    # A quorum queue that is declared less than half a second before a kill does not come back (RabbitMQ 3.10 writes
    # the table of its members that late), so wait for the table.
    [table] = server.home.glob("mnesia/*/quorum/*/names.dets")
    wait_until(lambda: unique.encode() in table.read_bytes(), "the queue's member is on disk", seconds=180)
    server.kill() if how == "kill" else server.stop()
    assert stack.down() == ["rabbitmq"]
    with pytest.raises(OSError, match="refused"), Connection(stack.amqp_url) as connection:
        connection.connect()
    server.start()
    with Connection(stack.amqp_url) as connection:
        found: list[Message] = []

        def comes_back() -> bool:  # a queue may come back a moment after the broker
            found.extend(filter(None, [queue(connection.default_channel).get()]))
            return bool(found)

        wait_until(comes_back, "the message is back", seconds=180)
        assert found[0].payload == "kept"
        found[0].ack()


def test_the_vault_keeps_its_content_over_a_kill(stack: Stack, unique: str) -> None:
    if stack.vault.program != "stand-in":
        pytest.skip(f"{stack.vault.program} in dev mode keeps nothing")
    client = hvac.Client(url=stack.vault_address)
    client.auth.approle.login(*stack.vault_role("stratum0"))
    client.secrets.kv.v2.create_or_update_secret(f"signing/{unique}", {"a": "b"}, mount_point="softman")
    stack.server("vault").kill()
    assert stack.down() == ["vault"]
    stack.server("vault").start()
    client.auth.approle.login(*stack.vault_role("stratum0"))
    kept = client.secrets.kv.v2.read_secret_version(
        f"signing/{unique}", mount_point="softman", raise_on_deleted_version=True
    )
    assert kept["data"]["data"] == {"a": "b"}


def test_the_log_directory_has_the_logs(stack: Stack) -> None:
    assert {"ceph.log", "rabbitmq.log", "redis.log"} <= {path.name for path in Path(stack.directory / "log").iterdir()}
