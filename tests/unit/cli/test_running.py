"""``softman run``, ``alive`` and ``site``, and the files of compose/ that are made of them."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from softman.adapters.signs import FOLDER, STALE_SECONDS, age_of_sign, give_sign
from softman.cli.backend import ServiceBackend
from softman.cli.main import run
from softman.cli.running import PROCESSES
from softman.cli.site import ROLES
from softman.settings import CONFIG_VARIABLE, Settings, load_settings
from softman.standalone.listeners import Flower
from softman.standalone.processes import process_specs
from softman.tasks.rights import user_name

COMPOSE = Path(__file__).parents[3] / "compose"
FILE: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
OURS = {name: service for name, service in FILE["services"].items() if "SOFTMAN_IMAGE" in service["image"]}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(state_dir=tmp_path)


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    assert run(["site", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_is_started_as_the_embedded_stack_starts_it(
    process: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _program, arguments: started.append(arguments))
    assert run(["run", process, "-c", "3"], ServiceBackend(settings)) == 0
    (arguments,) = started
    assert arguments[:2] == [sys.executable, "-m"]
    assert arguments[-2:] == ["-c", "3"]
    embedded = {spec.name: spec.arguments for spec in process_specs(Flower(1, "x"))}.get(process)
    if embedded is not None and "worker" in embedded:
        assert set(arguments[2:-2]) <= set(embedded)


def test_wrong_settings_are_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SOFTMAN_CVMFS__TTL", "0")
    monkeypatch.setattr(os, "execv", lambda *_: pytest.fail("it was started"))
    assert run(["run", "commit"]) == 12
    assert "cvmfs.ttl" in capsys.readouterr().err


def test_signs_of_life(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    backend = ServiceBackend(settings)
    assert run(["alive", "commit"], backend) == 6
    assert "no sign of life yet" in capsys.readouterr().out
    give_sign(settings.state_dir, "commit")
    assert run(["alive", "commit", "--json"], backend) == 0
    assert json.loads(capsys.readouterr().out) == {"process": "commit", "alive": True, "problem": ""}
    file = settings.state_dir / FOLDER / "commit"
    old = file.stat().st_mtime - 2 * STALE_SECONDS
    os.utime(file, (old, old))
    assert run(["alive", "commit"], backend) == 6
    assert "last sign of life" in capsys.readouterr().out
    assert age_of_sign(settings.state_dir, "beat") is None


def test_a_sign_that_cannot_be_given_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("in the way")
    give_sign(tmp_path, "commit")


def test_a_page_that_does_not_answer(
    capsys: pytest.CaptureFixture[str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        msg = "refused"
        raise urllib.error.URLError(msg)

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)
    assert run(["alive", "exporter"], ServiceBackend(settings)) == 6
    assert ":9797/metrics does not answer: <urlopen error refused>" in capsys.readouterr().out


def test_secrets_are_made_once_and_private(secrets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()} == {0o600}
    before = (secrets / "admin.toml").read_text()
    assert run(["site", str(secrets)]) == 12
    assert "not empty" in capsys.readouterr().err
    assert (secrets / "admin.toml").read_text() == before


def test_no_role_has_the_password_of_another(secrets: Path) -> None:
    passwords: dict[str, str] = {}
    for role in ROLES:
        for password in set(re.findall(r":([\w-]{40,})@", (secrets / f"{role}.toml").read_text())):
            assert passwords.setdefault(password, role) in {role, "admin"}
    assert len(passwords) >= 2 * len(ROLES)
    shown = (secrets / "definitions.json").read_text() + (secrets / "users.acl").read_text()
    assert not [password for password in passwords if password in shown]


def test_the_compose_file_follows_the_specification() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    done = subprocess.run(
        [program, "--builtin-schema", "vendor.compose-spec", COMPOSE / "compose.yaml"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", [name for name in OURS if name != "setup"])
def test_each_container_has_a_process_its_settings_and_a_check(
    name: str, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = OURS[name]
    assert service["command"][:1] == ["run"]
    process = service["command"][1]
    assert process in PROCESSES
    assert service["healthcheck"]["test"] == ["CMD", "softman", "alive", process]
    (secret,) = service["secrets"]
    file = secrets / FILE["secrets"][secret["source"]]["file"].rpartition("/")[2]
    for variable, value in service["environment"].items():
        default = re.fullmatch(r"\$\{\w+:-(.*)\}", value)
        monkeypatch.setenv(variable, default[1] if default else value)
    monkeypatch.setenv(CONFIG_VARIABLE, str(file))
    settings = load_settings()
    assert f"://{user_name(secret['source'])}:" in settings.broker_url.get_secret_value()
    assert (service["user"], service["read_only"], service["cap_drop"]) == ("10001:10001", True, ["ALL"])


def test_every_file_that_the_containers_need_is_there() -> None:
    for config in FILE["configs"].values():
        assert (COMPOSE / config["file"]).is_file()
    example = (COMPOSE / ".env.example").read_text()
    wanted = set(re.findall(r"\$\{(\w+)", (COMPOSE / "compose.yaml").read_text()))
    assert wanted == set(re.findall(r"^(\w+)=", example, re.MULTILINE))
    assert set(PROCESSES) == {service["command"][1] for name, service in OURS.items() if name != "setup"}


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze (Debian: systemd) is not installed")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    text = (COMPOSE / "systemd" / "softman@.service").read_text()
    unit = tmp_path / "softman@.service"
    unit.write_text(text.replace("/opt/softman/bin/softman", "/bin/true").replace("User=softman", "User=daemon"))
    command = ["systemd-analyze", "verify", "--recursive-errors=no", str(tmp_path / "softman@commit.service")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
