"""Whatever comes over the broker is either understood or refused with ``MalformedMessage``, nothing else."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from softman.errors import CandidateRefused, InvalidInput, MalformedMessage
from softman.events.intake import Folder
from softman.events.messages import MAX_KEY, parse_notification
from softman.tasks.payloads import commit_answer_from_json, commit_request_from_json

SOURCES = st.sampled_from(["ceph:s3", "aws:s3", "minio:s3", "", None]) | st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there, sometimes anything."""
    return st.one_of(strategy, strategy, strategy, JSON)


RECORDS = st.fixed_dictionaries(
    {
        "eventSource": _maybe(SOURCES),
        "eventName": _maybe(st.sampled_from(["ObjectCreated:Put", "s3:ObjectRemoved:Delete", "x"])),
        "s3": _maybe(
            st.fixed_dictionaries(
                {
                    "bucket": _maybe(st.fixed_dictionaries({"name": _maybe(st.text(max_size=80))})),
                    "object": _maybe(st.fixed_dictionaries({"key": _maybe(st.text(max_size=1100))})),
                }
            )
        ),
    }
)


def _understand(body: bytes | str) -> None:
    try:
        events = parse_notification(body)
    except MalformedMessage:
        return
    for event in events:
        assert 1 <= len(event.key.encode()) <= MAX_KEY
    Folder("example.org").add(events)


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=300))
def test_bytes(body: bytes) -> None:
    _understand(body)


@settings(derandomize=True, deadline=None)
@given(JSON)
def test_json(document: Any) -> None:
    _understand(json.dumps(document))


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(RECORDS, max_size=3))
def test_records(records: list[Any]) -> None:
    _understand(json.dumps({"Records": records}))


@settings(derandomize=True, deadline=None)
@given(JSON)
def test_commit_payloads_are_read_or_refused(payload: Any) -> None:
    for read in (commit_request_from_json, commit_answer_from_json):
        try:
            read(payload)
        except (InvalidInput, CandidateRefused):
            continue
