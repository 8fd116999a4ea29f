"""The lock files: every dependency is pinned with hashes, and nothing in them belongs to the machine they came from."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LOCKS = [ROOT / "requirements" / "run.txt", ROOT / "requirements" / "dev.txt"]


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pinned(lock: Path) -> dict[str, int]:
    """Names of the pinned packages with the number of their hashes."""
    found: dict[str, int] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8")):
        name = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==[^ ;\\]+", block)
        assert name is not None, block[:80]
        found[_canonical(name[1])] = block.count("--hash=sha256:")
    return found


def _wanted(*, dev: bool) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted: list[str] = project["project"]["dependencies"] + (project["dependency-groups"]["dev"] if dev else [])
    return {_canonical(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]) for requirement in wanted}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_everything_declared_is_pinned_with_hashes(lock: Path) -> None:
    pinned = _pinned(lock)
    assert _wanted(dev=lock.stem == "dev") <= pinned.keys()
    assert all(pinned.values())


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_no_host_and_no_path_of_a_machine(lock: Path) -> None:
    suspicious = re.compile(r"://|--(?:index|extra|find|trusted)|(?:^|[ @=])/[a-z]|file:|\b\d+\.\d+\.\d+\.\d+:\d")
    assert [line for line in lock.read_text(encoding="utf-8").splitlines() if suspicious.search(line)] == []


def test_what_runs_is_what_was_tested() -> None:
    """The packages of ``run.txt`` have the same versions in ``dev.txt``."""
    versions = [set(re.findall(r"^([A-Za-z0-9._-]+==[^ ;\\]+)", lock.read_text(), re.MULTILINE)) for lock in LOCKS]
    assert versions[0] <= versions[1]
