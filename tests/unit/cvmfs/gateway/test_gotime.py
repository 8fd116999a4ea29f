"""Durations and times as Go writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from softman.cvmfs.errors import FormatError
from softman.cvmfs.gateway.gotime import format_duration, format_time, parse_duration
from tests.support.exchanges import exchanges


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h59m59.5s", 7199.5),
        ("2h0m0s", 7200.0),
        ("1m0.25s", 60.25),
        ("59s", 59.0),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("1.5ms", 0.0015),
        ("12µs", 12e-6),
        ("7ns", 7e-9),
        ("0s", 0.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)
    assert format_duration(seconds) == text


def test_durations_as_recorded() -> None:
    texts = [each.json["time_remaining"] for each in exchanges() if "time_remaining" in each.answer]
    assert len(texts) > 5
    for text in texts:
        seconds = parse_duration(text)
        assert 7190 < seconds < 7200
        assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "1h-5m", "1h 5m", "1x", "1" * 40 + "s", "1.s.5s", "NaNs", "-1s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(FormatError):
        parse_duration(text)


def test_a_bare_zero_is_one() -> None:
    assert parse_duration("0") == 0.0
    assert format_duration(-3) == "0s"


def test_times() -> None:
    assert format_time(datetime(2026, 11, 22, 11, 53, 29, 54_321, UTC)) == "2026-11-22 11:53:29.054 +0000 UTC"
    assert format_time(datetime(2026, 11, 22, 11, 53, 29, 500_000, UTC)) == "2026-11-22 11:53:29.5 +0000 UTC"
    there = datetime(2026, 11, 22, 13, 53, 29, tzinfo=timezone(timedelta(hours=2)))
    assert format_time(there) == "2026-11-22 11:53:29 +0000 UTC"
