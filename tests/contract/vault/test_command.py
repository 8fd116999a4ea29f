"""``softman vault setup``: where the token comes from, what is printed, and how it ends."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hvac
import pytest

from softman.adapters.vault_layout import Role
from softman.adapters.vault_policies import policy_name
from softman.cli.backend import ServiceBackend
from softman.cli.main import run
from softman.settings import Settings

Setup = Callable[..., "Outcome"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def settings(server: Any, unique: str) -> Settings:
    vault = {"address": server.address, "mount": f"s-{unique}", "own_mount": f"o-{unique}"}
    return Settings(domain="example.org", vault=vault)


@pytest.fixture
def token_file(server: Any, tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(server.root_token + "\n")
    return file


@pytest.fixture
def setup(settings: Settings, capsys: pytest.CaptureFixture[str]) -> Setup:
    """Run ``softman vault setup`` with these arguments."""

    def call(*arguments: str | Path) -> Outcome:
        code = run(["vault", "setup", *map(str, arguments)], ServiceBackend(settings))
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def test_a_dry_run_shows_how_policies_differ(setup: Setup, token_file: Path, root: hvac.Client) -> None:
    root.sys.create_or_update_acl_policy(policy_name(Role.PUBLISHER), 'path "by-hand" { capabilities = ["read"] }')
    shown = setup("--dry-run", "--token-file", token_file)
    assert shown.code == 0
    assert "would change the policy softman-publisher" in shown.out
    assert '    -path "by-hand" { capabilities = ["read"] }' in shown.out
    assert "    +# AppRole publisher" in shown.out
    assert "SECRET_ID" not in shown.out
    assert setup("--dry-run", "--token-file", token_file) == shown, "nothing was changed"


def test_it_may_be_run_again(setup: Setup, token_file: Path) -> None:
    assert "kv version 2" in setup("--token-file", token_file).out
    assert setup("--token-file", token_file) == Outcome(0, "everything is set up already\n", "")


def test_new_credentials_open_the_vault(server: Any, setup: Setup, token_file: Path) -> None:
    done = setup("--json", "--token-file", token_file, "--new-secret-id", "dashboard")
    made = [each for each in done.objects if "role" in each]
    assert [each["role"] for each in made] == ["dashboard"]
    assert made[0]["accessor"]
    client = hvac.Client(server.address, token="")
    client.auth.approle.login(made[0]["role_id"], made[0]["secret_id"])
    client.adapter.close()


def test_for_people_they_are_settings(setup: Setup, token_file: Path) -> None:
    out = setup("--token-file", token_file, "--new-secret-id", "publisher").out
    assert "\nSOFTMAN_VAULT__PUBLISHER__ROLE_ID=" in out
    assert "\nSOFTMAN_VAULT__PUBLISHER__SECRET_ID=" in out
    assert "STRATUM0__SECRET_ID" not in out


def test_wrapped_ones_hide_the_secret_id(real_server: Any, unique: str, capsys: pytest.CaptureFixture[str]) -> None:
    vault = {"address": real_server.address, "mount": f"s-{unique}", "own_mount": f"o-{unique}"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("VAULT_TOKEN", real_server.root_token)
        arguments = ["vault", "setup", "--json", "--wrap", "60", "--new-secret-id", "publisher"]
        assert run(arguments, ServiceBackend(Settings(domain="example.org", vault=vault))) == 0
    made = [each for each in map(json.loads, capsys.readouterr().out.splitlines()) if "role" in each]
    assert set(made[0]) == {"role", "role_id", "secret_id_wrapped", "accessor", "seconds"}
    client: Any = hvac.Client(real_server.address, token=made[0]["secret_id_wrapped"])
    assert client.sys.unwrap()["data"]["secret_id"]
    client.adapter.close()


def test_the_token_from_standard_input(server: Any, setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(server.root_token + "\n"))
    assert setup("--dry-run", "--token-file", "-").code == 0


def test_no_token(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VAULT_TOKEN", "BAO_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    done = setup("--dry-run")
    assert (done.code, done.out) == (12, "")
    assert "set VAULT_TOKEN, or give --token-file" in done.err


def test_a_token_that_may_not_is_not_shown(setup: Setup, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("token-of-nobody")
    done = setup("--token-file", file)
    assert (done.code, done.out) == (15, "")
    assert "token-of-nobody" not in done.err
