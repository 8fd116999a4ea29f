"""Paths in Vault and the registry record as it is written down."""

import json
from dataclasses import replace
from typing import Any

import pytest

from softman.adapters.vault_layout import (
    check_values,
    decode_record,
    encode_record,
    owner_path,
    record_path,
    signing_path,
)
from softman.errors import Corrupt, InvalidInput
from softman.model import Pause, Quotas, RegistryRecord, Retirement, State
from softman.names import Kind, Owner, RepositoryName

ALICE = RepositoryName("alice", "example.org")
RECORD = RegistryRecord(
    ALICE, Owner("alice", "auth0|1"), State.ACTIVE, "gateway", Quotas(3, 4, 5, 6), "ignore = []\n", version=5
)
STORED: dict[str, Any] = {
    "schema": 1,
    "repository": "alice.example.org",
    "owner": {"user": "alice", "subject": "auth0|1", "kind": "personal", "group": None},
    "state": "active",
    "backend": "gateway",
    "quotas": {"max_entries": 3, "max_bytes": 4, "max_object_bytes": 5, "max_archive_bytes": 6},
    "configuration": "ignore = []\n",
}


def test_paths() -> None:
    assert signing_path(ALICE) == "signing/alice.example.org"
    assert record_path(ALICE) == "repositories/alice.example.org"
    assert owner_path(Owner("alice", "auth0|1"), ALICE) == "auth0|1/cvmfs_keys/alice.example.org"
    group = Owner("alice", "auth0|1", Kind.GROUP, "bioteam")
    assert owner_path(group, ALICE) == "groups/bioteam/cvmfs_keys/alice.example.org"


@pytest.mark.parametrize("group", ["", "..", "../x", "a/b", "Bio", "a%2Fb", "*", "+"])
def test_a_group_that_could_leave_its_segment_is_refused(group: str) -> None:
    with pytest.raises(InvalidInput):
        owner_path(Owner("alice", "alice", Kind.GROUP, group), ALICE)


def test_a_record_as_it_is_stored() -> None:
    """A change here is a new schema, or a field that older versions may ignore."""
    assert encode_record(RECORD) == STORED
    assert decode_record(STORED, 5, ALICE) == RECORD


def test_a_group_comes_back() -> None:
    record = RegistryRecord(ALICE, Owner("alice", "1", Kind.GROUP, "bioteam"))
    assert decode_record(encode_record(record), 0, ALICE) == record


def test_what_was_decided_about_a_repository_is_in_its_record() -> None:
    decided = replace(RECORD, pause=Pause(1.5, "rolled back"), retirement=Retirement(2.5, 3.5, keep_content=False))
    document = json.loads(json.dumps(encode_record(decided)))
    assert decode_record(document, RECORD.version, ALICE) == decided
    with pytest.raises(Corrupt):
        decode_record({**document, "pause": {"since": "long"}}, 1, ALICE)


def test_unknown_fields_are_ignored_and_later_ones_have_defaults() -> None:
    newer = {**STORED, "tombstone": True, "owner": {**STORED["owner"], "mail": "x"}}
    assert decode_record(newer, 5, ALICE) == RECORD
    older = {name: STORED[name] for name in ("schema", "repository", "owner", "state")}
    assert decode_record(older, 5, ALICE) == RegistryRecord(ALICE, RECORD.owner, State.ACTIVE, version=5)
    first = decode_record({**older, "quotas": {"max_entries": 3, "max_bytes": 4}}, 5, ALICE)
    assert first.quotas == Quotas(3, 4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema": 2}, "schema 2; this softman understands 1 only"),
        ({"schema": None}, "schema None"),
        ({"repository": "bob.example.org"}, r"that of bob\.example\.org"),
        ({"repository": "nonsense"}, "damaged"),
        ({"repository": 7}, "damaged"),
        ({"owner": {}}, "damaged"),
        ({"owner": "alice"}, "damaged"),
        ({"owner": {"user": "a", "subject": "groups", "kind": "personal"}}, "damaged"),
        ({"state": "asleep"}, "damaged"),
        ({"backend": 3}, "damaged"),
        ({"quotas": {"max_bytes": "many"}}, "damaged"),
    ],
)
def test_what_cannot_be_understood_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(Corrupt, match=reason) as caught:
        decode_record({**STORED, **change}, 5, ALICE)
    assert "alice.example.org" in str(caught.value)


def test_values_that_are_no_text_are_named_without_their_value() -> None:
    assert check_values({"a": "b"}, "the keys") == {"a": "b"}
    with pytest.raises(Corrupt, match="the field 'gatewayKey' is no text") as caught:
        check_values({"gatewayKey": ["very secret"]}, "the keys")
    assert "very secret" not in str(caught.value)
