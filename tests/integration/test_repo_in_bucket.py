"""``softman repo`` on a bucket of the real object store."""

import os
from pathlib import Path

import pytest

from softman.cli.main import run
from softman.standalone.stack import Stack
from softman.storage import storage_objects
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
    big = os.urandom(9 * 1024 * 1024)
    (source / "big").write_bytes(big)
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
    for arguments in (["tag", NAME, "now"], ["rollback", NAME, "--to-revision", "2"], ["gc", NAME, "--days", "0"]):
        assert run(["repo", *arguments, *place]) == 0
    capfdbinary.readouterr()
    assert run(["repo", "cat", NAME, "/big", *read]) == 0
    assert capfdbinary.readouterr().out == big
    assert run(["repo", "publish", NAME, str(source), "--to", "/again", "--tag", "again", *place]) == 0
    capfdbinary.readouterr()
    assert run(["repo", "diff", NAME, "4", *read]) == 0
    assert capfdbinary.readouterr().out == b"+ /again\n+ /again/folder\n+ /again/folder/file\n"
    assert run(["repo", "log", NAME, *read]) == 0
    assert [line.split(b"\t")[0] for line in capfdbinary.readouterr().out.splitlines()] == [b"5", b"4"]
    assert run(["repo", "check", NAME, "--content", "--tags", *read]) == 0
    storage_objects.cache_clear()
