"""Values as people read them."""

import pytest

from softman.dashboard import text

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1500, "1.46 KiB"),
        (15_000, "14.6 KiB"),
        (150_000, "146 KiB"),
        (1024**2 - 1, "1 MiB"),
        (10 * 1024**4, "10 TiB"),
        (5 * 1024**6, "5120 PiB"),
    ],
)
def test_sizes_have_three_digits(count: int, said: str) -> None:
    assert text.size(count) == said


@pytest.mark.parametrize(
    ("duration", "said"),
    [(0.417, "0.42 s"), (12.34, "12.3 s"), (200, "3 min 20 s"), (3 * 3600 + 65, "3 h 1 min")],
)
def test_durations(duration: float, said: str) -> None:
    assert text.seconds(duration) == said


@pytest.mark.parametrize(
    ("past", "said"),
    [
        (2, "just now"),
        (42, "42 seconds ago"),
        (60, "1 minute ago"),
        (7200, "2 hours ago"),
        (3 * 86400, "3 days ago"),
        (-3 * 86400 - 5, "in 3 days"),
        (100 * 86400, "7 October 2026"),
    ],
)
def test_ages(past: float, said: str) -> None:
    assert text.ago(NOW - past, NOW) == said


def test_numbers_and_plurals() -> None:
    assert text.plural(1, "file") == "1 file"
    assert text.plural(12_345, "entry", "entries") == "12\N{NARROW NO-BREAK SPACE}345 entries"


def test_a_name_cannot_be_markup() -> None:
    assert text.visible("<script>alert('x')</script>\"&") == "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&#34;&amp;"


@pytest.mark.parametrize(
    ("name", "code"),
    [("a\nb", "\\n"), ("a\u202eb", "U+202E"), ("a\u200bb", "U+200B"), ("a\x1bb", "U+001B"), ("a\udcffb", "\\xff")],
)
def test_what_hides_in_a_name_shows(name: str, code: str) -> None:
    shown = text.visible(name)
    assert f">{code}</span>" in shown
    assert name[1] not in shown
    assert text.plain(name) == f"a{code}b"
    shown.encode()  # no surrogate is left that could not be sent


def test_letters_of_all_languages_stay() -> None:
    assert text.visible("données-é-日本-ü<") == "données-é-日本-ü&lt;"


def test_raw_bytes_survive_in_addresses() -> None:
    assert text.path_address("/a b/\udcff?#") == "/a%20b/%FF%3F%23"


def test_date_is_utc() -> None:
    assert text.date(NOW) == "15 Jan 2027, 08:00 UTC"
    assert text.iso(NOW) == "2027-01-15T08:00:00+00:00"
