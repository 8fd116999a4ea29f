"""Repositories that the official tools continue after us, and we after them; mounted and read whole."""

import hashlib
import os
import random
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from softman.cli.main import run
from softman.cvmfs.format.manifest import MANIFEST_NAME, Manifest
from tests.compat.conftest import StockClient, Swissknife
from tests.support.serving import served

NAME = "continued.example.org"
MARKERS = {b".cvmfscatalog", b".cvmfsautocatalog"}

pytestmark = pytest.mark.compat


@dataclass(frozen=True)
class Place:
    """A repository of ``softman repo``, and the official tools that change it."""

    root: Path

    @property
    def storage(self) -> Path:
        return self.root / "srv" / NAME

    def key(self, suffix: str) -> Path:
        return self.root / "keys" / f"{NAME}{suffix}"

    def softman(self, command: str, *arguments: object) -> None:
        place = ("--storage", (self.root / "srv").as_uri(), "--keys", str(self.root / "keys"))
        assert run(["repo", command, NAME, *map(str, arguments), *place]) == 0

    def check(self, swissknife: Swissknife) -> None:
        """Ours and theirs, with every object read."""
        options = ("--url", self.storage.as_uri(), "--public-key", str(self.key(".pub")))
        assert run(["repo", "check", NAME, "--content", "--tags", *options]) == 0
        with served(self.storage.parent) as url:
            result = swissknife.check(f"{url}/{NAME}", self.key(".pub"), NAME)
        assert result.returncode == 0, result.stdout + result.stderr
        scrubbed = swissknife.scrub(self.storage)
        assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr

    def ingest(self, archive: Path, base: str) -> None:
        """What ``cvmfs_server ingest`` does: ingest, tag, sign, each with the program that it calls."""
        work = self.root / "stock"
        work.mkdir(exist_ok=True)
        manifest, checksum = work / "manifest", work / "reflog.chksum"
        before = Manifest.from_bytes((self.storage / MANIFEST_NAME).read_bytes()).manifest
        checksum.write_text(str(before.reflog))
        upstream = f"local,{self.storage}/data/txn,{self.storage}"
        with served(self.storage.parent) as url:
            stratum0 = f"{url}/{NAME}"
            commands = (
                (
                    f"ingest -u {work} -c {work} -t {work} -b {before.root_hash} -N {NAME} -B {base} -r {upstream} "
                    f"-w {stratum0} -o {manifest} -K {self.key('.pub')} -T {archive}"
                ),
                (
                    f"tag_edit -r {upstream} -w {stratum0} -t {work} -m {manifest} -p {self.key('.pub')} -f {NAME} "
                    f"-b {before.root_hash} -x"
                ),
                (
                    f"sign -c {self.key('.crt')} -k {self.key('.key')} -n {NAME} -u {stratum0} -m {manifest} -t {work} "
                    f"-r {upstream} -g -R {checksum}"
                ),
            )
            for command in commands:
                done = subprocess.run(
                    ["cvmfs_swissknife", *command.split()], capture_output=True, text=True, timeout=300, check=False
                )
                assert done.returncode == 0, (command, done.stdout + done.stderr)


@pytest.fixture
def place(tmp_path: Path, stock_spool: None) -> Place:  # noqa: ARG001 - they write there
    made = Place(tmp_path)
    made.softman("create")
    return made


@pytest.fixture
def stock_spool() -> Iterator[None]:
    """The official tools insist on a place for their statistics."""
    if os.geteuid() != 0:
        pytest.skip("the official tools need root, for /var/spool/cvmfs")
    folder = Path("/var/spool/cvmfs") / NAME
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    yield
    for path in sorted(folder.rglob("*"), reverse=True):
        path.unlink()
    for path in missing:
        path.rmdir()


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


@pytest.mark.parametrize("kind", TREES)
def test_continued_by_the_official_tools_and_by_us_again(
    place: Place, swissknife: Swissknife, stock_client: StockClient, kind: str
) -> None:
    source = place.root / "source"
    TREES[kind](source)
    place.softman("publish", source, "--to", "/ours", "--tag", "ours")
    with tarfile.open(place.root / "theirs.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        small = place.root / "small"
        environment(small)
        archive.add(small, arcname=".")
    place.ingest(place.root / "theirs.tar", "theirs")
    place.check(swissknife)
    (source / "added").write_bytes(b"added")
    place.softman("publish", source, "--to", "/ours", "--delete")
    (small / "envs" / "base" / "lib" / "p0-0.so").unlink()
    place.softman(
        "publish", small, "--to", "/theirs", "--delete", "--balance", "--max-entries", "100", "--min-entries", "9"
    )
    place.ingest(place.root / "theirs.tar", "again")
    place.check(swissknife)
    with served(place.storage.parent) as url, stock_client.mounted(f"{url}/{NAME}", place.key(".pub"), NAME) as top:
        assert contents(top / "ours") == contents(source)
        assert names_in_common(top / "ours") == names_in_common(source)
        theirs = contents(top / "theirs")
        assert theirs == contents(small)
        assert contents(top / "again").keys() > theirs.keys()
