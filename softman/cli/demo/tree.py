"""A real tree for the demo: the standard library of the running interpreter."""

import hashlib
import io
import os
import sysconfig
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ENOUGH = 1000
"""Files that the tree should have."""

_FOREIGN = frozenset({"site-packages", "dist-packages"})
_COMPILED = "__pycache__"


@dataclass(frozen=True, slots=True)
class Tree:
    """Files below a folder: names relative to it with their sizes, and whether compiled modules are among them."""

    root: Path
    files: dict[str, int]
    compiled: bool

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def digest(self, name: str) -> bytes:
        """SHA-256 of one file."""
        with (self.root / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()


def standard_library() -> Tree:
    """The standard library without what was installed beside it.

    Distributions that pack the test suite apart leave fewer than ``ENOUGH`` files; then the compiled modules, which
    are as real, come along.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = dict(_files(root, _FOREIGN | {_COMPILED}))
    if len(files) >= ENOUGH:
        return Tree(root, files, compiled=False)
    return Tree(root, dict(_files(root, _FOREIGN)), compiled=True)


def packed(name: str, content: bytes) -> bytes:
    """A small ``tar.gz`` archive with one file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _files(root: Path, without: frozenset[str]) -> Iterator[tuple[str, int]]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - without)
        for name in sorted(names):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                continue
            yield path.relative_to(root).as_posix(), path.stat().st_size
