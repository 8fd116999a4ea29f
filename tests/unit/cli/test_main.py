"""How commands end: help, usage errors, and one line for every other error."""

from collections.abc import Callable
from typing import Any

import click
import pytest

from softman.cli.main import cli
from softman.cvmfs.errors import HashMismatch
from softman.errors import ServiceUnavailable

COMMANDS = cli.list_commands(click.Context(cli))


def _leaves(group: click.Group, *names: str) -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found |= _leaves(command, *names, name)
        else:
            found[*names, name] = command
    return found


LEAVES = _leaves(cli)


@pytest.fixture
def failing(backend: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make ``softman status`` end with an error."""

    def install(error: BaseException) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr(backend, "status", fail)

    return install


def test_these_commands_are_there() -> None:
    assert COMMANDS == [
        "alive",
        "audit",
        "backup",
        "broker",
        "cache",
        "cat",
        "check",
        "completion",
        "config",
        "dashboard",
        "dead",
        "demo",
        "diff",
        "doctor",
        "down",
        "env",
        "export",
        "exporter",
        "gc",
        "get",
        "import",
        "key",
        "lock",
        "log",
        "ls",
        "openapi",
        "pending",
        "quotas",
        "reconcile",
        "refused",
        "repo",
        "request",
        "resign",
        "restore",
        "restore-backup",
        "resume",
        "resync",
        "retire",
        "rollback",
        "rotate",
        "run",
        "site",
        "status",
        "syncs",
        "unlock",
        "up",
        "vault",
        "whitelist",
    ]


@pytest.mark.parametrize("names", LEAVES)
def test_every_command_and_option_explains_itself(names: tuple[str, ...], softman: Callable[..., Any]) -> None:
    command = LEAVES[names]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert command.get_short_help_str()
    assert [option.name for option in options if not option.help] == []
    assert {"--json", "--debug"} <= {text for option in options for text in option.opts}
    shown = softman(*names, "--help")
    assert shown.code == 0
    assert shown.out.startswith(b"Usage: softman " + " ".join(names).encode())


def test_help_lists_the_commands_and_the_exit_codes(softman: Callable[..., Any]) -> None:
    shown = softman("--help")
    assert shown.code == 0
    assert all(name.encode() in shown.out for name in COMMANDS)
    assert b"Exit codes" in shown.out


def test_the_version_is_shown(softman: Callable[..., Any]) -> None:
    assert softman("--version").out.startswith(b"softman 0.")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["ls"], ["ls", "basic", "--nonsense"], ["log", "basic", "-n", "0"]]
)
def test_wrong_usage_ends_with_2(arguments: list[str], softman: Callable[..., Any]) -> None:
    ended = softman(*arguments)
    assert ended.code == 2
    assert ended.out == b""
    assert "Usage" in ended.err or "Error" in ended.err


@pytest.mark.parametrize(
    ("error", "code", "what"),
    [
        (ServiceUnavailable("the vault does not answer"), 21, "softman: the vault does not answer; is it running?"),
        (HashMismatch("object 12 is damaged"), 33, "softman: object 12 is damaged; do not trust"),
        (ZeroDivisionError("surprise"), 1, "softman: ZeroDivisionError: surprise; this is a fault"),
        (PermissionError(13, "Permission denied", "/there"), 4, "softman: /there: Permission denied\n"),
        (ServiceUnavailable("two\nlines\x1b[31m"), 21, r"softman: two\nlines\x1b[31m; is it running?"),
    ],
)
def test_an_error_is_one_line(
    error: Exception, code: int, what: str, softman: Callable[..., Any], failing: Callable[[BaseException], None]
) -> None:
    failing(error)
    ended = softman("status")
    assert (ended.code, ended.out) == (code, b"")
    assert ended.err.startswith(what)
    assert ended.err.count("\n") == 1


def test_debug_shows_where_it_came_from(softman: Callable[..., Any], failing: Callable[[BaseException], None]) -> None:
    failing(ServiceUnavailable("gone"))
    ended = softman("status", "--debug")
    assert ended.code == 21
    assert "Traceback" in ended.err


def test_ctrl_c_ends_with_130(softman: Callable[..., Any], failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    ended = softman("status")
    assert (ended.code, ended.err.strip()) == (130, "softman: interrupted")
