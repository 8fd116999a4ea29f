"""Paths of a repository in JSON: bytes as text that can be read, lost nothing of, and be sent back as it is.

Valid UTF-8 stands for itself. A per cent sign, control bytes and bytes that are no UTF-8 are written as ``%`` and two
hexadecimal digits, as in URLs: ``/data/100%25``, ``/data/caf%E9``. Whoever builds a URL of it encodes it once more, as
any text.
"""

from urllib.parse import unquote_to_bytes

from softman.errors import InvalidInput

_PLAIN = frozenset(range(0x20, 0x7F)) - {0x25}


def to_text(path: bytes) -> str:
    """A path or name as JSON has it."""
    if _PLAIN.issuperset(path):
        return path.decode()
    text = path.replace(b"%", b"%25").decode(errors="surrogateescape")
    return "".join(map(_shown, text))


def to_path(text: str) -> bytes:
    """The reverse of ``to_text``; also of what differs from it in how much is encoded.

    Raises:
        InvalidInput: it is no path: not absolute, empty parts, parts that are ``.`` or ``..``, or a zero byte.
    """
    try:
        path = unquote_to_bytes(text.encode()).rstrip(b"/")
    except UnicodeEncodeError as exc:
        msg = "the path has lone surrogates, which no text has"
        raise InvalidInput(msg) from exc
    parts = path.split(b"/")
    if path and (parts[0] or any(part in {b"", b".", b".."} or b"\0" in part for part in parts[1:])):
        msg = f"{text[:80]!r} is no path of a repository: it begins with a slash, and every part is a name"
        raise InvalidInput(msg)
    return path


def _shown(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # noqa: PLR2004 - a byte that is no UTF-8, as Python escapes it
        return f"%{code - 0xDC00:02X}"
    if code < 0x20 or 0x7F <= code <= 0x9F:  # noqa: PLR2004 - control characters
        return "".join(f"%{byte:02X}" for byte in character.encode())
    return character
