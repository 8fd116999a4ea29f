"""What a message in the dead letters says of itself, whatever is in it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from softman.model import Death
from softman.tasks.catalogue import BULK, COMMIT, EVENTS, PUBLISHER, STRATUM0
from softman.tasks.deadletters import MAX_HISTORY, headers_back, properties_back, read_letter
from softman.tasks.queues import BURIED_HEADER, HISTORY_HEADER, REASON_HEADER

TASK = {"task": "softman.resign", "id": "1-2-3", "retries": 12, "expires": "2026-01-01", "lang": "py"}
BODY = json.dumps([["ü"], {"a": 1}, {"chain": None}]).encode()


def _death(queue: str, reason: str, day: int = 1) -> dict[str, Any]:
    # AMQP has no time zones
    time = datetime(2026, 1, day, tzinfo=UTC).replace(tzinfo=None)
    return {"queue": queue, "reason": reason, "time": time, "count": 1}


@pytest.mark.parametrize(
    ("headers", "routing_key", "queue"),
    [
        ({}, EVENTS, EVENTS),
        ({}, "softman", ""),
        (TASK, BULK, BULK),
        (TASK, "elsewhere", ""),
        (TASK, "softman.resync", BULK),
        (TASK, "0." * 27 + "1." + PUBLISHER, PUBLISHER),
        ({**TASK, "x-death": [_death(COMMIT, "rejected")]}, BULK, BULK),  # headers may be forged
        ({"x-death": [_death(COMMIT, "rejected")]}, "elsewhere", ""),
        ({"x-death": [_death("softman.wait.publisher.0", "expired"), _death(EVENTS, "rejected")]}, "softman", EVENTS),
        ({"x-death": "nonsense"}, EVENTS, EVENTS),
        ({"task": 5}, "elsewhere", ""),
    ],
)
def test_where_it_came_from(headers: dict[str, Any], routing_key: str, queue: str) -> None:
    assert read_letter(BODY, headers, routing_key).queue == queue


def test_a_task_says_what_it_was() -> None:
    letter = read_letter(BODY, {**TASK, REASON_HEADER: "gave up", BURIED_HEADER: 7}, STRATUM0)
    assert (letter.task, letter.task_id, letter.arguments) == ("softman.resign", "1-2-3", '["ü"] {"a": 1}')
    assert letter.deaths == (Death(7.0, STRATUM0, "gave up"),)


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"7", b"[1, 2]", b"[" * 100_000])
def test_any_body_can_be_read(body: bytes) -> None:
    letter = read_letter(body, {**TASK, HISTORY_HEADER: "[1]", BURIED_HEADER: "x"}, "?")
    assert (letter.arguments, letter.reason) == ("", "not known")


def test_the_brokers_reasons_come_in_words_and_waiting_is_no_death() -> None:
    deaths = [
        _death("softman.wait.publisher.3", "expired", 3),
        _death(PUBLISHER, "delivery_limit", 2),
        _death(PUBLISHER, "odd"),
    ]
    letter = read_letter(BODY, {**TASK, "x-death": deaths}, PUBLISHER)
    assert [death.reason.partition(":")[0] for death in letter.deaths] == ["it came back too often", "odd"]
    assert letter.at == datetime(2026, 1, 2, tzinfo=UTC).timestamp()


def test_what_goes_back_can_be_worked_on_and_remembers() -> None:
    headers = {**TASK, REASON_HEADER: "gave up", BURIED_HEADER: 7, "x-death": [_death(STRATUM0, "rejected")], "own": 1}
    letter = read_letter(BODY, headers, STRATUM0)
    back = headers_back(letter, headers)
    assert {name for name in back if name.startswith("x-")} == {HISTORY_HEADER}
    assert (back["retries"], back["expires"], back["own"], back["id"]) == (0, None, 1, "1-2-3")
    again = read_letter(BODY, {**back, REASON_HEADER: "again", BURIED_HEADER: 9}, STRATUM0)
    assert again.id == letter.id
    assert again.deaths == (Death(9.0, STRATUM0, "again"), *letter.deaths)


def test_history_is_bounded() -> None:
    headers: dict[str, Any] = dict(TASK)
    for number in range(2 * MAX_HISTORY):
        letter = read_letter(BODY, {**headers, REASON_HEADER: str(number)}, STRATUM0)
        headers = headers_back(letter, headers)
    assert len(letter.deaths) == MAX_HISTORY + 1


def test_a_notification_goes_back_without_a_tasks_headers() -> None:
    letter = read_letter(b"{", {REASON_HEADER: "no JSON"}, EVENTS)
    assert set(headers_back(letter, {REASON_HEADER: "no JSON"})) == {HISTORY_HEADER}
    assert properties_back({"content_type": None, "priority": 0, "delivery_mode": 2}) == {
        "content_type": "application/octet-stream",
        "content_encoding": "binary",
        "priority": 0,
    }
