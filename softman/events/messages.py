"""S3 event notifications: message bytes to typed events. Pure.

Written for what Ceph RGW pushes over AMQP (reference: notifications captured from RGW 16.2, ``tests/data/rgw-events``)
and tolerant of what AWS and MinIO say in the same form: unknown fields are ignored, a message may have many records.

An event only says: look at this key. Size, ETag, time and sequencer of a record are not read: events arrive late, twice
and out of order, and RGW's sequencer does not sort as text.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote_plus

from softman.errors import MalformedMessage

MAX_BODY = 4 * 1024 * 1024
"""Bytes of one message. A record has some thousand, AWS sends a few records at most."""
MAX_RECORDS = 10_000
MAX_KEY = 1024
"""Bytes of an object key in UTF-8, the limit of S3."""
MAX_BUCKET = 255
MAX_EVENT_NAME = 100

RAW_SOURCES = ("ceph:",)
"""``eventSource`` beginnings of stores that write keys as they are. All others (``aws:``, ``minio:``) URL-encode."""


class Change(StrEnum):
    """What a record says happened to its key."""

    CREATED = "created"
    REMOVED = "removed"
    OTHER = "other"
    """Something that does not change content, such as a tag or a test event."""


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """One record: a key of a bucket that should be looked at."""

    bucket: str
    key: str
    """Decoded: as the object is called in the store."""
    change: Change
    source: str
    """The record's ``eventSource``."""
    owner: str = ""
    """Whose the bucket is, as the store names its users; empty where it does not say or has other names for them."""


def parse_notification(body: bytes | str) -> tuple[ObjectEvent, ...]:
    """Read one notification.

    Args:
        body: the message as it came; kombu hands bodies without content type over as text.

    Returns:
        The events of its records; none for a test event without records.

    Raises:
        MalformedMessage: it cannot be understood as a whole; the message says why. No part of it is used then.
    """
    document = _load(body)
    if not isinstance(document, dict):
        msg = f"a notification is a JSON object, not {_kind(document)}"
        raise MalformedMessage(msg)
    if "Records" not in document:
        if document.get("Event") == "s3:TestEvent":  # AWS sends it when a notification is configured
            return ()
        msg = "the notification has no Records"
        raise MalformedMessage(msg)
    records = document["Records"]
    if not isinstance(records, list):
        msg = f"Records is a list, not {_kind(records)}"
        raise MalformedMessage(msg)
    if len(records) > MAX_RECORDS:
        msg = f"{len(records)} records in one notification, {MAX_RECORDS} are possible"
        raise MalformedMessage(msg)
    return tuple(_event(record, place) for place, record in enumerate(records))


def _load(body: bytes | str) -> Any:
    if len(body) > MAX_BODY:
        msg = f"a notification of {len(body)} bytes, {MAX_BODY} are possible"
        raise MalformedMessage(msg)
    try:
        return json.loads(body if isinstance(body, str) else body.decode("utf-8"))
    except UnicodeDecodeError as exc:
        msg = f"the notification is not UTF-8: byte {exc.start}"
        raise MalformedMessage(msg) from None
    except RecursionError:
        msg = "the notification is nested too deeply"
        raise MalformedMessage(msg) from None
    except ValueError as exc:  # JSONDecodeError, and an integer of more digits than Python reads
        msg = f"the notification is not JSON: {exc}"
        raise MalformedMessage(msg) from None


def _event(record: Any, place: int) -> ObjectEvent:
    where = f"record {place}"
    if not isinstance(record, dict):
        msg = f"{where} is an object, not {_kind(record)}"
        raise MalformedMessage(msg)
    source = _text(record, "eventSource", where, MAX_EVENT_NAME)
    name = _text(record, "eventName", where, MAX_EVENT_NAME)
    s3 = _object(record, "s3", where)
    about = _object(s3, "bucket", where)
    bucket = _text(about, "name", f"the bucket of {where}", MAX_BUCKET)
    key = _text(_object(s3, "object", where), "key", f"the object of {where}", 3 * MAX_KEY)
    owner = _owner(about) if source.startswith(RAW_SOURCES) else ""
    return ObjectEvent(bucket, _decode(key, source, where), _change(name), source, owner)


def _owner(bucket: dict[str, Any]) -> str:
    """The uid of RGW, without tenant. AWS and MinIO have account ids there, which are no labels of ours."""
    identity = bucket.get("ownerIdentity")
    uid = identity.get("principalId") if isinstance(identity, dict) else None
    return uid if isinstance(uid, str) else ""


def _decode(key: str, source: str, where: str) -> str:
    """The key as the store calls it (decision 11)."""
    if not source.startswith(RAW_SOURCES):
        try:
            key = unquote_plus(key, errors="strict")
        except UnicodeDecodeError:
            msg = f"the key of {where} is not URL-encoded UTF-8"
            raise MalformedMessage(msg) from None
    try:
        size = len(key.encode("utf-8"))
    except UnicodeEncodeError:  # a lone surrogate, which JSON can say and no key can have
        msg = f"the key of {where} is not Unicode text"
        raise MalformedMessage(msg) from None
    if not 1 <= size <= MAX_KEY:
        msg = f"the key of {where} has {size} bytes, 1 to {MAX_KEY} are possible"
        raise MalformedMessage(msg)
    return key


def _change(name: str) -> Change:
    family = name.removeprefix("s3:").partition(":")[0]
    if family == "ObjectCreated":
        return Change.CREATED
    # Expiry by lifecycle rules removes objects as well; RGW of 16.2 sends no event for it, others do.
    if family in {"ObjectRemoved", "ObjectLifecycle", "LifecycleExpiration"}:
        return Change.REMOVED
    return Change.OTHER


def _object(fields: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    value = fields.get(name)
    if not isinstance(value, dict):
        msg = f"{where} has no object {name!r}"
        raise MalformedMessage(msg)
    return value


def _text(fields: dict[str, Any], name: str, where: str, longest: int) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        msg = f"{where} has no {name!r}"
        raise MalformedMessage(msg)
    if len(value) > longest:
        msg = f"{name!r} of {where} has {len(value)} characters, {longest} are possible"
        raise MalformedMessage(msg)
    return value


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "text", type(None): "null"}.get(type(value), type(value).__name__)
