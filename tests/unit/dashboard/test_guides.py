"""The steps to mount a repository: what they write is what clients need, whoever copies it."""

import io
import subprocess
import tarfile
import textwrap
from pathlib import Path

import pytest

from softman.dashboard.use.guides import guides, helm_values, pod, volume_claim, written, written_to_dist
from softman.names import RepositoryName
from softman.services.mounting import Mounting

KEYS = tuple(f"-----BEGIN PUBLIC KEY-----\n{each * 64}\n-----END PUBLIC KEY-----\n".encode() for each in "AB")
MOUNTING = Mounting(RepositoryName("alice", "example.org"), "http://cvmfs.example.org/cvmfs/alice.example.org", KEYS)


def run(script: str, folder: Path) -> None:
    subprocess.run(["/bin/sh", "-eu", "-c", script], cwd=folder, check=True)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("guide", guides(MOUNTING), ids=lambda guide: guide.key)
def test_every_command_is_shell(guide: object) -> None:
    for step in guide.steps:  # type: ignore[attr-defined]
        checked = subprocess.run(["/bin/bash", "-n", "-c", step.commands], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, (step.title, checked.stderr)
        assert step.title


def test_what_is_typed_on_linux_is_what_the_bundle_holds(tmp_path: Path) -> None:
    run(written(MOUNTING, str(tmp_path)), tmp_path)
    with tarfile.open(fileobj=io.BytesIO(MOUNTING.bundle())) as archive:
        packed = {each.name: archive.extractfile(each).read() for each in archive if each.name.startswith("etc/")}  # type: ignore[union-attr]
    typed = files_below(tmp_path)
    assert typed.keys() == packed.keys()
    place = MOUNTING.configuration_file
    assert typed[place].decode().replace(str(tmp_path), "") == packed[place].decode()
    assert {path: typed[path] for path in MOUNTING.key_files} == MOUNTING.key_files
    assert "sudo tee /etc/cvmfs/config.d/alice.example.org.conf" in written(MOUNTING)


def test_cvmfsexec_gets_configuration_and_keys(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    run(written_to_dist(MOUNTING), tmp_path)
    found = files_below(tmp_path / "dist")
    assert found == {MOUNTING.configuration_file: MOUNTING.configuration().encode(), **MOUNTING.key_files}


def test_kubernetes_gets_configuration_and_keys() -> None:
    values = helm_values(MOUNTING)
    for file, content in {"alice.example.org.pub": KEYS[0], "alice.example.org.next1.pub": KEYS[1]}.items():
        indented = textwrap.indent(content.decode(), " " * 6)
        assert f"    {file}: |\n{indented}" in values
    assert "'/etc/cvmfs/config.d/alice.example.org.pub:/etc/cvmfs/config.d/alice.example.org.next1.pub'" in values
    assert "  repository: alice.example.org\n" in volume_claim("alice.example.org", "alice")
    assert "claimName: alice\n" in pod("alice.example.org", "alice")
