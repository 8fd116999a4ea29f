"""Whatever users name, it forges no log line and steers no terminal, neither in the log nor in what commands print."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
import structlog
from hypothesis import example, given, settings
from hypothesis import strategies as st

from softman.cli.output import Output, warn
from softman.log import bind_context, clear_context, configure_logging, get_logger

EVIL = (
    "a\n2026-11-22T12:00:00.000000Z [info     ] revision published",
    "\x1b[2J\x1b[31m",
    "\x1b]0;title\x07",
    "\r\rgone",
    "\u202egpj.exe",
    "\x9b31m",
    "\u2028line",
    "\udcff",
    "\x85next",
)
TEXTS = st.text(max_size=60) | st.sampled_from(EVIL)


@pytest.fixture(autouse=True)
def _restore_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TERM", "dumb")  # headings of tables are not bold
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    clear_context()


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


@contextmanager
def _logged(log_format: str) -> Iterator[io.StringIO]:
    written = io.StringIO()
    with redirect_stderr(written):
        configure_logging(log_format=log_format)
        structlog.configure(cache_logger_on_first_use=False)
        yield written


def _ours(text: str) -> None:
    raw = text.encode("utf-8", "replace")
    get_logger("softman.test").warning("key is refused", key=text, keys=[text], fields={text: text}, raw=raw)


def _bound(text: str) -> None:
    bind_context(repository=text)
    get_logger("softman.test").info("bound")
    clear_context()


def _vendors(text: str) -> None:
    logging.getLogger("vendor").warning("it said %s", text)


def _exception(text: str) -> None:
    error = ValueError(text)
    get_logger("softman.test").error("failed", key=text, exc_info=error)


WAYS = [_ours, _bound, _vendors, _exception]


def _with_evil(test: Callable[..., None]) -> Callable[..., None]:
    for text in EVIL:
        test = example(text=text)(test)
    return test


@pytest.mark.parametrize("way", WAYS)
@settings(derandomize=True, deadline=None, max_examples=60)
@_with_evil
@given(text=TEXTS)
def test_one_event_is_one_line_for_people(way: Callable[[str], None], text: str) -> None:
    with _logged("human") as written:
        way(text)
    first, *rest = written.getvalue().removesuffix("\n").split("\n")
    assert first.isprintable()
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


@pytest.mark.parametrize("way", WAYS)
@settings(derandomize=True, deadline=None, max_examples=60)
@_with_evil
@given(text=TEXTS)
def test_one_event_is_one_object_for_programs(way: Callable[[str], None], text: str) -> None:
    with _logged("json") as written:
        way(text)
    (line,) = written.getvalue().splitlines()
    assert line.isprintable()
    assert json.loads(line)["level"] in {"info", "warning", "error"}


@settings(derandomize=True, deadline=None, max_examples=60)
@_with_evil
@given(text=TEXTS)
def test_commands_print_nothing_that_steers_a_terminal(text: str) -> None:
    terminal = Terminal()
    with redirect_stdout(terminal), redirect_stderr(terminal):
        output = Output()
        output.line(text)
        output.facts([("name", text)])
        output.raw_line(text.encode("utf-8", "surrogatepass"))
        output.table(("key", "why"), [(text, text)])
        Output(as_json=True).record({text: text})
        warn(text)
    assert sys.stdout is not terminal
    assert all(line.isprintable() for line in terminal.getvalue().split("\n"))
