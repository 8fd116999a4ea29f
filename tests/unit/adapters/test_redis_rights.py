"""Redis' users: what is shipped is what the module says."""

import re
from pathlib import Path

import pytest

from softman.adapters import clockwork, pending_scripts, records, turn_states
from softman.adapters.redis_rights import CACHE_RIGHTS, acl_file
from softman.tasks.rights import RIGHTS

SHIPPED = Path(__file__).parents[3] / "compose" / "redis" / "users.acl"
SCRIPTS = (clockwork, pending_scripts, records, turn_states)


def test_the_shipped_file_is_what_the_module_says() -> None:
    """Make it anew with: softman cache users > compose/redis/users.acl."""
    assert SHIPPED.read_text(encoding="utf-8") == acl_file({})


def test_passwords_are_hashed_and_others_cannot_log_in() -> None:
    lines = dict(line.split(" ", 2)[1:] for line in acl_file({"events": "secret"}).splitlines()[1:])
    assert lines["softman-events"].startswith("on #2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b ")
    assert all(rules.startswith("on resetpass ") for user, rules in lines.items() if user != "softman-events")
    assert acl_file({}).startswith("user default off\n")


def test_a_role_at_redis_is_one_at_the_broker() -> None:
    assert set(CACHE_RIGHTS) | {"admin", "operations", "rgw"} == set(RIGHTS)


def test_publishers_may_call_what_scripts_call() -> None:
    """A command that a new script needs is missed here, not in production."""
    text = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in SCRIPTS)
    called = {name.lower() for name in re.findall(r"redis\.call\('([A-Z]+)'", text)}
    assert called <= set(CACHE_RIGHTS["publisher"].commands)


@pytest.mark.parametrize("role", CACHE_RIGHTS)
@pytest.mark.parametrize(
    "command", ["keys", "scan", "flushall", "flushdb", "config", "acl", "eval", "monitor", "script"]
)
def test_nobody_gets_what_reaches_further(role: str, command: str) -> None:
    assert command not in CACHE_RIGHTS[role].commands
