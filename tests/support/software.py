"""Trees as people publish them, and what to compare of them once they are mounted."""

import hashlib
import os
import random
import stat
import subprocess
from pathlib import Path

import pytest

MARKERS = {b".cvmfscatalog", b".cvmfsautocatalog"}


def distribution(top: Path) -> None:
    """Parts of this machine's ``/usr``: links of both kinds, scripts, text, binaries."""
    parts = [Path(text) for text in ("/usr/share/zoneinfo", "/usr/lib/apt", "/usr/share/keyrings")]
    there = [part for part in parts if part.is_dir()]
    if not there:
        pytest.skip("this machine has none of the directories")
    top.mkdir()
    subprocess.run(["cp", "-a", *there, top], check=True)


def environment(top: Path) -> None:
    """As conda makes them: packages, and environments whose files are hard links to those."""
    dice = random.Random(3)
    for package in range(10):
        for number in range(20):
            file = top / "pkgs" / f"p{package}" / "lib" / f"f{number}.so"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(dice.randbytes(dice.randrange(20_000)))
            file.chmod(0o755 if number % 3 else 0o644)
            link = top / "envs" / "base" / "lib" / f"p{package}-{number}.so"
            link.parent.mkdir(parents=True, exist_ok=True)
            link.hardlink_to(file)
            if number % 5 == 0:
                link.with_suffix(".so.1").hardlink_to(file)
                link.with_suffix(".so.2").symlink_to(link.name)
        (top / "pkgs" / f"p{package}" / ".cvmfscatalog").touch()


def deep_and_wide(top: Path) -> None:
    place = top
    for number in range(60):
        place = place / f"level-{number}"
    place.mkdir(parents=True)
    (place / "bottom").write_bytes(b"bottom")
    for number in range(1500):
        folder = top / "wide" / f"{number % 50:02}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"file-{number}").write_bytes(b"%d" % (number % 100))


def strange_names(top: Path) -> None:
    """Everything but a slash and a NUL, in one encoding or none."""
    names = [
        *(bytes([byte]) for byte in range(1, 256) if byte not in b"./"),
        *(text.encode(code) for text, code in (("ümläut日本語", "utf-8"), ("日本語", "euc_jp"), ("ümläut", "latin-1"))),
        *(b"n" * 255, b"\xff" * 255, b"  ", b"...", b".hidden", b"-rf", b"a\nb", b"%41", b"'\"$(x)", b"\xed\xa0\x80"),
    ]
    folder = os.fsencode(top)
    os.makedirs(folder)  # noqa: PTH103 - names are bytes here
    for number, name in enumerate(names):
        if number % 3 == 0:
            os.mkdir(folder + b"/" + name)  # noqa: PTH102 - same
        elif number % 3 == 1:
            os.symlink(b"../" + name, folder + b"/" + name)  # noqa: PTH211 - same
        else:
            Path(os.fsdecode(folder + b"/" + name)).write_bytes(name)


def empty(top: Path) -> None:
    (top / "nothing" / "in" / "it").mkdir(parents=True)
    (top / "file").touch()


TREES = {
    "distribution": distribution,
    "environment": environment,
    "deep and wide": deep_and_wide,
    "strange names": strange_names,
    "empty": empty,
}


def contents(top: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything below a directory but markers of catalogs: kind, permissions, time, and content or target."""
    found: dict[bytes, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(os.fsencode(top)):
        for name in (name for name in folders + files if name not in MARKERS):
            path = os.path.join(folder, name)  # noqa: PTH118 - names are bytes here
            status = os.lstat(path)
            content: object = None
            if stat.S_ISREG(status.st_mode):
                content = hashlib.sha1(Path(os.fsdecode(path)).read_bytes(), usedforsecurity=False).digest()
            elif stat.S_ISLNK(status.st_mode):
                content = os.readlink(path)  # noqa: PTH115 - same
            kept = stat.S_IFMT(status.st_mode) | (status.st_mode & 0o777)
            found[os.path.relpath(path, os.fsencode(top))] = (kept, int(status.st_mtime), content)
    return found


def names_in_common(top: Path) -> set[frozenset[bytes]]:
    """The hard links within each directory."""
    found: dict[tuple[bytes, int], set[bytes]] = {}
    for folder, _, files in os.walk(os.fsencode(top)):
        where = os.path.relpath(folder, os.fsencode(top))
        for name in files:
            inode = os.lstat(os.path.join(folder, name)).st_ino  # noqa: PTH118 - same
            found.setdefault((where, inode), set()).add(name)
    return {frozenset(names) for names in found.values() if len(names) > 1}
