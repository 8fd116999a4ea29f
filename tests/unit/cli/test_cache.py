"""``softman cache``: users are printed, passwords never."""

import json
from pathlib import Path
from typing import Any

from softman.adapters.redis_rights import acl_file


def test_users_are_printed_with_hashes(softman: Any, tmp_path: Path) -> None:
    assert "\n".join(softman("cache", "users").lines) == acl_file({}).strip()
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({"publisher": "very secret"}))
    (found,) = softman("cache", "users", "--passwords", str(passwords), "--json").objects
    assert found["users"] == acl_file({"publisher": "very secret"}).splitlines()
    assert "very secret" not in json.dumps(found)
