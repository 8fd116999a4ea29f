"""What ``BucketConnector`` promises, held by Ceph RGW and by the memory version alike; events really arrive."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import kombu
import pytest
from botocore.exceptions import ClientError

from softman.adapters.memory import MemoryBuckets
from softman.adapters.ports import BucketConnector
from softman.adapters.s3 import S3Buckets
from softman.adapters.s3_client import S3Access, s3_client, sns_client
from softman.adapters.s3_connector import EXCHANGE, S3Connector, Topic
from softman.adapters.s3_http import SignedHttp
from softman.adapters.s3_upload_grants import UploadGrant
from softman.errors import Forbidden, NotFound, ServiceUnavailable
from softman.standalone.rgw import UPLOADER
from softman.standalone.stack import Stack

ORIGIN = "https://softman.example.org"
WAKE_UP_SECONDS = 300.0
"""A new persistent topic of RGW sleeps up to 30 s, and 90 s after RGW was restarted."""


def access_of(stack: Stack, user: str) -> S3Access:
    keys = stack.s3_credentials(user)
    return S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)


@pytest.fixture
def rgw_connector(stack: Stack) -> S3Connector:
    return S3Connector(access_of(stack, "connector"), Topic("softman", stack.push_endpoint))


@dataclass
class World:
    connector: BucketConnector
    owner_of: Callable[[str], str]
    creating: BucketConnector
    """The same store through a connector that makes missing users, and lets the dashboard upload."""


@pytest.fixture(params=["memory", pytest.param("rgw", marks=pytest.mark.stack)])
def world(request: pytest.FixtureRequest) -> World:
    if request.param == "memory":
        buckets = MemoryBuckets(users=("alice", "bob"))
        creating = MemoryBuckets(create_missing_users=True, uploads=True)
        return World(buckets, buckets.owner, creating)
    stack: Stack = request.getfixturevalue("stack")
    topic = Topic("softman", stack.push_endpoint)
    connector = S3Connector(access_of(stack, "connector"), topic)
    creating_connector = S3Connector(
        access_of(stack, "connector"), topic, create_missing_users=True, uploads=UploadGrant(UPLOADER, ORIGIN)
    )
    return World(connector, S3Buckets(access_of(stack, "connector")).owner, creating_connector)


def test_a_bucket_is_made_for_its_owner_once(world: World, unique: str) -> None:
    assert world.connector.ensure_bucket(unique, "alice") is True
    assert world.connector.ensure_bucket(unique, "alice") is False
    assert world.owner_of(unique) == "alice"


def test_a_foreign_bucket_is_not_taken_over(world: World, unique: str) -> None:
    world.connector.ensure_bucket(unique, "bob")
    with pytest.raises(Forbidden, match=rf"{unique} belongs to bob, not to alice"):
        world.connector.ensure_bucket(unique, "alice")
    assert world.owner_of(unique) == "bob"


def test_a_missing_owner_is_not_found_and_nothing_is_made(world: World, unique: str) -> None:
    with pytest.raises(NotFound, match=f"no user {unique}"):
        world.connector.ensure_bucket(unique, unique)
    with pytest.raises(NotFound):
        world.owner_of(unique)


def test_a_missing_owner_is_made_when_that_is_switched_on(world: World, unique: str) -> None:
    assert world.creating.ensure_bucket(unique, unique) is True
    assert world.creating.ensure_bucket(unique, unique) is False


def test_connecting_twice_changes_nothing(world: World, unique: str) -> None:
    world.connector.ensure_bucket(unique, "alice")
    assert world.connector.ensure_notification(unique) is True
    assert world.connector.ensure_notification(unique) is False


def test_disconnecting_may_be_repeated_and_undone(world: World, unique: str) -> None:
    world.connector.ensure_bucket(unique, "alice")
    world.connector.remove_notification(unique)
    world.connector.ensure_notification(unique)
    world.connector.remove_notification(unique)
    world.connector.remove_notification(unique)
    assert world.connector.ensure_notification(unique) is True


def test_uploads_are_let_in_once_and_kept_out_otherwise(world: World, unique: str) -> None:
    world.creating.ensure_bucket(unique, "carol")
    assert world.creating.ensure_uploads(unique) is True
    assert world.creating.ensure_uploads(unique) is False
    world.connector.ensure_bucket(f"{unique}-b", "alice")
    assert world.connector.ensure_uploads(f"{unique}-b") is False
    for each in (world.creating, world.connector):
        with pytest.raises(NotFound):
            each.ensure_uploads(f"{unique}-none")


def test_uploads_are_taken_back(world: World, unique: str) -> None:
    world.creating.ensure_bucket(unique, "carol")
    world.creating.ensure_uploads(unique)
    for _ in range(2):
        world.creating.remove_uploads(unique)
    assert world.creating.ensure_uploads(unique) is True
    with pytest.raises(NotFound):
        world.creating.remove_uploads(f"{unique}-none")


def test_a_missing_bucket_cannot_be_connected(world: World, unique: str) -> None:
    with pytest.raises(NotFound):
        world.connector.ensure_notification(unique)


def notifications(stack: Stack, bucket: str) -> dict[str, dict[str, Any]]:
    client = s3_client(access_of(stack, "connector"))
    found = client.get_bucket_notification_configuration(Bucket=bucket).get("TopicConfigurations", [])
    assert len({each["Id"] for each in found}) == len(found)
    return {each["Id"]: dict(each) for each in found}


def put_notification(stack: Stack, user: str, bucket: str, **fields: Any) -> None:
    client = s3_client(access_of(stack, user))
    client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [fields]}  # type: ignore[list-item]
    )  # fmt: skip


@pytest.mark.stack
def test_the_notification_is_what_the_events_worker_expects(
    stack: Stack, rgw_connector: S3Connector, unique: str
) -> None:
    rgw_connector.ensure_bucket(unique, "alice")
    rgw_connector.ensure_notification(unique)
    found = notifications(stack, unique)["softman"]
    assert found["TopicArn"].endswith(":softman")
    assert sorted(found["Events"]) == ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    assert found["Filter"]["Key"]["FilterRules"] == [{"Name": "prefix", "Value": "cvmfs/"}]


@pytest.mark.stack
def test_what_was_bent_is_put_right(stack: Stack, rgw_connector: S3Connector, unique: str) -> None:
    rgw_connector.ensure_bucket(unique, "alice")
    rgw_connector.ensure_notification(unique)
    right = notifications(stack, unique)
    arn = right["softman"]["TopicArn"]
    for bent in (
        {"Events": ["s3:ObjectCreated:*"], "Filter": right["softman"]["Filter"]},
        {"Events": right["softman"]["Events"]},
    ):
        put_notification(stack, "alice", unique, Id="softman", TopicArn=arn, **bent)
        assert rgw_connector.ensure_notification(unique) is True
        assert notifications(stack, unique) == right


@pytest.mark.stack
def test_what_the_owner_took_away_is_put_back(stack: Stack, rgw_connector: S3Connector, unique: str) -> None:
    rgw_connector.ensure_bucket(unique, "alice")
    rgw_connector.ensure_notification(unique)
    right = notifications(stack, unique)
    SignedHttp(access_of(stack, "alice")).request("DELETE", f"/{unique}", {"notification": ""})
    assert notifications(stack, unique) == {}
    assert rgw_connector.ensure_notification(unique) is True
    assert notifications(stack, unique) == right


@pytest.mark.stack
def test_a_notification_that_leads_elsewhere_is_put_right(
    stack: Stack, rgw_connector: S3Connector, unique: str
) -> None:
    rgw_connector.ensure_bucket(unique, "alice")
    rgw_connector.ensure_notification(unique)
    right = notifications(stack, unique)
    elsewhere = sns_client(access_of(stack, "alice")).create_topic(
        Name=unique, Attributes=Topic(unique, "amqp://127.0.0.1:5").attributes
    )["TopicArn"]
    rgw_connector.remove_notification(unique)
    put_notification(stack, "alice", unique, Id="softman", TopicArn=elsewhere, Events=["s3:ObjectCreated:*"])
    assert rgw_connector.ensure_notification(unique) is True
    assert notifications(stack, unique) == right


@pytest.mark.stack
def test_a_topic_that_a_stranger_bent_is_put_right_and_reaches_every_bucket_again(stack: Stack, unique: str) -> None:
    """What a bucket copied from the topic cannot be seen, so all are written anew."""
    topic = Topic(unique, stack.push_endpoint)
    connector, buckets = S3Connector(access_of(stack, "connector"), topic), (unique, f"{unique}-too")
    written: list[str] = []

    def note(params: dict[str, str], **_: object) -> None:
        written.append(params["Bucket"])

    connector._client.meta.events.register("provide-client-params.s3.PutBucketNotificationConfiguration", note)
    for bucket in buckets:
        connector.ensure_bucket(bucket, "alice")
        assert connector.ensure_notification(bucket) is True
        assert connector.ensure_notification(bucket) is False
    assert written == list(buckets)
    sns_client(access_of(stack, "bob")).create_topic(
        Name=unique, Attributes=Topic(unique, "amqp://127.0.0.1:5").attributes
    )
    assert [connector.ensure_notification(bucket) for bucket in buckets] == [True, False]
    assert written == [*buckets, *buckets]


@pytest.mark.stack
def test_the_users_own_notifications_are_left_alone(stack: Stack, rgw_connector: S3Connector, unique: str) -> None:
    rgw_connector.ensure_bucket(unique, "alice")
    rgw_connector.ensure_notification(unique)
    arn = notifications(stack, unique)["softman"]["TopicArn"]
    rgw_connector.remove_notification(unique)
    put_notification(stack, "alice", unique, Id="mine", TopicArn=arn, Events=["s3:ObjectCreated:Put"])
    mine = notifications(stack, unique)["mine"]
    assert rgw_connector.ensure_notification(unique) is True
    assert notifications(stack, unique).keys() == {"mine", "softman"}
    rgw_connector.remove_notification(unique)
    assert notifications(stack, unique) == {"mine": mine}


@pytest.mark.stack
def test_another_topic_replaces_the_former(stack: Stack, rgw_connector: S3Connector, unique: str) -> None:
    rgw_connector.ensure_bucket(unique, "alice")
    rgw_connector.ensure_notification(unique)
    other = S3Connector(access_of(stack, "connector"), Topic("softman-other", stack.push_endpoint))
    assert other.ensure_notification(unique) is True
    assert notifications(stack, unique)["softman"]["TopicArn"].endswith(":softman-other")
    assert other.ensure_notification(unique) is False


@pytest.mark.stack
def test_another_broker_address_arrives(stack: Stack, unique: str) -> None:
    old, new = (
        S3Connector(access_of(stack, "connector"), Topic("softman-moved", f"amqp://u:p%2B%26x@127.0.0.1:{port}/v%2Fh"))
        for port in (5, 6)
    )
    old.ensure_bucket(unique, "alice")
    assert old.ensure_notification(unique) is True
    assert new.ensure_notification(unique) is True
    assert new.ensure_notification(unique) is False


@pytest.mark.stack
def test_the_owners_policy_and_rules_stand_beside_ours(stack: Stack, rgw_connector: S3Connector, unique: str) -> None:
    own_statement = {
        "Sid": "mine",
        "Effect": "Allow",
        "Principal": {"AWS": ["arn:aws:iam:::user/bob"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{unique}/cvmfs/*"],
    }
    own_rule: Any = {"ID": "mine", "AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}
    uploads = S3Connector(
        access_of(stack, "connector"), Topic("softman", stack.push_endpoint), uploads=UploadGrant(UPLOADER, ORIGIN)
    )
    alice = s3_client(access_of(stack, "alice"))
    alice.create_bucket(Bucket=unique)
    alice.put_bucket_policy(Bucket=unique, Policy=json.dumps({"Version": "2012-10-17", "Statement": own_statement}))
    alice.put_bucket_cors(Bucket=unique, CORSConfiguration={"CORSRules": [own_rule]})

    def found() -> tuple[list[Any], list[Any]]:
        statements = json.loads(alice.get_bucket_policy(Bucket=unique)["Policy"])["Statement"]
        rules = alice.get_bucket_cors(Bucket=unique)["CORSRules"]
        return [each["Sid"] for each in statements], [each["ID"] for each in rules]

    assert uploads.ensure_uploads(unique) is True
    assert found() == (["mine", "softman-upload"], ["softman-upload", "mine"])
    alice.delete_bucket_policy(Bucket=unique)
    alice.delete_bucket_cors(Bucket=unique)
    assert uploads.ensure_uploads(unique) is True
    assert found() == (["softman-upload"], ["softman-upload"])
    assert rgw_connector.ensure_uploads(unique) is True
    for ask in (alice.get_bucket_policy, alice.get_bucket_cors):
        with pytest.raises(ClientError, match="NoSuch"):
            ask(Bucket=unique)


@pytest.mark.stack
@pytest.mark.parametrize("caps", ["users=read", "buckets=read"])
def test_a_connector_that_is_no_system_user_is_told_so_and_leaves_nothing(stack: Stack, unique: str, caps: str) -> None:
    keys = stack.rgw.create_user(f"{unique}-connector", f"--caps={caps}")
    access = S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key)
    connector = S3Connector(access, Topic("softman", stack.push_endpoint))
    with pytest.raises(Forbidden):
        connector.ensure_bucket(unique, "alice")
    with pytest.raises(Forbidden):
        connector.ensure_bucket(unique, "alice")  # nothing was left that would look like somebody else's
    assert s3_client(access).list_buckets()["Buckets"] == []


@pytest.mark.usefixtures("impatient_users")
def test_an_object_store_that_does_not_answer_is_unavailable() -> None:
    connector = S3Connector(S3Access("http://127.0.0.1:9", "key", "secret"), Topic("softman", "amqp://127.0.0.1"))
    with pytest.raises(ServiceUnavailable):
        connector.ensure_bucket("alice", "alice")
    with pytest.raises(ServiceUnavailable):
        connector.ensure_notification("alice")


def test_secrets_are_not_printed() -> None:
    shown = repr(S3Access("http://127.0.0.1:9", "key", "hidden")) + repr(Topic("softman", "amqp://u:hidden@h"))
    assert "hidden" not in shown


@pytest.fixture
def arriving(stack: Stack) -> Iterator[Callable[[], list[Any]]]:
    """What came to the exchange of the events since the fixture was made."""
    with kombu.Connection(stack.amqp_url) as connection:
        exchange = kombu.Exchange(EXCHANGE, type="topic", durable=True)
        queue = kombu.Queue(exchange=exchange, routing_key="#", exclusive=True, auto_delete=True, durable=False)
        bodies: list[Any] = []

        def keep(body: Any, message: kombu.Message) -> None:
            bodies.append(json.loads(body))
            message.ack()

        def drain() -> list[Any]:
            try:
                while True:
                    connection.drain_events(timeout=0.5)
            except socket.timeout:  # noqa: UP041 - kombu's own name for it
                return bodies

        with kombu.Consumer(connection, [queue], on_message=None, callbacks=[keep], accept=["json", "text/plain"]):
            yield drain


@pytest.mark.stack
def test_events_arrive_in_rabbitmq(
    stack: Stack, rgw_connector: S3Connector, unique: str, arriving: Callable[[], list[Any]]
) -> None:
    rgw_connector.ensure_bucket(unique, "alice")
    rgw_connector.ensure_notification(unique)
    client = s3_client(access_of(stack, "alice"))
    client.put_object(Bucket=unique, Key="elsewhere/a", Body=b"x")
    client.put_object(Bucket=unique, Key="cvmfs/new\nline", Body=b"x")
    client.delete_object(Bucket=unique, Key="cvmfs/new\nline")
    wanted = {("ObjectCreated:Put", "cvmfs/new\nline"), ("ObjectRemoved:Delete", "cvmfs/new\nline")}
    found: set[tuple[str, str]] = set()
    deadline = time.monotonic() + WAKE_UP_SECONDS
    while not wanted <= found:
        assert time.monotonic() < deadline, f"only {found} arrived"
        found = {
            (record["eventName"], record["s3"]["object"]["key"])
            for body in arriving()
            for record in body["Records"]
            if record["s3"]["bucket"]["name"] == unique
        }
    assert found == wanted
