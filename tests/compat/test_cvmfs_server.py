"""``cvmfs_server`` continues our repositories and we continue its ones; what both wrote is mounted and compared."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from softman.cli.main import run
from tests.compat.conftest import StockClient, Swissknife
from tests.compat.server_host import ServerHost, server_host
from tests.support.software import contents, distribution, environment

NAME = "served.example.org"

pytestmark = pytest.mark.compat


@pytest.fixture
def host(tmp_path: Path) -> Iterator[ServerHost]:
    with server_host(tmp_path / "host") as made:
        yield made


def softman(host: ServerHost, command: str, *arguments: object) -> None:
    place = ("--storage", host.storage.as_uri(), "--keys", str(host.keys))
    assert run(["repo", command, NAME, *map(str, arguments), *place]) == 0


def check(host: ServerHost, swissknife: Swissknife) -> None:
    """Theirs, ours, and every stored object read."""
    host.server("check", "-i", NAME)
    options = ("--url", (host.storage / NAME).as_uri(), "--public-key", host.keys / f"{NAME}.pub")
    assert run(["repo", "check", NAME, "--content", "--tags", *map(str, options)]) == 0
    scrubbed = swissknife.scrub(host.storage / NAME)
    assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr


def adopt(host: ServerHost) -> None:
    """Have ``cvmfs_server`` look at the repository anew: it remembers a revision and a reflog of its own."""
    if (host.root / "etc" / "repositories.d" / NAME).exists():
        host.server("rmfs", "-p", "-f", NAME)
    host.server("import", "-o", "root", "-p", "-w", f"{host.url}/{NAME}", "-k", "/etc/cvmfs/keys", NAME)
    settings = host.root / "etc" / "repositories.d" / NAME / "server.conf"
    settings.write_text(settings.read_text().replace("GARBAGE_COLLECTION=false", "GARBAGE_COLLECTION=true"))


def test_theirs_is_continued_by_us_and_by_them_again(
    host: ServerHost, swissknife: Swissknife, stock_client: StockClient, tmp_path: Path
) -> None:
    source, small = tmp_path / "source", tmp_path / "small"
    distribution(source)
    environment(small)
    host.server("mkfs", "-o", "root", "-p", "-w", f"{host.url}/{NAME}", NAME)
    host.publish(NAME, ("cp", "-a", small, f"/cvmfs/{NAME}/theirs"))
    check(host, swissknife)
    softman(host, "publish", source, "--to", "/ours", "--tag", "ours")
    adopt(host)
    check(host, swissknife)
    host.publish(NAME, ("rm", "-r", f"/cvmfs/{NAME}/theirs/pkgs"), ("cp", "-a", small, f"/cvmfs/{NAME}/ours/again"))
    with tarfile.open(tmp_path / "theirs.tar", "w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(small, arcname=".")
    host.server("ingest", "-t", tmp_path / "theirs.tar", "-b", "ingested", NAME)
    check(host, swissknife)
    softman(host, "publish", source, "--to", "/ours", "--delete")
    adopt(host)
    check(host, swissknife)
    with stock_client.mounted(f"{host.url}/{NAME}", host.keys / f"{NAME}.pub", NAME) as top:
        assert contents(top / "ours") == contents(source)
        assert contents(top / "ingested") == contents(small)
        assert contents(top / "theirs" / "envs") == contents(small / "envs")


def test_ours_is_continued_by_them_and_by_us_again(
    host: ServerHost, swissknife: Swissknife, stock_client: StockClient, tmp_path: Path
) -> None:
    source, small = tmp_path / "source", tmp_path / "small"
    distribution(source)
    environment(small)
    softman(host, "create")
    softman(host, "publish", source, "--to", "/ours", "--balance", "--max-entries", "200", "--min-entries", "20")
    adopt(host)
    check(host, swissknife)
    host.publish(NAME, ("cp", "-a", small, f"/cvmfs/{NAME}/theirs"), ("chmod", "-R", "o-rwx", f"/cvmfs/{NAME}/ours"))
    host.server("tag", "-a", "kept", "-m", "a tag of theirs", NAME)
    check(host, swissknife)
    softman(host, "publish", source, "--to", "/ours", "--delete")
    softman(host, "rollback", "--to-tag", "kept")
    softman(host, "publish", small, "--to", "/theirs/more")
    softman(host, "gc", "--days", "0")
    adopt(host)
    check(host, swissknife)
    host.server("gc", "-f", "-r", "0", NAME)
    check(host, swissknife)
    with stock_client.mounted(f"{host.url}/{NAME}", host.keys / f"{NAME}.pub", NAME) as top:
        assert contents(top / "theirs" / "more") == contents(small)
        assert contents(top / "ours").keys() == contents(source).keys()
