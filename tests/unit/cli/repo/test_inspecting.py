"""Checking a repository from the command line."""

import io
import sys

import pytest

from tests.unit.cli.repo.conftest import NAME, Admin

pytestmark = pytest.mark.slow


class Terminal(io.StringIO):
    """Standard error that a person looks at."""

    def isatty(self) -> bool:
        return True


def litter(made: Admin, number: int) -> None:
    """Put something into the storage that nothing refers to."""
    (made.repository / "data" / "00" / f"{number:038x}").write_bytes(b"litter")


def test_problems_are_counted_in_words(made: Admin) -> None:
    assert made.read("check", "--unreferenced").lines == [f"{NAME}: no problems found"]
    litter(made, 1)
    assert made.read("check", "--unreferenced").lines[-1] == f"{NAME}: 1 harmless problem found"
    litter(made, 2)
    found = made.read("check", "--unreferenced")
    assert (found.code, found.lines[-1]) == (0, f"{NAME}: 2 harmless problems found")
    (made.repository / ".cvmfsreflog").unlink()
    found = made.read("check")
    assert found.code == 18
    assert found.err.startswith(f"softman: {NAME}: 1 problem found;")


def test_who_looks_on_sees_how_far_a_check_is(made: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    litter(made, 1)
    assert made.read("check", "--content").err == ""
    monkeypatch.setattr(sys, "stderr", seen := Terminal())
    found = made.read("check", "--content", "--unreferenced")
    assert "entries" in seen.getvalue()
    assert found.lines[-1] == f"{NAME}: 1 harmless problem found"
    assert "litter" not in seen.getvalue()
    assert "nothing refers to" in found.lines[0]
    monkeypatch.setattr(sys, "stderr", seen := Terminal())
    made.read("check", "--content", "--json")
    assert seen.getvalue() == ""
