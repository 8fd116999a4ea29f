"""``softman export``, ``import``, ``backup``, ``restore-backup``: files that nobody else reads, whole or absent."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from softman.errors import NameTaken, ServiceUnavailable
from softman.model import RegistryRecord, State
from softman.names import Owner, RepositoryName

NAME = RepositoryName("basic", "example.org")


@dataclass
class Porter:
    """Archives are the repository's name, and whether there are keys."""

    broken: bool = False
    taken: bool = False

    def stored(self) -> list[RepositoryName]:
        return [NAME, RepositoryName("other", "example.org")]

    def export(self, name: RepositoryName, target: IO[bytes], *, keys: bool, progress: Callable[[int], object]) -> None:
        target.write(f"{name} {keys}".encode())
        progress(5)
        if self.broken:
            raise ServiceUnavailable("the storage is gone")

    def bring_in(self, source: IO[bytes], *, progress: Callable[[int], object]) -> RegistryRecord:
        progress(5)
        label = source.read().decode().split(".")[0]
        if self.taken:
            raise NameTaken("it is there already")
        return RegistryRecord(RepositoryName(label, "example.org"), Owner(label, "s"), State.ACTIVE)


@pytest.fixture(autouse=True)
def porter(backend: Any, tmp_path: Path) -> Porter:
    backend.audit_files = tmp_path / "audit"
    backend.archives = Porter()
    found: Porter = backend.archives
    return found


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_only_the_owner_reads_an_archive(softman: Any, backend: Any, tmp_path: Path, umask: int) -> None:
    file = tmp_path / "a.tar"
    before = os.umask(umask)
    try:
        assert softman("export", "basic", file, "--keys").lines == [f"{NAME}: 22 B in {file}, with its keys"]
    finally:
        os.umask(before)
    assert file.read_bytes() == b"basic.example.org True"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [event["action"] for event in backend.audit_log().events()] == ["export with keys"]
    assert softman("export", "basic", file).code == 12, "it is there already"
    assert softman("import", file).lines == [f"{NAME} is back; to publish from its bucket: softman resume basic"]


def test_keys_come_along_only_when_asked_for(softman: Any, tmp_path: Path) -> None:
    (told,) = softman("export", "basic", tmp_path / "a.tar", "--json").objects
    assert (told["keys"], (tmp_path / "a.tar").read_bytes()) == (False, b"basic.example.org False")


def test_a_broken_export_leaves_nothing(softman: Any, porter: Porter, tmp_path: Path) -> None:
    porter.broken = True
    assert softman("export", "basic", tmp_path / "out" / "a.tar").code == 4
    (tmp_path / "out").mkdir()
    assert softman("export", "basic", tmp_path / "out" / "a.tar").code == 21
    assert list((tmp_path / "out").iterdir()) == []


def test_a_backup_and_back(softman: Any, porter: Porter, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    for _ in range(2):
        assert len(softman("backup", folder).lines) == 2
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert (folder / f"{NAME}.softman.tar").read_bytes().endswith(b"True")
    assert len(softman("restore-backup", folder).lines) == 2
    porter.taken = True
    again = softman("restore-backup", folder)
    assert (again.code, again.lines) == (0, [])
    assert again.err.count("is left out: it is there already") == 2


def test_a_folder_that_others_look_into_gets_no_keys(softman: Any, tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o755)
    assert softman("backup", folder).code == 12
    assert list(folder.iterdir()) == []
