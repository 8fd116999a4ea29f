"""Commit requests and answers as JSON."""

import json
from dataclasses import replace
from typing import Any

import pytest

from softman.errors import CandidateRefused, Forbidden, InvalidInput
from softman.model import MAX_CONFIGURATION, Base, CommitAnswer, CommitRequest
from softman.tasks.payloads import (
    MAX_TEXT,
    commit_answer_from_json,
    commit_answer_to_json,
    commit_request_from_json,
    commit_request_to_json,
    refusal_to_json,
)

REQUEST = CommitRequest(
    repository="alice.example.org",
    transaction="t1",
    base=Base(7, "a" * 40),
    new_root_hash="b" * 40,
    key_id="key",
    signature="c2lnbmF0dXJl",
)


def test_a_request_survives_the_journey() -> None:
    for request in (REQUEST, replace(REQUEST, configuration=""), replace(REQUEST, configuration="ä" * 5000)):
        assert commit_request_from_json(json.loads(json.dumps(commit_request_to_json(request)))) == request
    for request in (replace(REQUEST, repairs=("/a", "/\udcff/ä")), replace(REQUEST, repairs=("/a",) * 1000)):
        assert commit_request_from_json(json.loads(json.dumps(commit_request_to_json(request)))) == request


def test_unknown_fields_are_tolerated_and_unknown_versions_refused() -> None:
    payload = commit_request_to_json(REQUEST)
    assert commit_request_from_json({**payload, "later": [1]}) == REQUEST
    with pytest.raises(InvalidInput, match="schema 2, known is 1"):
        commit_request_from_json({**payload, "schema": 2})


@pytest.mark.parametrize("repairs", ["/a", [1], ["/a" * 4096], ["/a"] * 1001, ["/\ud800"], {"/a": "/b"}, None])
def test_repairs_are_a_bounded_list_of_paths(repairs: Any) -> None:
    with pytest.raises(InvalidInput, match="repairs"):
        commit_request_from_json({**commit_request_to_json(REQUEST), "repairs": repairs})


@pytest.mark.parametrize(
    "field", ["schema", "repository", "transaction", "base", "new_root_hash", "key_id", "signature"]
)
@pytest.mark.parametrize("value", [None, True, 1.5, [], "absent"])
def test_each_field_is_needed_and_has_its_type(field: str, value: Any) -> None:
    payload = commit_request_to_json(REQUEST)
    if value == "absent":
        del payload[field]
    else:
        payload[field] = value
    with pytest.raises(InvalidInput, match=field):
        commit_request_from_json(payload)


@pytest.mark.parametrize("revision", [-1, 2**63, True, "7", None, 7.0])
def test_a_revision_is_a_small_natural_number(revision: Any) -> None:
    payload = commit_request_to_json(REQUEST)
    payload["base"]["revision"] = revision
    with pytest.raises(InvalidInput, match="revision"):
        commit_request_from_json(payload)


@pytest.mark.parametrize("payload", [None, [], "text", 1])
def test_what_is_no_object_is_refused(payload: Any) -> None:
    with pytest.raises(InvalidInput, match="is an object"):
        commit_request_from_json(payload)
    with pytest.raises(InvalidInput, match="is an object"):
        commit_answer_from_json(payload)


def test_long_texts_are_refused() -> None:
    payload = commit_request_to_json(replace(REQUEST, signature="x" * (MAX_TEXT + 1)))
    with pytest.raises(InvalidInput, match="4097 characters"):
        commit_request_from_json(payload)
    payload = commit_request_to_json(replace(REQUEST, configuration="x" * (MAX_CONFIGURATION + 1)))
    with pytest.raises(InvalidInput, match="'configuration' has 32769 characters"):
        commit_request_from_json(payload)


@pytest.mark.parametrize(
    "answer",
    [CommitAnswer(committed=True, current=Base(8, "b" * 40)), CommitAnswer(False, Base(9, "c" * 40), "somebody else")],
)
def test_an_answer_survives_the_journey(answer: CommitAnswer) -> None:
    payload = commit_answer_to_json(answer)
    assert set(payload) == {"committed", "revision", "root_hash", "reason"}
    assert commit_answer_from_json(json.loads(json.dumps(payload))) == answer


def test_a_refusal_is_raised_at_the_other_side() -> None:
    payload = refusal_to_json(Forbidden("not your key"))
    assert payload == {"refused": "forbidden", "reason": "not your key"}
    with pytest.raises(CandidateRefused, match=r"not your key \(forbidden\)"):
        commit_answer_from_json(payload)
