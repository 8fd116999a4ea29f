"""Downloading from repositories whose owner is not our friend."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from softman.cli.download import download, stays_inside
from softman.cvmfs.errors import PathError
from softman.cvmfs.format.entry import Entry, Flag
from softman.errors import Corrupt


@dataclass
class Hostile:
    """A tree as a hostile catalog may describe it: any names, any number of entries of one name."""

    children: dict[bytes, list[Entry]] = field(default_factory=dict)

    def lookup(self, path: bytes, /) -> Entry:
        if path in self.children or path == b"":
            return _directory(path)
        for entries in self.children.values():
            for entry in entries:
                if entry.path == path:
                    return entry
        raise PathError(path.decode())

    def listdir(self, path: bytes, /) -> Iterator[Entry]:
        return iter(self.children.get(path, []))

    def read_file(self, _path: bytes, /) -> Iterator[bytes]:
        return iter([b"owned"])


def _directory(path: bytes) -> Entry:
    return Entry(path, stat.S_IFDIR | 0o755, 4096, 1, flags=Flag.DIRECTORY)


def _file(path: bytes, mode: int = 0o644) -> Entry:
    return Entry(path, stat.S_IFREG | mode, 5, 1, flags=Flag.FILE)


def _link(path: bytes, target: bytes) -> Entry:
    return Entry(path, stat.S_IFLNK | 0o777, len(target), 1, flags=Flag.FILE | Flag.SYMLINK, symlink=target)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nothing may be written to."""
    folder = tmp_path / "outside"
    folder.mkdir()
    return folder


def test_a_directory_of_the_same_name_does_not_follow_a_link(tmp_path: Path) -> None:
    """Link and directory ``x``: the second is refused, and nothing is written through the first."""
    hostile = Hostile({b"": [_link(b"/x", b"y"), _directory(b"/x")], b"/x": [_file(b"/x/file")]})
    with pytest.raises(FileExistsError):
        download(hostile, b"", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_same_name_does_not_follow_a_link(tmp_path: Path) -> None:
    hostile = Hostile({b"": [_link(b"/x", b"y"), _file(b"/x")]})
    with pytest.raises(FileExistsError):
        download(hostile, b"", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", [b"/etc", b"..", b"../outside", b"a/../../outside", b"", b"./../x"])
def test_links_that_lead_out_are_left_out(target: bytes, tmp_path: Path, outside: Path) -> None:
    copied = download(Hostile({b"": [_link(b"/x", target), _file(b"/good")]}), b"", tmp_path / "copy")
    assert [path for path, _ in copied.skipped] == [b"/x"]
    assert os.listdir(tmp_path / "copy") == ["good"]  # noqa: PTH208
    assert list(outside.iterdir()) == []


def test_links_that_stay_are_copied(tmp_path: Path) -> None:
    tree = {b"": [_directory(b"/d"), _file(b"/good")], b"/d": [_link(b"/d/up", b"../good"), _link(b"/d/x", b"y/z")]}
    copied = download(Hostile(tree), b"", tmp_path / "copy")
    assert copied.links == 2
    assert (tmp_path / "copy" / "d" / "up").read_bytes() == b"owned"


@pytest.mark.parametrize("path", [b"/..", b"/.", b"/", b"/a\0b", b"/" + b"a" * 256])
def test_impossible_names_are_refused(path: bytes, tmp_path: Path) -> None:
    with pytest.raises(Corrupt, match="impossible name"):
        download(Hostile({b"": [_file(path)]}), b"", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_set_id_bits_are_not_copied(tmp_path: Path) -> None:
    download(Hostile({b"": [_file(b"/su", mode=0o6755)]}), b"", tmp_path / "copy")
    assert stat.S_IMODE((tmp_path / "copy" / "su").stat().st_mode) == 0o755


def test_special_files_are_left_out(tmp_path: Path) -> None:
    fifo = Entry(b"/fifo", stat.S_IFIFO | 0o644, 0, 1, flags=Flag.FILE | Flag.SPECIAL)
    copied = download(Hostile({b"": [fifo]}), b"", tmp_path / "copy")
    assert [path for path, _ in copied.skipped] == [b"/fifo"]


def test_a_bottomless_tree_is_refused_and_removed(tmp_path: Path) -> None:
    tree = {b"/a" * level: [_directory(b"/a" * (level + 1))] for level in range(2000)}
    with pytest.raises(Corrupt, match="levels deep"):
        download(Hostile(tree), b"", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


PARTS = st.lists(st.sampled_from([b"..", b".", b"a", b"b", b"c", b""]), min_size=1, max_size=6)


@settings(derandomize=True, max_examples=100)
@given(links=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([b"a", b"b", b"c"]), PARTS), max_size=8))
def test_no_set_of_accepted_links_leads_out(links: list[tuple[int, bytes, list[bytes]]]) -> None:
    """Whatever links refer to each other: resolved by the system, each stays in the tree."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        (root / "d" / "d" / "d").mkdir(parents=True)
        made = []
        for depth, name, parts in links:
            place = os.fsencode(root) + b"/d" * depth + b"/" + name
            target = b"/".join(parts)
            if stays_inside(target, depth) and not os.path.lexists(place):
                os.symlink(target, place)  # noqa: PTH211
                made.append(Path(os.fsdecode(place)))
        for link in made:
            with suppress(LoopError):
                assert root in [_resolved(link), *_resolved(link).parents]


class LoopError(Exception):
    """A link leads to itself: the system opens nothing."""


def _resolved(link: Path) -> Path:
    try:
        link.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise LoopError from error
    return Path(os.path.realpath(link))
