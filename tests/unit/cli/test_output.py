"""What is printed: harmless on a terminal, exact in a pipe, JSON for programs."""

import io
import json
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softman.cli.output import Output, printable, size, to_json, when
from softman.names import Kind, Owner, RepositoryName


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Standard output is a plain terminal; not a fixture, since pytest sets its own between set-up and test."""
    screen = _Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    return screen


@settings(derandomize=True, max_examples=300)
@given(text=st.text())
def test_nothing_printable_steers_a_terminal(text: str) -> None:
    assert printable(text).isprintable()


def test_surrogates_of_odd_file_names_are_shown() -> None:
    assert printable("a\udcffb") == "a\\udcffb"


def test_names_cannot_steer_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _terminal(monkeypatch)
    Output().raw_line(b"evil\x1b[2J\x07")
    Output().table(("name", "why"), [("evil\x1b[2J", "[red]not markup[/red]")])
    Output().line("[bold]plain\x9b")
    shown = terminal.getvalue()
    assert "evil\\x1b[2J\\x07" in shown
    assert "[red]not markup[/red]" in shown
    assert "[bold]plain\\x9b" in shown
    assert "\x07" not in shown
    assert "\x9b" not in shown


def test_a_pipe_gets_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("a", "b"), [("1", "two\twords"), ("3", "x" * 300)])
    assert capsys.readouterr().out == "1\ttwo words\n3\t" + "x" * 300 + "\n"


def test_a_long_line_is_not_folded_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    Output().line("word " * 100)
    assert capsys.readouterr().out == "word " * 100 + "\n"


def test_json_of_our_values(capsys: pytest.CaptureFixture[str]) -> None:
    name = RepositoryName("alice", "example.org")
    Output(as_json=True).record({"name": name, "owner": Owner("alice", "s"), "raw": b"a\xff", "many": (1, {2})})
    assert json.loads(capsys.readouterr().out) == {
        "name": "alice.example.org",
        "owner": {"user": "alice", "subject": "s", "kind": "personal", "group": None},
        "raw": "a\udcff",
        "many": [1, [2]],
    }
    assert to_json(Kind.GROUP) == "group"


@pytest.mark.parametrize(
    ("count", "shown"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (3 * 2**30, "3.0 GiB"), (2**41, "2.0 TiB")]
)
def test_sizes_for_people(count: int, shown: str) -> None:
    assert size(count) == shown


def test_times_for_people() -> None:
    assert when(0) == "-"
    assert when(1795340208) == "2026-11-22 09:36:48"
