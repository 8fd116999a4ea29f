"""Log lines: one per event, as text or JSON, with the bound context, exceptions included."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from softman.log import bind_context, clear_context, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    clear_context()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_json_is_one_object_a_line_with_event_fields_and_context(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    bind_context(repository="alice.example.org")
    get_logger("softman.test").info("revision published", revision=7)
    (line,) = _lines(capsys)
    record = json.loads(line)
    assert record.pop("timestamp").endswith("Z")
    assert record == {
        "event": "revision published",
        "level": "info",
        "logger": "softman.test",
        "repository": "alice.example.org",
        "revision": 7,
    }


def test_lines_of_other_libraries_take_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    logging.getLogger("vendor").warning("it said %s", "this\nand that")
    (line,) = _lines(capsys)
    assert json.loads(line)["event"] == "it said this\nand that"


def test_an_exception_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    try:
        int("no such luck")
    except ValueError:
        get_logger("softman.test").exception("sync failed")
    (line,) = _lines(capsys)
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_context_is_gone_after_clearing(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="json")
    bind_context(task_id="1")
    clear_context()
    get_logger("softman.test").info("quiet")
    (line,) = _lines(capsys)
    assert "task_id" not in json.loads(line)


def test_the_level_holds_back_lesser_lines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(log_format="human", level="WARNING")
    log = get_logger("softman.test")
    log.info("not shown")
    log.warning("shown", key="cvmfs/a")
    (line,) = _lines(capsys)
    assert "shown" in line
    assert "cvmfs/a" in line


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_tracebacks_do_not_show_local_variables(capsys: pytest.CaptureFixture[str], log_format: str) -> None:
    configure_logging(log_format=log_format)
    secret = "in a local " + "variable"
    try:
        int(secret[:0])
    except ValueError:
        get_logger("softman.test").exception("failed")
    assert secret not in "\n".join(_lines(capsys))
