"""Making and connecting buckets on Ceph RGW: the connector pool's side, with an unmasked system user (decision 3).

What RGW does here differs from AWS (seen on 16.2.15):

- A system user makes a bucket *for* somebody with the query parameter ``rgwx-uid``, in one step. RGW refuses when the
  bucket is another's. For any other user the parameter means nothing and the bucket would be the connector's own.
- PUT of a notification configuration adds to what is there; an entry with the same id is replaced, others stay.
- A notification keeps a copy of its topic's endpoint from the time of its PUT. A new broker address reaches a bucket
  only when its notification is PUT again, and the answer to a GET does not show which endpoint was copied.
- Topics belong to the tenant. SNS answers carry no error code that boto3 understands, only an HTTP status.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from botocore.exceptions import ClientError

from softman.adapters.errormap import translated
from softman.adapters.s3 import bucket_owner
from softman.adapters.s3_client import S3_TABLE, S3Access, code_of, s3_client, sns_client
from softman.adapters.s3_http import SignedHttp
from softman.adapters.s3_upload_grants import UploadGrant, merged_policy, merged_rules
from softman.errors import Forbidden, NotFound
from softman.model import PUBLISHED_PREFIX
from softman.settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.literals import EventType
    from mypy_boto3_s3.type_defs import TopicConfigurationTypeDef
    from mypy_boto3_sns import SNSClient

_Found = TypeVar("_Found")
NOTIFICATION_ID = "softman"
EXCHANGE = "s3-events"
RENEWAL_SECONDS = 3600.0
EVENTS: "tuple[EventType, ...]" = ("s3:ObjectCreated:*", "s3:ObjectRemoved:*")


@dataclass(frozen=True, slots=True)
class Topic:
    """The one topic that all buckets notify. ``push_endpoint`` is RabbitMQ as the object store reaches it."""

    name: str
    push_endpoint: str = field(repr=False)
    exchange: str = EXCHANGE
    ca_location: str = ""
    """With ``amqps``: the file of authorities on the hosts of the object store; empty for those of the system."""

    @property
    def attributes(self) -> dict[str, str]:
        """What RGW is told: persistent, so that no event is lost and no PUT waits while the broker is away."""
        tls = {"verify-ssl": "true", "ca-location": self.ca_location} if self.push_endpoint.startswith("amqps:") else {}
        return {
            "push-endpoint": self.push_endpoint,
            "amqp-exchange": self.exchange,
            "amqp-ack-level": "broker",
            "persistent": "true",
            **{name: value for name, value in tls.items() if value},
        }


class S3Connector:
    """``BucketConnector`` on Ceph RGW.

    Args:
        access: the object store and the connector's credential, which must be a system user's.
        topic: the topic to make and to connect buckets to.
        create_missing_users: make owners that the object store does not know (development).
        uploads: who may upload for the owners, if anybody.
    """

    def __init__(
        self, access: S3Access, topic: Topic, *, create_missing_users: bool = False, uploads: UploadGrant | None = None
    ) -> None:
        self._client: S3Client = s3_client(access)
        self._topics: SNSClient = sns_client(access)
        self._http = SignedHttp(access)
        self._topic = topic
        self._create_missing_users = create_missing_users
        self._uploads = uploads
        self._renewed: dict[str, float] = {}

    @classmethod
    def from_settings(cls, settings: S3Settings, uploader: str = "", origin: str | None = None) -> Self:
        """Connect with the connector's credential, and let ``uploader`` into buckets unless ``origin`` is None."""
        grant = None if origin is None else UploadGrant(uploader, origin)
        credential = settings.connector
        secret = credential.secret_key.get_secret_value()
        access = S3Access(settings.endpoint, credential.access_key, secret, settings.region, ca_file=settings.ca_file)
        endpoint, authorities = settings.push_endpoint.get_secret_value(), settings.push_ca_file
        topic = Topic(settings.topic, endpoint, ca_location=str(authorities or ""))
        return cls(access, topic, create_missing_users=settings.create_missing_users, uploads=grant)

    def ensure_bucket(self, bucket: str, owner: str) -> bool:
        """See ``BucketConnector.ensure_bucket``."""
        present = self._present_owner(bucket)
        if present is None:
            self._ensure_user(owner)
            self._create(bucket, owner)
            return True
        _check_owner(bucket, owner, present)
        return False

    def _present_owner(self, bucket: str) -> str | None:
        try:
            return bucket_owner(self._client, bucket)
        except NotFound:
            return None

    def _ensure_user(self, uid: str) -> None:
        with translated(S3_TABLE, f"look up the user {uid} of the object store"):
            try:
                self._http.request("GET", "/admin/user", {"uid": uid})
            except ClientError as exc:
                if code_of(exc) != "NoSuchUser":
                    raise
            else:
                return
        if not self._create_missing_users:
            msg = f"the object store has no user {uid}, so that no bucket can be made for it"
            raise NotFound(msg)
        with translated(S3_TABLE, f"create the user {uid} of the object store"):
            try:
                self._http.request("PUT", "/admin/user", {"uid": uid, "display-name": uid})
            except ClientError as exc:
                if code_of(exc) not in {"UserAlreadyExists", "UserExists"}:
                    raise

    def _create(self, bucket: str, owner: str) -> None:
        with translated(S3_TABLE, f"create bucket {bucket} for {owner}"):
            self._http.request("PUT", f"/{bucket}", {"rgwx-uid": owner})
        made_for = bucket_owner(self._client, bucket)
        if made_for == owner:
            return
        # RGW refuses a bucket that is somebody else's, so this one is ours, and empty. It must not block the name.
        with translated(S3_TABLE, f"remove bucket {bucket}, made for {made_for} by mistake"):
            self._client.delete_bucket(Bucket=bucket)
        msg = f"bucket {bucket} was made for {made_for}, not for {owner}: the connector must be a system user of RGW"
        raise Forbidden(msg)

    def ensure_notification(self, bucket: str) -> bool:
        """See ``BucketConnector.ensure_notification``.

        Once an hour, and after the topic had to be put right, the notification of each bucket is PUT although it looks
        right: it may have copied what the topic said before. That counts as no change.
        """
        arn, changed = self._ensure_topic()
        if changed:
            self._renewed.clear()
        ours = self._our_notifications(bucket)
        wanted: TopicConfigurationTypeDef = {
            "Id": NOTIFICATION_ID,
            "TopicArn": arn,
            "Events": list(EVENTS),
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": PUBLISHED_PREFIX}]}},
        }
        right = [_meaning(each) for each in ours] == [_meaning(wanted)]
        if right and time.monotonic() < self._renewed.get(bucket, 0.0):
            return False
        if any(each["TopicArn"] != arn for each in ours):  # RGW keeps one entry per id and topic: both would notify
            self.remove_notification(bucket)
        with translated(S3_TABLE, f"write the notification of bucket {bucket}"):
            self._client.put_bucket_notification_configuration(
                Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [wanted]}
            )
        self._renewed[bucket] = time.monotonic() + RENEWAL_SECONDS
        return changed or not right

    def remove_notification(self, bucket: str) -> None:
        """See ``BucketConnector.remove_notification``."""
        self._renewed.pop(bucket, None)
        for _ in self._our_notifications(bucket):  # one DELETE takes one of several topics under the same id
            with translated(S3_TABLE, f"remove the notification of bucket {bucket}"):
                self._http.request("DELETE", f"/{bucket}", {"notification": NOTIFICATION_ID})

    def ensure_uploads(self, bucket: str) -> bool:
        """See ``BucketConnector.ensure_uploads``.

        There is no compare-and-swap: what an owner writes between our reading and writing is lost. So nothing is
        written where nothing is to be changed.
        """
        with translated(S3_TABLE, f"let the dashboard upload to bucket {bucket}"):
            return self._ensure_policy(bucket, self._uploads) | self._ensure_rules(bucket, self._uploads)

    def remove_uploads(self, bucket: str) -> None:
        """See ``BucketConnector.remove_uploads``."""
        with translated(S3_TABLE, f"let the dashboard upload to bucket {bucket} no more"):
            self._ensure_rules(bucket, None)
            self._ensure_policy(bucket, None)

    def _ensure_policy(self, bucket: str, grant: UploadGrant | None) -> bool:
        present = _unless(
            "NoSuchBucketPolicy", lambda: str(self._client.get_bucket_policy(Bucket=bucket)["Policy"]), None
        )
        wanted = merged_policy(present, bucket, grant)
        if wanted == present:
            return False
        if wanted is None:
            self._client.delete_bucket_policy(Bucket=bucket)
        else:
            self._client.put_bucket_policy(Bucket=bucket, Policy=wanted)
        return True

    def _ensure_rules(self, bucket: str, grant: UploadGrant | None) -> bool:
        present: list[Any] = _unless(
            "NoSuchCORSConfiguration", lambda: list(self._client.get_bucket_cors(Bucket=bucket)["CORSRules"]), []
        )
        wanted = merged_rules(present, grant)
        if wanted == present:
            return False
        if wanted:
            self._client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": wanted})
        else:
            self._client.delete_bucket_cors(Bucket=bucket)
        return True

    def _our_notifications(self, bucket: str) -> list[Any]:
        with translated(S3_TABLE, f"read the notifications of bucket {bucket}"):
            found = self._client.get_bucket_notification_configuration(Bucket=bucket)
        return [each for each in found.get("TopicConfigurations", []) if each.get("Id") == NOTIFICATION_ID]

    def topic_standing(self) -> bool | None:
        """Whether the topic pushes to our broker; None when there is no topic yet. Changes nothing.

        Raises:
            Forbidden: the credential is not one of a system user.
            ServiceUnavailable: the object store does not answer.
        """
        with translated(S3_TABLE, f"look at the topic {self._topic.name}"):
            ours = self._topics_of_ours()
            return any(map(self._is_right, ours)) if ours else None

    def _topics_of_ours(self) -> list[str]:
        arns = {row["TopicArn"] for row in self._topics.list_topics()["Topics"]}
        return [arn for arn in sorted(arns) if arn.rpartition(":")[2] == self._topic.name]

    def _ensure_topic(self) -> tuple[str, bool]:
        what = f"ensure the topic {self._topic.name}"
        with translated(S3_TABLE, what):
            for arn in self._topics_of_ours():
                if self._is_right(arn):
                    return arn, False
            made = self._topics.create_topic(Name=self._topic.name, Attributes=self._topic.attributes)
            return made["TopicArn"], True

    def _is_right(self, arn: str) -> bool:
        endpoint = json.loads(self._topics.get_topic_attributes(TopicArn=arn)["Attributes"].get("EndPoint") or "{}")
        stated = set(endpoint.get("EndpointArgs", "").split("&"))
        # The broker's own address is compared apart: "&" may stand in it, and RGW hands it out decoded.
        wanted = {f"{name}={value}" for name, value in self._topic.attributes.items() if name != "push-endpoint"}
        return endpoint.get("EndpointAddress") == self._topic.push_endpoint and wanted <= stated


def _unless(code: str, ask: Callable[[], _Found], otherwise: _Found) -> _Found:
    try:
        return ask()
    except ClientError as exc:
        if code_of(exc) != code:
            raise
        return otherwise


def _check_owner(bucket: str, owner: str, present: str) -> None:
    if present != owner:
        msg = f"bucket {bucket} belongs to {present}, not to {owner}"
        raise Forbidden(msg)


def _meaning(notification: Any) -> tuple[str, frozenset[str], frozenset[tuple[str, str]]]:
    rules = notification.get("Filter", {}).get("Key", {}).get("FilterRules", [])
    filters = frozenset((rule["Name"].lower(), rule["Value"]) for rule in rules)
    return notification["TopicArn"], frozenset(notification["Events"]), filters
