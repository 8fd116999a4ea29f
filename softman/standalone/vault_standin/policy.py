"""Access policies as Vault takes them: parsing the text, and deciding what a path may be used for.

The text is the part of HCL that policies are written in, or the same as JSON::

    # comment, also // and /* */
    path "secrets/data/+/cvmfs_keys/*" {
      capabilities = ["read", "list"]
    }

The rules of precedence are those of Vault's documentation ("Policies", section on priority matching): an exact path
wins; otherwise the pattern whose first ``+`` or ``*`` comes latest, then the one that does not end in ``*``, then the
one with fewer ``+``, then the longer, then the greater one in text order. Rules for the same pattern add up, and
``deny`` among them beats everything. What this parser does not know (parameters, templates, the old
``policy = "write"``) it refuses, so that no policy means less here than on a real server.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from softman.errors import InvalidInput


class Capability(StrEnum):
    """What a policy can grant on a path."""

    CREATE = "create"
    READ = "read"
    UPDATE = "update"
    DELETE = "delete"
    LIST = "list"
    PATCH = "patch"
    SUDO = "sudo"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Rule:
    """One ``path`` block: the pattern as written (without a leading slash), and what it grants."""

    pattern: str
    capabilities: frozenset[Capability]


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    line: int


_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*|//[^\n]*|/\*.*?\*/)"""
    r"""|(?P<token>"(?:[^"\\\n]|\\.)*"|[A-Za-z_][A-Za-z0-9_-]*|[{}\[\]=,])""",
    re.DOTALL,
)
_END = _Token("end of text", 0)


def parse_policy(text: str) -> tuple[Rule, ...]:
    """Read a policy in HCL or JSON.

    Raises:
        InvalidInput: the text cannot be understood; the message names the line (HCL) or the path.
    """
    if text.lstrip().startswith("{"):
        return tuple(_from_json(text))
    return tuple(_from_hcl(list(_tokens(text))))


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    line = 1
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            msg = f"failed to parse policy: unexpected character {text[position]!r} in line {line}"
            raise InvalidInput(msg)
        if match.lastgroup == "token":
            yield _Token(match.group(), line)
        line += match.group().count("\n")
        position = match.end()


class _Cursor:
    """Walks the tokens; every expectation that fails names the line."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._position = 0

    def peek(self) -> _Token:
        return self._tokens[self._position] if self._position < len(self._tokens) else _END

    def take(self) -> _Token:
        token = self.peek()
        self._position += 1
        return token

    def expect(self, text: str) -> None:
        token = self.take()
        if token.text != text:
            raise _unexpected(token, f'"{text}"')

    def string(self) -> str:
        token = self.take()
        if not token.text.startswith('"'):
            raise _unexpected(token, "a string in double quotes")
        try:
            return str(json.loads(token.text))
        except ValueError:
            raise _unexpected(token, "a string without unknown escapes") from None


def _unexpected(token: _Token, wanted: str) -> InvalidInput:
    where = f" in line {token.line}" if token is not _END else ""
    return InvalidInput(f"failed to parse policy: {token.text} found{where} where {wanted} belongs")


def _from_hcl(tokens: list[_Token]) -> Iterator[Rule]:
    cursor = _Cursor(tokens)
    while cursor.peek() is not _END:
        cursor.expect("path")
        pattern = cursor.string()
        cursor.expect("{")
        capabilities: list[str] = []
        while cursor.peek().text != "}":
            cursor.expect("capabilities")
            cursor.expect("=")
            capabilities += _string_list(cursor)
        cursor.expect("}")
        yield _rule(pattern, capabilities)


def _string_list(cursor: _Cursor) -> list[str]:
    cursor.expect("[")
    found: list[str] = []
    while cursor.peek().text != "]":
        found.append(cursor.string())
        if cursor.peek().text != "]":
            cursor.expect(",")
    cursor.expect("]")
    return found


def _from_json(text: str) -> Iterator[Rule]:
    try:
        tree: Any = json.loads(text)
    except (ValueError, RecursionError) as exc:
        msg = f"failed to parse policy: no valid JSON: {exc}"
        raise InvalidInput(msg) from None
    paths = tree.get("path", {})
    if set(tree) - {"path"} or not isinstance(paths, dict):
        msg = 'failed to parse policy: the one key "path" holding an object is expected'
        raise InvalidInput(msg)
    for pattern, block in paths.items():
        known = isinstance(block, dict) and set(block) <= {"capabilities"}
        capabilities = block.get("capabilities", []) if known else None
        if not isinstance(capabilities, list):
            msg = f'failed to parse policy: path "{pattern}": only a list of "capabilities" is understood'
            raise InvalidInput(msg)
        yield _rule(pattern, capabilities)


def _rule(pattern: str, capabilities: Iterable[object]) -> Rule:
    pattern = pattern.removeprefix("/")
    if "+*" in pattern:
        msg = f"path \"{pattern}\": invalid use of wildcards ('+*' is forbidden)"
        raise InvalidInput(msg)
    if "{{" in pattern:
        msg = f'path "{pattern}": templates are not supported by this stand-in'
        raise InvalidInput(msg)
    granted = set()
    for capability in capabilities:
        if capability not in list(Capability):
            msg = f'path "{pattern}": invalid capability "{capability}"'
            raise InvalidInput(msg)
        granted.add(Capability(str(capability)))
    return Rule(pattern, _with_deny(frozenset(granted)))


def _with_deny(capabilities: frozenset[Capability]) -> frozenset[Capability]:
    """``deny`` leaves nothing else standing."""
    return frozenset({Capability.DENY}) if Capability.DENY in capabilities else capabilities


class Acl:
    """What the rules of all policies of one token grant together."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        merged: dict[str, frozenset[Capability]] = {}
        for rule in rules:
            merged[rule.pattern] = _with_deny(merged.get(rule.pattern, frozenset()) | rule.capabilities)
        self._exact = {pattern: granted for pattern, granted in merged.items() if not _is_pattern(pattern)}
        self._patterns = {pattern: granted for pattern, granted in merged.items() if _is_pattern(pattern)}

    def capabilities(self, path: str) -> frozenset[Capability]:
        """What the path may be used for; empty when nothing is granted or it is denied.

        Args:
            path: the request's path without ``v1/``. A list request ends in a slash, and is also covered by rules
                that are written without it.
        """
        granted = self._find(path)
        return granted - {Capability.DENY}

    def allows(self, path: str, capability: Capability) -> bool:
        """Whether ``capability`` is granted on ``path``."""
        return capability in self.capabilities(path)

    def _find(self, path: str) -> frozenset[Capability]:
        without_slash = path.removesuffix("/")
        for candidate in (path, without_slash):
            if candidate in self._exact:
                return self._exact[candidate]
        for candidate in (without_slash, path):
            matching = [pattern for pattern in self._patterns if _matches(pattern, candidate)]
            if matching:
                return self._patterns[max(matching, key=_priority)]
        return frozenset()


def _has_segment_wildcard(pattern: str) -> bool:
    return "+" in pattern.removesuffix("*").split("/")


def _is_pattern(pattern: str) -> bool:
    return pattern.endswith("*") or _has_segment_wildcard(pattern)


def _matches(pattern: str, path: str) -> bool:
    is_prefix = pattern.endswith("*")
    pattern = pattern.removesuffix("*")
    if not _has_segment_wildcard(pattern):
        return path.startswith(pattern) if is_prefix else path == pattern
    wanted = pattern.split("/")
    given = path.split("/")
    if len(given) < len(wanted) or (not is_prefix and len(given) != len(wanted)):
        return False
    last = len(wanted) - 1
    return all(
        want in ("+", have) or (is_prefix and index == last and have.startswith(want))
        for index, (want, have) in enumerate(zip(wanted, given, strict=False))
    )


def _priority(pattern: str) -> tuple[int, bool, int, int, str]:
    """A key that orders matching patterns, the most specific one last."""
    is_prefix = pattern.endswith("*")
    bare = pattern.removesuffix("*")
    segments = bare.split("/")
    first = len(bare)
    if "+" in segments:
        first = len("/".join([*segments[: segments.index("+")], ""]))
    return first, not is_prefix, -segments.count("+"), len(bare), bare
