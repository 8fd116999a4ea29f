"""Repositories that the official tools continue after us, and we after them; mounted and read whole."""

import os
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
from tests.support.software import TREES, contents, environment, names_in_common

NAME = "continued.example.org"

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
