"""What ``softman repo publish`` writes, as the official tools see it."""

import hashlib
import os
import random
import subprocess
from pathlib import Path

import pytest

from softman.cli.main import run
from tests.compat.conftest import StockClient, Swissknife
from tests.support.serving import served

NAME = "ingest.example.org"


@pytest.fixture(params=["sha1", "rmd160", "shake128"])
def published(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A repository with a directory and an archive in it, published twice; gives the storage."""
    source = tmp_path / "source"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "large").write_bytes(random.Random(6).randbytes(20_000_000))
    (source / "deep" / "text").write_bytes(b"text\n" * 5000)
    (source / "deep" / "same").hardlink_to(source / "deep" / "text")
    (source / "deep" / "er" / "link").symlink_to("../text")
    (source / "empty").write_bytes(b"")
    place = ["--storage", (tmp_path / "srv").as_uri(), "--keys", str(tmp_path / "keys")]
    assert run(["repo", "create", NAME, "--hash", request.param, *place]) == 0
    assert run(["repo", "publish", NAME, str(source), "--to", "/a", *place, "--tag", "v1"]) == 0
    subprocess.run(["tar", "-C", source, "-czf", tmp_path / "a.tgz", "."], check=True)
    assert run(["repo", "publish", NAME, str(tmp_path / "a.tgz"), "--to", "/b", *place]) == 0
    (source / "deep" / "er" / "link").unlink()
    assert run(["repo", "publish", NAME, str(source), "--to", "/a", "--delete", *place]) == 0
    suffix = b"" if request.param == "sha1" else b"-" + request.param.encode()
    root_hash = (tmp_path / "srv" / NAME / ".cvmfspublished").read_bytes().splitlines()[0]
    assert root_hash[41:] == suffix
    return tmp_path / "srv"


@pytest.mark.compat
def test_the_stock_check_finds_no_problems(published: Path, swissknife: Swissknife) -> None:
    with served(published) as url:
        result = swissknife.check(f"{url}/{NAME}", published.parent / "keys" / f"{NAME}.pub", NAME)
    assert result.returncode == 0, result.stdout + result.stderr
    scrubbed = swissknife.scrub(published / NAME)
    assert scrubbed.returncode == 0, scrubbed.stdout + scrubbed.stderr


@pytest.mark.compat
def test_the_stock_client_shows_the_source(published: Path, stock_client: StockClient) -> None:
    source = published.parent / "source"
    with (
        served(published) as url,
        stock_client.mounted(f"{url}/{NAME}", published.parent / "keys" / f"{NAME}.pub", NAME) as top,
    ):
        for where in ("a", "b"):
            for path in ("large", "deep/text", "deep/same", "empty"):
                shown = hashlib.sha256((top / where / path).read_bytes()).digest()
                assert shown == hashlib.sha256((source / path).read_bytes()).digest()
            assert (top / where / "deep" / "text").stat().st_nlink == 2
        assert (top / "b" / "deep" / "er" / "link").readlink() == Path("../text")
        assert os.listdir(top / "a" / "deep" / "er") == []  # noqa: PTH208 - names only
