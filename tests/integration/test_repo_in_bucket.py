"""``softman repo`` on a bucket of the real object store."""

import os
from pathlib import Path

import pytest

from softman import wiring
from softman.cli.main import run
from softman.standalone.stack import Stack
from tests.support.bucket_storage import BucketStorage

NAME = "test.example.org"


def test_the_commands_for_admins_work_on_a_bucket(
    stack: Stack,
    unique: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    storage = BucketStorage.prepare(stack, unique)
    variables = {
        "STATE_DIR": str(tmp_path / "state"),
        "CVMFS__S3__ENDPOINT": storage.stratum0.endpoint,
        "CVMFS__S3__STRATUM0__ACCESS_KEY": storage.stratum0.access_key,
        "CVMFS__S3__STRATUM0__SECRET_KEY": storage.stratum0.secret_key,
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"SOFTMAN_{name}", value)
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "file").write_bytes(b"content")
    (source / "big").write_bytes(os.urandom(9 * 1024 * 1024))
    place = ["--storage", f"s3://{storage.place.bucket}/{storage.place.prefix}", "--keys", str(tmp_path / "keys")]
    assert run(["repo", "create", NAME, *place]) == 0
    assert run(["repo", "publish", NAME, str(source), *place]) == 0
    capfdbinary.readouterr()
    read = ["--url", f"{storage.url}/{NAME}", "--public-key", str(tmp_path / "keys" / f"{NAME}.pub")]
    for path in ("folder/file", "big"):
        assert run(["repo", "cat", NAME, f"/{path}", *read]) == 0
        assert capfdbinary.readouterr().out == (source / path).read_bytes()
    (source / "big").unlink()
    assert run(["repo", "publish", NAME, str(source), "--delete", *place]) == 0
    capfdbinary.readouterr()
    assert run(["repo", "ls", NAME, "/", *read]) == 0
    assert capfdbinary.readouterr().out == b"folder\n"
    wiring._storage_objects.cache_clear()
