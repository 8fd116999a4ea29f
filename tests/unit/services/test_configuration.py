"""The owner's configuration object: what is accepted, and what is said of what is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from softman.errors import InvalidInput
from softman.model import MAX_CONFIGURATION
from softman.services.configuration import Configuration, Modes, fingerprint, parse_configuration

FULL = b"""
ignore = ["*.tmp", "!keep.tmp"]
[unpack]
enabled = true
below = ["software", "/a/b/"]
keep = ["*.tgz"]
[modes]
file = "0640"
executable = "750"
directory = "0700"
[catalogs]
depth = 2
"""


def test_everything_can_be_said() -> None:
    found = parse_configuration(FULL)
    assert found.ignore is not None
    assert found.ignore.match_file("a/x.tmp")
    assert not found.ignore.match_file("a/keep.tmp")
    assert found.keep is not None
    assert found.keep.match_file("x.tgz")
    assert found.unpack is True
    assert found.unpack_below == ("software/", "a/b/")
    assert found.modes == Modes(0o640, 0o750, 0o700)
    assert found.catalog_depth == 2
    assert found.text == FULL.decode()


def test_nothing_said_is_the_default() -> None:
    assert parse_configuration(b"") == Configuration()
    assert fingerprint("") == ""
    assert fingerprint("a") != fingerprint("b")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"ignore = [", "no TOML"),
        (b"\xff", "no TOML"),
        (b"a = " + b"[" * 20_000, "no TOML"),
        (b"unknown = 1", "unknown"),
        (b"ignore = 'x'", "ignore"),
        (b"ignore = [1]", "ignore.0"),
        (b"ignore = ['']", "ignore.0"),
        (b"ignore = ['" + b"x" * 1025 + b"']", "ignore.0"),
        (b"ignore = [" + b"'x'," * 1001 + b"]", "ignore"),
        (b'ignore = ["a\\nb"]', "control"),
        (b"ignore = ['a\\']", "ignore"),
        (b"[unpack]\nenabled = 'yes'", "unpack.enabled"),
        (b"[unpack]\nwhere = 1", "unpack.where"),
        (b"[modes]\nfile = '4755'", "modes.file"),
        (b"[modes]\nfile = 0o644", "modes.file"),
        (b"[modes]\nfile = '0888'", "modes.file"),
        (b"[catalogs]\ndepth = 5", "catalogs.depth"),
        (b"[catalogs]\ndepth = -1", "catalogs.depth"),
        (b"[catalogs]\ndepth = true", "catalogs.depth"),
        (b"[catalogs]\ndepth = 1.0", "catalogs.depth"),
        (b"#" * (MAX_CONFIGURATION + 1), "bytes"),
    ],
)
def test_what_is_wrong_is_named(content: bytes, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        parse_configuration(content)


@given(
    st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f"ignore = [{text!r}]".encode(errors="replace"))
)
def test_only_our_error_comes_of_nonsense(content: bytes) -> None:
    said = ""
    try:
        parse_configuration(content)
    except InvalidInput as exc:
        said = str(exc)
    assert len(said) < 2000


def test_no_pattern_makes_matching_slow() -> None:
    found = parse_configuration(b"ignore = ['" + b"a*" * 30 + b"b', '" + b"**/a/" * 30 + b"b']")
    assert found.ignore is not None
    assert not found.ignore.match_file("/".join(["a" * 100] * 9))
