"""Trees that were unpacked from archives in a bucket, as the official tools see them."""

import os
import random
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.compat.conftest import StockClient, Swissknife
from tests.support.serving import served
from tests.support.trees import Nodes, conda_like, in_folder
from tests.support.world import Clock, World, make_material

NAME = "alice.example.org"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree with links of all kinds, a large file, a catalog of its own, and names that are no text."""
    root = tmp_path / "source"
    conda_like(root)
    (root / "large").write_bytes(random.Random(6).randbytes(17_000_000))
    (root / "own/deep").mkdir(parents=True)
    (root / "own/.cvmfscatalog").write_bytes(b"")
    (root / "own/deep/text").write_bytes(b"text\n" * 5000)
    Path(os.fsdecode(os.fsencode(root / "own") + b"/\xff\xfe")).write_bytes(b"bytes")
    (root / "lib/libz.third").hardlink_to(root / "lib/libz.copy")
    return root


@pytest.fixture
def world(tmp_path: Path, source: Path) -> World:
    """A repository with the tree from two archives, one of which replaced another."""
    world = World(tmp_path / "srv", make_material(), clock=Clock(datetime.now(UTC)))
    name = world.provision("alice")
    for file, folder, option in (
        ("a.tgz", source, "-z"),
        ("b.tar", source, "--"),
        ("before.tar", source / "own", "--"),
    ):
        subprocess.run(["tar", "-C", folder, "-cf", tmp_path / file, option, "."], check=True)
    for key, file in (("a.tgz", "a.tgz"), ("b.tar", "before.tar"), ("b.tar", "b.tar")):
        world.buckets.put("alice", f"cvmfs/soft/{key}", (tmp_path / file).read_bytes())
        world.sync(name)
    assert world.records.refusals(name) == []
    (tmp_path / "key.pub").write_text(world.material["publicKey"])
    return world


@pytest.mark.compat
def test_the_stock_check_finds_no_problems(world: World, tmp_path: Path, swissknife: Swissknife) -> None:
    with served(world.root) as url:
        result = swissknife.check(f"{url}/{NAME}", tmp_path / "key.pub", NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    scrubbed = swissknife.scrub(world.root / NAME)
    assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr


@pytest.mark.compat
def test_the_stock_client_shows_what_tar_unpacks(
    world: World, source: Path, tmp_path: Path, stock_client: StockClient
) -> None:
    wanted = in_folder(source)
    with served(world.root) as url, stock_client.mounted(f"{url}/{NAME}", tmp_path / "key.pub", NAME) as top:
        for where in ("a", "b"):
            assert _without_marker(in_folder(top / "soft" / where)) == wanted
            assert (top / "soft" / where / "lib/libz.third").stat().st_nlink == 3
            assert (top / "soft" / where / "bin/python3.11").stat().st_nlink == 1


def _without_marker(nodes: Nodes) -> Nodes:
    """Without the marker of the tree's own catalog, which no archive has."""
    return {path: node for path, node in nodes.items() if path != "/.cvmfscatalog"}
