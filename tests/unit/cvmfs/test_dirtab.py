"""The rules of ``.cvmfsdirtab``."""

import pytest

from softman.cvmfs.dirtab import Dirtab
from softman.cvmfs.errors import FormatError

TREE = {
    b"": [b"software", b"data", b".hidden"],
    b"/software": [b"x86", b"arm"],
    b"/software/x86": [b"gcc-1", b"gcc-22", b".svn"],
    b"/software/arm": [b"gcc-1"],
}


@pytest.mark.parametrize(
    ("rules", "matching", "other"),
    [
        (b"/software/*", [b"/software/x86"], [b"/software", b"/software/x86/gcc-1", b"/data/x86"]),
        (b"/software/*/gcc-?", [b"/software/x86/gcc-1"], [b"/software/x86/gcc-22", b"/software/x/y/gcc-1"]),
        (b"/*", [b"/software", b"/.hidden"], [b"/a/b"]),
        (b" /a//b/ ", [b"/a/b"], [b"/a"]),
        (b"/a\\*\\\\\\?b", [b"/a*\\?b"], [b"/axx?b"]),
        (b"/a.b+(c)", [b"/a.b+(c)"], [b"/axb+(c)", b"/a.bb(c)"]),
        (b"/*\n! /.hidden\n", [b"/x"], [b"/.hidden"]),
        (b"/*/*\n!*/.svn\n", [b"/a/b"], [b"/a/.svn"]),
        (b"/*/*/*\n!/a/*\n", [b"/b/a/c"], [b"/a/b/c"]),
        (b"#/a\n\n/b\n", [b"/b"], [b"/a"]),
        (b"/caf\xe9*", [b"/caf\xe9", b"/caf\xe9\n"], [b"/cafe"]),
        (b"", [], [b"/a"]),
    ],
)
def test_matching(rules: bytes, matching: list[bytes], other: list[bytes]) -> None:
    dirtab = Dirtab.parse(rules)
    assert [path for path in matching + other if dirtab.matches(path)] == matching


@pytest.mark.parametrize("line", [b"relative/*", b"/", b"//", b"/a\\b", b"/a\\"])
def test_what_is_no_rule(line: bytes) -> None:
    with pytest.raises(FormatError, match="line 2"):
        Dirtab.parse(b"/fine\n" + line)


def test_finding() -> None:
    dirtab = Dirtab.parse(b"/software/*/gcc-*\n/data\n/none/*\n! */arm/*\n")
    asked: list[bytes] = []

    def subdirectories(path: bytes) -> list[bytes]:
        asked.append(path)
        return TREE.get(path, [])

    assert list(dirtab.find(subdirectories)) == [b"/software/x86/gcc-1", b"/software/x86/gcc-22", b"/data"]
    assert b"/data" not in asked
