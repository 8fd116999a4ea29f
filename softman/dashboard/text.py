"""Values as people read them: sizes, numbers, ages, and names in which nothing hides. Pure; the templates' filters."""

import re
import unicodedata
from datetime import UTC, datetime
from urllib.parse import quote

from markupsafe import Markup, escape

from softman.errors import InvalidInput

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_STEP = 1024
_HIDING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_PLAIN = re.compile(r"[ -~]*")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_RAW_BYTE = range(0xDC80, 0xDD00)
_AGES = ((60, 1, "second"), (3600, 60, "minute"), (86400, 3600, "hour"), (86400 * 60, 86400, "day"))
_MOMENT = 5
_LETTERS = ("", "K", "M", "G", "T", "P")
_TYPED = re.compile(r"(\d{1,15}(?:[.,]\d{1,6})?)\s*([KMGTP]?)(?:i?B)?", re.IGNORECASE)


def size(count: float) -> str:
    """Bytes in binary units, three digits: ``1.46 GiB``."""
    number, unit = float(count), 0
    while number >= _STEP - 0.5 and unit < len(_UNITS) - 1:
        number, unit = number / _STEP, unit + 1
    digits = 0 if unit == 0 else 2 if number < 9.995 else 1 if number < 99.95 else 0  # noqa: PLR2004 - three digits
    return f"{number:.{digits}f}".removesuffix(".00").removesuffix(".0") + f" {_UNITS[unit]}"


def number(count: float) -> str:
    """A whole number with thin spaces between thousands."""
    return f"{count:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def plural(count: int, one: str, many: str = "") -> str:
    """A number and what is counted: ``1 file``, ``12 files``."""
    return f"{number(count)} {one if count == 1 else many or one + 's'}"


def seconds(duration: float) -> str:
    """A duration: ``0.42 s``, ``12.3 s``, ``3 min 20 s``."""
    if duration < 10:  # noqa: PLR2004 - two digits after the point say something
        return f"{duration:.2f} s"
    if duration < 60:  # noqa: PLR2004 - a minute
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"  # noqa: PLR2004


def ago(at: float, now: float | None = None) -> str:
    """How long ago a Unix time was: ``just now``, ``5 minutes ago``, a date when it is months; ``in 5 days``."""
    past = (datetime.now(UTC).timestamp() if now is None else now) - at
    if abs(past) < _MOMENT:
        return "just now"
    for limit, unit, name in _AGES:
        if abs(past) < limit:
            said = plural(int(abs(past) // unit), name)
            return f"{said} ago" if past > 0 else f"in {said}"
    return datetime.fromtimestamp(at, UTC).strftime("%-d %B %Y")


def date(at: float) -> str:
    """A Unix time as a date and time of day, UTC: ``22 Nov 2026, 14:05 UTC``."""
    return datetime.fromtimestamp(at, UTC).strftime("%-d %b %Y, %H:%M UTC")


def iso(at: float) -> str:
    """A Unix time as programs read it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def visible(name: str) -> Markup:
    """A name as HTML in which every character shows: control characters, bidi controls and raw bytes by their code."""
    if _PLAIN.fullmatch(name):
        return escape(name)
    return Markup("").join(_character(each) for each in name)


def plain(name: str) -> str:
    """The same as text, for attributes and titles."""
    return "".join(_code(each) or each for each in name)


def path_address(path: str) -> str:
    """A path inside a repository as part of a URL; raw bytes (surrogates, as ``os.fsdecode`` makes them) survive."""
    return quote(path.encode("utf-8", "surrogateescape"), safe="/")


def _character(character: str) -> Markup:
    if code := _code(character):
        return Markup('<span class="odd" title="{}">{}</span>').format(_title(character), code)
    return escape(character)


def _code(character: str) -> str:
    point = ord(character)
    if point in _RAW_BYTE:
        return f"\\x{point - 0xDC00:02x}"
    if unicodedata.category(character) in _HIDING:
        return _SHORT.get(character, f"U+{point:04X}")
    return ""


def _title(character: str) -> str:
    if ord(character) in _RAW_BYTE:
        return "a byte that is no text"
    return unicodedata.name(character, "a control character").lower()


def query(value: str) -> str:
    """A value as part of a query in a URL; raw bytes survive as in ``path_address``."""
    return quote(value.encode("utf-8", "surrogateescape"), safe="")


def bytes_typed(typed: str) -> int:
    """A size as people type it: ``500 GiB``, ``1.5T``, ``1000``; units are binary.

    Raises:
        InvalidInput: it is none.
    """
    found = _TYPED.fullmatch(typed.strip())
    if found is None or not (
        count := int(float(found[1].replace(",", ".")) * _STEP ** _LETTERS.index(found[2].upper()))
    ):
        msg = f"{typed[:30]!r} is no size; write it like 500 GiB"
        raise InvalidInput(msg)
    return count


def capitalised(sentence: str) -> str:
    """A sentence whose first letter is a capital one; the others stay."""
    return sentence[:1].upper() + sentence[1:]
