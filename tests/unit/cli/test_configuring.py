"""``softman config``, the page of settings, completion, and our commands inside Celery's command line."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from click.testing import CliRunner
from pydantic import SecretStr

from softman.cli.backend import ServiceBackend
from softman.cli.celery_group import softman as celery_group
from softman.cli.main import COMMANDS, run
from softman.settings import load_settings
from softman.settings_reference import as_text, reference, sections
from softman.tasks.catalogue import RECONCILE, RECONCILE_REPOSITORY, RESIGN
from tests.unit.cli.conftest import MemoryBackend, Softman

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"
SETTINGS = load_settings(
    broker_url="amqps://alice:hush-hush@broker.example.org:5671/softman",
    vault={"publisher": {"role_id": "role", "secret_id": "hush-hush"}},
)


def test_the_page_of_settings_is_what_the_settings_say() -> None:
    assert PAGE.read_text() == reference(), "write it anew: softman config reference > docs/configuration.md"


def test_every_setting_has_a_meaning_or_a_name_that_says_it() -> None:
    unexplained = [each.name for section in sections(load_settings()) for each in section.settings if not each.meaning]
    obvious = {
        "endpoint",
        "region",
        "access_key",
        "secret_key",
        "address",
        "role_id",
        "secret_id",
        "client_id",
        "client_secret",
    }
    assert [name for name in unexplained if name.rpartition(".")[2] not in obvious] == []


def test_no_secret_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["config", "show"], ServiceBackend(SETTINGS)) == 0
    out = capsys.readouterr().out
    assert "hush-hush" not in out
    assert "broker_url = amqps://alice:********@broker.example.org:5671/softman\n" in out
    assert "vault.publisher.secret_id = ********\n" in out


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (SecretStr(""), ""),
        (SecretStr("plain"), "********"),
        (SecretStr("amqp://a:b@one:1//;amqp://a:b@two:1//"), "********"),
        (SecretStr("redis://:b@[::1]:6379/0"), "redis://:********@[::1]:6379/0"),
        (("a", "b"), "a, b"),
        (True, "true"),
        (None, ""),
    ],
)
def test_values_in_words(value: object, text: str) -> None:
    assert as_text(value) == text


def test_only_what_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    run(["config", "show", "--changed", "--json"], ServiceBackend(SETTINGS))
    shown = {line["name"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert set(shown) == {"broker_url", "vault.publisher.role_id", "vault.publisher.secret_id"}
    assert shown["broker_url"]["variable"] == "SOFTMAN_BROKER_URL"


def test_wrong_settings_are_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["config", "check"], ServiceBackend(SETTINGS)) == 0
    monkeypatch.setenv("SOFTMAN_CVMFS__TTL", "0")
    assert run(["config", "check"]) == 12
    assert "cvmfs.ttl" in capsys.readouterr().err


def test_plain_text_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    plain = load_settings(cvmfs={"url": "http://web.example.org"}, tls={"allow_plaintext": ["cvmfs.url"]})
    assert run(["config", "check"], ServiceBackend(plain)) == 0
    assert "cvmfs.url leads to web.example.org in plain text" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_for_each_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    assert "_SOFTMAN_COMPLETE" in capsys.readouterr().out


def test_the_completion_completes() -> None:
    environment = {**os.environ, "_SOFTMAN_COMPLETE": "bash_complete", "COMP_WORDS": "softman res", "COMP_CWORD": "1"}
    program = "from softman.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} >= {"resync", "restore", "resume", "resign"}


def test_reconcile_and_resign_ask_for_their_tasks(softman: Softman, backend: MemoryBackend) -> None:
    backend.register("alice")
    softman("reconcile")
    softman("reconcile", "alice")
    softman("resign")
    assert backend.sent == [
        (RECONCILE.name, ()),
        (RECONCILE_REPOSITORY.name, ("alice.example.org",)),
        (RESIGN.name, ()),
    ]
    assert softman("reconcile", "nobody").code == 14


def test_celery_finds_our_commands() -> None:
    (entry,) = (each for each in entry_points(group="celery.commands") if each.name == "softman")
    assert entry.load() is celery_group
    names = set(celery_group.list_commands(None))
    assert {"resync", "reconcile", "status", "resign", "gc", "check", "dead"} <= names < set(COMMANDS)


def test_errors_inside_celery_end_as_ours_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOFTMAN_CVMFS__TTL", "0")
    done = CliRunner().invoke(celery_group, ["status"])
    assert (done.exit_code, "cvmfs.ttl" in done.output) == (12, True)
