"""``softman broker``: queues are declared, users and permissions printed, passwords never."""

import json
from pathlib import Path
from typing import Any

import pytest

from softman.tasks.rights import definitions


def test_setup_declares(softman: Any, backend: Any) -> None:
    assert softman("broker", "setup").code == 0
    assert backend.sent == [("declare", ())]


def test_definitions_have_hashes_and_no_passwords(softman: Any, tmp_path: Path) -> None:
    plain = softman("broker", "definitions", "--vhost", "softman")
    assert json.loads("\n".join(plain.lines)) == definitions({}, vhost="softman")
    passwords = tmp_path / "passwords.json"
    passwords.write_text('{"publisher": "very secret"}')
    filled = "\n".join(softman("broker", "definitions", "--passwords", str(passwords)).lines)
    assert "very secret" not in filled
    assert [user["name"] for user in json.loads(filled)["users"] if user["password_hash"]] == ["softman-publisher"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read as JSON"),
        ('{"root": "x"}', "names root"),
        ('["x"]', "no JSON object"),
        ('{"beat": ""}', "no"),
    ],
)
def test_a_wrong_file_is_refused_without_its_content(softman: Any, tmp_path: Path, text: str, message: str) -> None:
    passwords = tmp_path / "passwords.json"
    passwords.write_text(text)
    done = softman("broker", "definitions", "--passwords", str(passwords))
    assert done.code == 12
    assert message in done.err
