"""``.cvmfsdirtab``: rules for directories that get a catalog of their own.

One rule a line: an absolute path with wildcards, ``*`` for any characters and ``?`` for one, neither of them a slash;
a backslash takes the special meaning away. ``#`` begins a comment. ``!`` excludes; there ``*`` matches slashes too, so
that ``! */.svn`` excludes all directories of that name.

Source: ``cvmfs/path_filters/dirtab.cc`` and ``cvmfs/pathspec/`` of CernVM-FS 2.12.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from softman.cvmfs.errors import FormatError

DIRTAB_PATH: Final = b"/.cvmfsdirtab"
MAX_DIRTAB_SIZE: Final = 1024 * 1024
_SPECIAL = b"*?"


@dataclass(frozen=True, slots=True)
class Dirtab:
    """The rules of one file."""

    rules: tuple[tuple[re.Pattern[bytes], ...], ...] = ()
    """Each rule as patterns for the components of a path."""
    excluded: tuple[re.Pattern[bytes], ...] = field(default=())

    @classmethod
    def parse(cls, data: bytes) -> "Dirtab":
        """Read the file.

        Raises:
            FormatError: a rule is not absolute, cannot match any directory, or has a backslash before an ordinary
                character. The stock tools refuse such a file too.
        """
        rules: list[tuple[re.Pattern[bytes], ...]] = []
        excluded: list[re.Pattern[bytes]] = []
        for number, raw in enumerate(data.split(b"\n"), 1):
            line = raw.strip()
            if not line or line.startswith(b"#"):
                continue
            try:
                if line.startswith(b"!"):
                    excluded += _exclusion(line[1:].strip())
                else:
                    rules.append(_rule(line))
            except ValueError as exc:
                raise FormatError(f"line {number} of .cvmfsdirtab, {line[:80]!r}: {exc}") from None
        return cls(tuple(rules), tuple(excluded))

    def matches(self, path: bytes) -> bool:
        """Whether a directory at ``path`` gets a catalog of its own."""
        names = path[1:].split(b"/")
        return not self._is_excluded(path) and any(
            len(rule) == len(names) and all(map(_fits, rule, names)) for rule in self.rules
        )

    def find(self, subdirectories: Callable[[bytes], Iterable[bytes]]) -> Iterator[bytes]:
        """All directories that match, some of them twice.

        Args:
            subdirectories: the names of the directories in the one at a path.
        """
        for rule in self.rules:
            yield from (path for path in _expand(b"", rule, subdirectories) if not self._is_excluded(path))

    def _is_excluded(self, path: bytes) -> bool:
        return any(pattern.fullmatch(path) for pattern in self.excluded)


def _fits(pattern: re.Pattern[bytes], name: bytes) -> bool:
    return pattern.fullmatch(name) is not None


def _expand(
    top: bytes, rule: tuple[re.Pattern[bytes], ...], subdirectories: Callable[[bytes], Iterable[bytes]]
) -> Iterator[bytes]:
    for name in list(subdirectories(top)):
        if _fits(rule[0], name):
            path = top + b"/" + name
            if len(rule) == 1:
                yield path
            else:
                yield from _expand(path, rule[1:], subdirectories)


def _rule(text: bytes) -> tuple[re.Pattern[bytes], ...]:
    if not text.startswith(b"/"):
        msg = "it does not begin with a slash"
        raise ValueError(msg)
    names = [name for name in text.split(b"/") if name]
    if not names:
        msg = "the root always has a catalog of its own"
        raise ValueError(msg)
    return tuple(re.compile(_regular(name, b"[^/]*"), re.DOTALL) for name in names)


def _exclusion(text: bytes) -> Iterator[re.Pattern[bytes]]:
    names = [_regular(name, b".*") for name in text.split(b"/") if name]
    if names:
        yield re.compile((b"/" if text.startswith(b"/") else b"") + b"/".join(names), re.DOTALL)


def _regular(glob: bytes, star: bytes) -> bytes:
    out, escaped = b"", False
    for number in glob:
        character = bytes([number])
        if escaped and character not in {b"*", b"?", b"\\"}:
            break
        if escaped or character not in {b"*", b"?", b"\\"}:
            out, escaped = out + re.escape(character), False
        elif character == b"\\":
            escaped = True
        else:
            out += star if character == b"*" else b"[^/]"
    if escaped:
        msg = "a backslash stands before something that has no special meaning"
        raise ValueError(msg)
    return out
