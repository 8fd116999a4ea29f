"""S3 notifications as Ceph RGW, AWS and MinIO send them."""

import json
from pathlib import Path
from typing import Any

import pytest

from softman.errors import MalformedMessage
from softman.events.messages import MAX_BODY, MAX_KEY, MAX_RECORDS, Change, ObjectEvent, parse_notification

CAPTURED = sorted((Path(__file__).resolve().parents[2] / "data" / "rgw-events").glob("*/[0-9]*.json"))


def _record(**changes: Any) -> dict[str, Any]:
    """A record as RGW sends it; ``bucket`` and ``key`` by name, other changes at the top."""
    s3 = {"bucket": {"name": changes.pop("bucket", "alice")}, "object": {"key": changes.pop("key", "cvmfs/a")}}
    return {"eventSource": "ceph:s3", "eventName": "ObjectCreated:Put", "s3": s3, **changes}


def _parse(*records: Any) -> tuple[ObjectEvent, ...]:
    return parse_notification(json.dumps({"Records": records}))


def test_there_are_captured_notifications() -> None:
    assert len(CAPTURED) > 80
    assert {path.parent.name for path in CAPTURED} == {"beast", "civetweb"}


@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_captured_notification_is_understood(path: Path) -> None:
    captured = json.loads(path.read_text(encoding="utf-8"))
    body = captured["body_raw_latin1"].encode("latin-1")
    (event,) = parse_notification(body)
    (record,) = captured["body"]["Records"]
    assert event.bucket == record["s3"]["bucket"]["name"]
    assert event.key == record["s3"]["object"]["key"]  # raw: never unquoted
    wanted = Change.REMOVED if record["eventName"].startswith("ObjectRemoved") else Change.CREATED
    assert event.change is wanted
    assert parse_notification(body.decode("utf-8")) == (event,)


@pytest.mark.parametrize(
    ("source", "written", "key"),
    [
        ("ceph:s3", "cvmfs/a+b%20c", "cvmfs/a+b%20c"),
        ("aws:s3", "cvmfs/a%2Bb+c%20d", "cvmfs/a+b c d"),
        ("minio:s3", "cvmfs%2Fd%C3%A4ta", "cvmfs/däta"),
        ("something:else", "cvmfs/100%25", "cvmfs/100%"),
    ],
)
def test_keys_are_decoded_by_the_source_of_the_event(source: str, written: str, key: str) -> None:
    (event,) = _parse(_record(eventSource=source, key=written))
    assert event.key == key


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("ObjectCreated:Put", Change.CREATED),
        ("s3:ObjectCreated:CompleteMultipartUpload", Change.CREATED),
        ("ObjectRemoved:DeleteMarkerCreated", Change.REMOVED),
        ("s3:ObjectRemoved:Delete", Change.REMOVED),
        ("LifecycleExpiration:Delete", Change.REMOVED),
        ("s3:ObjectLifecycle:Expiration:Current", Change.REMOVED),
        ("s3:ObjectTagging:Put", Change.OTHER),
        ("s3:ObjectAccessed:Get", Change.OTHER),
    ],
)
def test_event_names_with_and_without_prefix(name: str, change: Change) -> None:
    (event,) = _parse(_record(eventName=name))
    assert event.change is change


def test_all_records_count_and_unknown_fields_do_not() -> None:
    events = parse_notification(
        json.dumps({"Records": [_record(key=f"cvmfs/{n}", later={"x": [n]}) for n in range(3)], "more": None})
    )
    assert [event.key for event in events] == ["cvmfs/0", "cvmfs/1", "cvmfs/2"]


@pytest.mark.parametrize("key", ["cvmfs/../x", "cvmfs//x", "cvmfs/\n", "cvmfs/\x01", " ", "cvmfs/"])
def test_keys_that_cannot_be_paths_are_passed_on(key: str) -> None:
    """The publisher's mapping refuses them and tells their owner."""
    assert _parse(_record(key=key))[0].key == key


def test_the_test_event_of_aws_has_no_records() -> None:
    assert parse_notification(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"})) == ()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"not json", "not JSON"),
        (b"\xff\xfe", "not UTF-8: byte 0"),
        (b"[]", "object, not a list"),
        (b"null", "object, not null"),
        (b"{}", "no Records"),
        (b'{"Records": {}}', "list, not an object"),
        (b'{"Records": [5]}', "record 0 is an object, not int"),
        (b"[" * 100_000, "nested too deeply"),
        (b"1" * 10_000, "not JSON"),
        (b" " * (MAX_BODY + 1), f"{MAX_BODY} are possible"),
    ],
)
def test_what_is_no_notification_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        parse_notification(body)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (_record(eventSource=None), "record 1 has no 'eventSource'"),
        (_record(eventName=7), "record 1 has no 'eventName'"),
        (_record(eventName="x" * 101), "'eventName' of record 1 has 101 characters"),
        (_record(s3=[]), "record 1 has no object 's3'"),
        (_record(s3={"bucket": {"name": "b"}}), "record 1 has no object 'object'"),
        (_record(bucket=""), "bucket of record 1 has no 'name'"),
        (_record(bucket="b" * 256), "has 256 characters"),
        (_record(key=""), "object of record 1 has no 'key'"),
        (_record(key="k" * (MAX_KEY + 1)), "1025 bytes"),
        (_record(key="ä" * 600), "1200 bytes"),
        (_record(key="\ud800"), "not Unicode text"),
        (_record(key="%ff", eventSource="aws:s3"), "not URL-encoded UTF-8"),
    ],
)
def test_a_broken_record_spoils_its_notification_and_is_named(record: dict[str, Any], reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        _parse(_record(), record)


def test_too_many_records_are_refused() -> None:
    with pytest.raises(MalformedMessage, match="10001 records"):
        parse_notification(json.dumps({"Records": [0] * (MAX_RECORDS + 1)}))


def test_a_url_encoded_key_may_be_longer_than_the_key() -> None:
    (event,) = _parse(_record(eventSource="aws:s3", key="%61" * MAX_KEY))
    assert event.key == "a" * MAX_KEY


@pytest.mark.parametrize(
    ("source", "identity", "owner"),
    [
        ("ceph:s3", {"principalId": "alice"}, "alice"),
        ("ceph:s3", {"principalId": 7}, ""),
        ("ceph:s3", "alice", ""),
        ("ceph:s3", None, ""),
        ("aws:s3", {"principalId": "A3NL1KOZZKExample"}, ""),
    ],
)
def test_the_owner_is_read_where_it_is_a_name_of_ours(source: str, identity: Any, owner: str) -> None:
    bucket = {"name": "alice", "ownerIdentity": identity}
    record = {
        "eventSource": source,
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": bucket, "object": {"key": "cvmfs/a"}},
    }
    (event,) = parse_notification(json.dumps({"Records": [record]}))
    assert event.owner == owner
