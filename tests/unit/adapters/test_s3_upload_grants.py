"""Our statement and our rule stand beside the owner's, whatever these are."""

import json
from typing import Any

import pytest

from softman.adapters.s3_upload_grants import OURS, UploadGrant, merged_policy, merged_rules
from softman.errors import InvalidInput

GRANT = UploadGrant("softman-uploader", "https://softman.example.org")
OWN = {"Sid": "mine", "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "arn:aws:s3:::bbb"}
OWN_RULE = {"ID": "mine", "AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}


def policy(*statements: Any, **more: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements), **more})


def granted(text: str | None) -> dict[str, Any]:
    found: list[dict[str, Any]] = [each for each in json.loads(text or "{}")["Statement"] if each.get("Sid") == OURS]
    assert len(found) == 1
    return found[0]


def test_the_statement_is_as_narrow_as_uploads_allow() -> None:
    statement = granted(merged_policy(None, "bbb", GRANT))
    assert statement["Effect"] == "Allow"
    assert statement["Principal"] == {"AWS": ["arn:aws:iam:::user/softman-uploader"]}
    assert statement["Resource"] == ["arn:aws:s3:::bbb/cvmfs/*"]
    assert sorted(statement["Action"]) == ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"]


@pytest.mark.parametrize("own", [[OWN], OWN, []])
def test_the_owners_statements_stay_and_asking_again_changes_nothing(own: Any) -> None:
    present = json.dumps({"Version": "2008-10-17", "Id": "hers", "Statement": own})
    merged = merged_policy(present, "bbb", GRANT)
    decoded = json.loads(merged or "")
    assert decoded["Version"] == "2008-10-17"
    assert decoded["Id"] == "hers"
    assert [each for each in decoded["Statement"] if each.get("Sid") != OURS] == ([OWN] if own else [])
    assert merged_policy(merged, "bbb", GRANT) is merged


def test_what_was_bent_or_doubled_is_put_right() -> None:
    right = granted(merged_policy(None, "bbb", GRANT))
    for bent in ([{**right, "Action": ["s3:*"]}], [right, right], [{**right, "Principal": "*"}, OWN]):
        merged = merged_policy(policy(*bent), "bbb", GRANT)
        assert granted(merged) == right
        assert (OWN in json.loads(merged or "")["Statement"]) is (OWN in bent)


def test_ours_is_taken_away_and_nothing_else() -> None:
    with_both = merged_policy(policy(OWN), "bbb", GRANT)
    assert json.loads(merged_policy(with_both, "bbb", None) or "")["Statement"] == [OWN]
    assert merged_policy(merged_policy(None, "bbb", GRANT), "bbb", None) is None
    assert merged_policy(None, "bbb", None) is None
    own = policy(OWN)
    assert merged_policy(own, "bbb", None) is own


@pytest.mark.parametrize("present", ["{", "[]"])
def test_a_policy_that_cannot_be_read_is_left_alone(present: str) -> None:
    with pytest.raises(InvalidInput):
        merged_policy(present, "bbb", GRANT)


def test_rules_likewise() -> None:
    merged = merged_rules([OWN_RULE], GRANT)
    ours = [each for each in merged if each["ID"] == OURS]
    assert [each["AllowedOrigins"] for each in ours] == [["https://softman.example.org"]]
    assert [each["AllowedMethods"] for each in ours] == [["PUT"]]
    assert [each for each in merged if each["ID"] != OURS] == [OWN_RULE]
    shuffled = [
        {**each, "AllowedHeaders": each.get("AllowedHeaders", [])[::-1]} if each in ours else each for each in merged
    ]
    assert merged_rules(shuffled, GRANT) == shuffled
    assert merged_rules([{**ours[0], "AllowedOrigins": ["*"]}], GRANT) == ours
    assert merged_rules(merged, None) == [OWN_RULE]
    assert merged_rules([], None) == []
