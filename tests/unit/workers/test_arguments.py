"""What a task may be called with."""

from typing import Any

import pytest

from softman.errors import InvalidInput
from softman.names import Kind, RepositoryName
from workers.arguments import MAX_TEXT, Signature


def _body(
    repository: RepositoryName,
    kind: Kind = Kind.PERSONAL,
    group: str | None = None,
    extra: dict[str, Any] | None = None,
) -> None:
    """Take one of each."""


def _plain(repository: RepositoryName, text: str = "", kind: Kind = Kind.PERSONAL, group: str | None = None) -> None:
    """Take names and text."""


PLAIN = Signature.of(_plain)


def test_text_becomes_what_the_body_asks_for() -> None:
    bound = PLAIN.bind(("alice.example.org",), {"kind": "group", "group": "physics"})
    assert bound == {
        "repository": RepositoryName("alice", "example.org"),
        "kind": Kind.GROUP,
        "group": "physics",
    }


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing a required argument: 'repository'"),
        (("a.b", "c", "personal", None, "more"), {}, "too many positional arguments"),
        ((7,), {}, "'repository' is text, not int"),
        (("alice",), {}, "no repository name"),
        (("-a.example.org",), {}, "no repository name|only lower-case|characters"),
        (("alice.example.org", None), {}, "'text' is text, not NoneType"),
        (("alice.example.org", "x" * (MAX_TEXT + 1)), {}, "1025 characters"),
        (("alice.example.org", "", "robot"), {}, "personal or group, not 'robot'"),
        (("alice.example.org", "", "group", ["x"]), {}, "'group' is text, not list"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    args: tuple[Any, ...], kwargs: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        PLAIN.bind(args, kwargs)


def test_what_a_newer_sender_says_in_addition_is_left_out() -> None:
    assert PLAIN.bind(("alice.example.org",), {"later": {"x": 1}}) == PLAIN.bind(("alice.example.org",), {})


def test_an_annotation_that_cannot_be_checked_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="'extra'"):
        Signature.of(_body)


def _counted(verify: bool = False, limit: int = 100) -> None:
    """Take a flag and a number."""


def test_flags_and_numbers_are_exact() -> None:
    signature = Signature.of(_counted)
    assert signature.bind((True,), {"limit": 0}) == {"verify": True, "limit": 0}
    for args in ((1,), ("true",), (False, True), (False, -1), (False, 1.0), (None,)):
        with pytest.raises(InvalidInput, match="the argument"):
            signature.bind(args, {})


def test_lone_surrogates_are_no_text() -> None:
    """JSON can say them; they could be written into no key, no path and no log."""
    with pytest.raises(InvalidInput, match="'text' has lone surrogates"):
        PLAIN.bind(("alice.example.org", "a\ud800"), {})
