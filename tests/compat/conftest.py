"""The official CernVM-FS tools, when they are on the PATH; tests that need them say so when they are not."""

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Swissknife:
    """``cvmfs_swissknife`` run on a repository."""

    work: Path

    def check(self, url: str, public_key: Path, name: str) -> subprocess.CompletedProcess[str]:
        """The stock integrity check with signatures, over HTTP."""
        temporary = self.work / "check"
        temporary.mkdir(exist_ok=True)
        arguments = ["check", "-r", url, "-t", str(temporary), "-k", str(public_key), "-N", name, "-c", "-l", "2"]
        return self._run(*arguments)

    def tags(self, url: str, public_key: Path, name: str) -> list[list[str]]:
        """The stock list of tags: name, hash, size, revision, time, branch and the words of the description."""
        temporary = self.work / "tags"
        temporary.mkdir(exist_ok=True)
        arguments = ["tag_list", "-w", url, "-t", str(temporary), "-p", str(public_key), "-f", name, "-x"]
        result = self._run(*arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return [line.split() for line in result.stdout.splitlines()]

    def collect(self, url: str, storage: Path, public_key: Path, name: str) -> subprocess.CompletedProcess[str]:
        """Stock garbage collection that keeps what is tagged and nothing else; leaves the new reflog's hash."""
        temporary = self.work / "gc"
        temporary.mkdir(exist_ok=True)
        checksum = self.work / "reflog.chksum"
        arguments = ["gc", "-r", url, "-u", f"local,{storage}/data/txn,{storage}", "-n", name, "-R", str(checksum)]
        return self._run(*arguments, "-h", "0", "-z", "0", "-k", str(public_key), "-t", str(temporary), "-l")

    def scrub(self, storage: Path) -> subprocess.CompletedProcess[str]:
        """Re-hash every stored object."""
        return self._run("scrub", "-r", str(storage / "data"))

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: PLW1510
            ["cvmfs_swissknife", *arguments], capture_output=True, text=True, timeout=120, cwd=self.work
        )


@dataclass(frozen=True)
class StockClient:
    """``cvmfs2`` mounting repositories with a cache of its own each time."""

    work: Path

    @contextmanager
    def mounted(
        self, url: str | None, public_key: Path | None, name: str, further: Sequence[Path] = (), **settings: str
    ) -> Iterator[Path]:
        """Mount, with further files or lines of configuration; give the mount point, and unmount."""
        place = self.work / f"mount{len(list(self.work.glob('mount*')))}"
        mount_point, cache = place / "mnt", place / "cache"
        mount_point.mkdir(parents=True)
        cache.mkdir()
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        lines: dict[str, object] = {
            "CVMFS_SERVER_URL": url,
            "CVMFS_PUBLIC_KEY": public_key,
            "CVMFS_HTTP_PROXY": "DIRECT",
            "CVMFS_USE_GEOAPI": "no",
            "CVMFS_CACHE_BASE": cache,
            "CVMFS_RELOAD_SOCKETS": cache,
            "CVMFS_SHARED_CACHE": "no",
            "CVMFS_NFILES": files,
            "CVMFS_USYSLOG": place / "log",
            **settings,
        }
        config = place / "conf"
        config.write_text("".join(f"{key}={value}\n" for key, value in lines.items() if value is not None))
        subprocess.run(
            ["cvmfs2", "-o", f"config={':'.join(map(str, [config, *further]))}", name, str(mount_point)],
            check=True,
            timeout=60,
            stdout=subprocess.DEVNULL,
        )
        try:
            yield mount_point
        finally:
            subprocess.run(["umount", str(mount_point)], check=True, timeout=60)


@pytest.fixture
def swissknife(tmp_path: Path) -> Swissknife:
    if shutil.which("cvmfs_swissknife") is None:
        pytest.skip("the official cvmfs_swissknife is not on the PATH")
    return Swissknife(tmp_path)


@pytest.fixture
def stock_client(tmp_path: Path) -> StockClient:
    if shutil.which("cvmfs2") is None:
        pytest.skip("the official client cvmfs2 is not on the PATH")
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("mounting with the official client needs root and /dev/fuse")
    return StockClient(tmp_path)
