"""Paths in JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softman.dashboard.api.names import to_path, to_text
from softman.errors import InvalidInput

NAMES = st.binary(min_size=1, max_size=20).filter(
    lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."}
)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (b"", ""),
        (b"/bin/tool", "/bin/tool"),
        ("/ü/文".encode(), "/ü/文"),
        (b"/100%", "/100%25"),
        (b"/caf\xe9", "/caf%E9"),
        (b"/a\nb\x7f", "/a%0Ab%7F"),
        ("/\x85".encode(), "/%C2%85"),
    ],
)
def test_what_can_be_read_is_left_as_it_is(path: bytes, text: str) -> None:
    assert to_text(path) == text
    assert to_path(text) == path


@given(st.lists(NAMES, max_size=4))
def test_every_path_comes_back(names: list[bytes]) -> None:
    path = b"".join(b"/" + name for name in names)
    text = to_text(path)
    assert to_path(text) == path
    assert text.encode().decode() == text
    assert all(character.isprintable() or ord(character) > 0xA0 for character in text)


@pytest.mark.parametrize("text", ["a", "/a//b", "/..", "/a/%2E%2E/b", "/%00", "/\ud800"])
def test_other_things_are_no_paths(text: str) -> None:
    with pytest.raises(InvalidInput):
        to_path(text)
