"""``softman dead`` on letters in memory."""

from typing import Any

import pytest

from softman.cli import exitcodes
from softman.model import DeadLetter, Death

TASK = DeadLetter(
    "aaaa11",
    "publisher",
    "softman.publish_changes",
    "task-1",
    '["alice.example.org"]',
    (Death(1_700_000_000.0, "publisher", "gave up"), Death(1_600_000_000.0, "publisher", "gave up before")),
    b'[["alice.example.org"], {}, {}]',
)
EVENT = DeadLetter("bbbb22", "s3-events", "", "", "", (Death(0.0, "s3-events", "no JSON"),), b"\x1b[1m\xff")


@pytest.fixture(autouse=True)
def letters(backend: Any) -> Any:
    backend.letters.letters.extend([TASK, EVENT])
    return backend.letters


def test_letters_are_listed(softman: Any) -> None:
    lines = softman("dead", "list").lines
    assert lines[0].split("\t") == [
        "aaaa11",
        "2023-11-14 22:13:20",
        "publisher",
        'softman.publish_changes ["alice.example.org"]',
        "2",
        "gave up",
    ]
    assert lines[1].startswith("bbbb22\t-\ts3-events\t")
    assert [each["id"] for each in softman("dead", "list", "--queue", "s3-events", "--json").objects] == ["bbbb22"]


def test_one_is_shown_with_its_history(softman: Any) -> None:
    shown = softman("dead", "show", "aaaa").out.decode()
    assert "gave up before" in shown
    assert '[["alice.example.org"], {}, {}]' in shown
    (fields,) = softman("dead", "show", "bbbb", "--json").objects
    assert (fields["reason"], fields["body"], fields["times"]) == ("no JSON", "\x1b[1m\\xff", 1)
    assert softman("dead", "show", "cccc").code == 14


def test_letters_go_back_and_away_when_they_are_named(softman: Any, letters: Any) -> None:
    assert softman("dead", "requeue").code == exitcodes.USAGE
    assert softman("dead", "discard").code == exitcodes.USAGE
    assert len(letters.letters) == 2
    assert softman("dead", "requeue", "--text", "alice").lines == [
        'aaaa11 back to publisher: softman.publish_changes ["alice.example.org"]'
    ]
    assert letters.returned == [TASK]
    assert [each["id"] for each in softman("dead", "discard", "--all", "--json").objects] == ["bbbb22"]
    assert letters.letters == []


def test_old_ones_are_told_from_new_ones(softman: Any) -> None:
    assert [line.partition("\t")[0] for line in softman("dead", "list", "--older-than", "1").lines] == [
        "aaaa11",
        "bbbb22",
    ]
    assert softman("dead", "list", "--older-than", "200000").lines[0].startswith("bbbb22")
