"""Durations and points of time as the official gateway, a program in Go, writes them.

Source: ``String`` of ``time.Duration`` and ``time.Time`` in Go's standard library.
"""

import re
from datetime import UTC, datetime
from typing import Final

from softman.cvmfs.errors import FormatError

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "μs": 1e-6, "us": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d{1,12}(?:\.\d{0,9})?)(h|ms|m|s|µs|μs|us|ns)")
_MAX_TEXT = 64
_NANOSECONDS = 10**9


def parse_duration(text: str) -> float:
    """Seconds of a duration such as ``1h59m59.997262318s``.

    Raises:
        FormatError: it is none.
    """
    if text == "0":
        return 0.0
    parts = _PART.findall(text) if len(text) <= _MAX_TEXT else []
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise FormatError(f"not a duration: {text[:80]!r}")
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def format_duration(seconds: float) -> str:
    """The text of a duration; a negative one is written as nothing."""
    nanoseconds = max(0, round(seconds * _NANOSECONDS))
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if 0 < nanoseconds < size * 1000:
            return f"{_trimmed(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * _NANOSECONDS)
    hours, minutes = divmod(minutes, 60)
    text = f"{_trimmed(rest, _NANOSECONDS)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def format_time(when: datetime) -> str:
    """A point of time in UTC, with milliseconds: ``2026-11-22 11:53:29.054 +0000 UTC``."""
    there = when.astimezone(UTC)
    fraction = f".{there.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return f"{there:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _trimmed(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    fraction = f"{rest:0{len(str(size)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)
