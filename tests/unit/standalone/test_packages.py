"""Which packages are missing, and the command that installs them."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from softman.errors import NotFound
from softman.standalone import packages


@pytest.fixture
def bare_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty PATH and no RabbitMQ; returns the one directory of its PATH."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setattr("softman.standalone.process._SYSTEM_DIRECTORIES", ())
    monkeypatch.setattr(packages, "SERVER_SCRIPT", tmp_path / "rabbitmq-server")
    return directory


def _program(path: Path) -> None:
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_bare_system_misses_all(bare_system: Path) -> None:
    assert list(bare_system.iterdir()) == []
    assert packages.missing_packages() == [
        "ceph-mon", "ceph-osd", "radosgw", "ceph-common", "redis-server", "nginx-light", "rabbitmq-server",
    ]  # fmt: skip


def test_what_is_installed_is_not_missing(bare_system: Path) -> None:
    for name in ("nginx", "redis-server"):
        _program(bare_system / name)
    assert {"nginx-light", "redis-server"}.isdisjoint(packages.missing_packages())


def test_without_leave_to_install_the_command_is_named(bare_system: Path) -> None:
    _program(bare_system / "redis-server")
    with pytest.raises(NotFound) as caught:
        packages.ensure_packages(install=False)
    command = (
        "apt-get install -y --no-install-recommends ceph-mon ceph-osd radosgw ceph-common nginx-light rabbitmq-server"
    )
    assert str(caught.value).endswith(command)
    assert ("sudo " in str(caught.value)) == (os.geteuid() != 0)


@pytest.mark.usefixtures("bare_system")
def test_a_system_without_apt_is_told_so() -> None:
    with pytest.raises(NotFound, match=r"no apt-get here.*rabbitmq-server"):
        packages.ensure_packages(install=True)


def test_the_set_up_of_a_clone_is_told_what_to_do(bare_system: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bare_system.exists()
    assert packages.main([]) == 1
    assert "install them with" in capsys.readouterr().err
    assert packages.main(["--install"]) == 1
    assert "apt-get" in capsys.readouterr().err


def test_it_is_a_program() -> None:
    """``scripts/setup`` calls it so; a module without a main would do nothing and say it had."""
    program = [sys.executable, "-m", "softman.standalone.packages", "--unknown"]
    assert subprocess.run(program, check=False, timeout=60).returncode == 2
