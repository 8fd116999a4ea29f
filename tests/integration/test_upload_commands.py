"""The commands of the tab "Upload", typed as they stand there, but for the keys: they put what they say."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from softman.adapters.s3_client import S3Access, s3_client
from softman.dashboard.upload.commands import ACCESS_KEY, SECRET_KEY, recipes
from softman.standalone.stack import Stack
from tests.support.clients import SECONDS, missing

pytestmark = pytest.mark.stack

PROGRAMS = {"aws": "awscli", "rclone": "rclone", "s3cmd": "s3cmd", "boto3": ""}


@pytest.mark.parametrize("key", PROGRAMS)
def test_what_is_copied_puts_files(stack: Stack, unique: str, key: str, tmp_path: Path) -> None:
    if PROGRAMS[key] and (reason := missing(PROGRAMS[key])):
        pytest.skip(reason)
    keys = stack.s3_credentials("alice")
    owner = s3_client(S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key))
    owner.create_bucket(Bucket=unique)
    (recipe,) = [each for each in recipes(unique, stack.s3_endpoint, "us-east-1") if each.key == key]
    (tmp_path / "my-file").write_bytes(b"a file")
    (tmp_path / "my-folder" / "inner").mkdir(parents=True)
    (tmp_path / "my-folder" / "inner" / "tool").write_bytes(b"a tool")
    text = recipe.upload if key == "boto3" else recipe.setup + recipe.upload
    script = text.replace(ACCESS_KEY, keys.access_key).replace(SECRET_KEY, keys.secret_key)
    program = [sys.executable, "-c"] if key == "boto3" else ["/bin/bash", "-eu", "-c"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    done = subprocess.run(
        [*program, script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    put = {item["Key"] for item in owner.list_objects_v2(Bucket=unique)["Contents"]}
    assert put == {"cvmfs/my-file"} | (set() if key == "boto3" else {"cvmfs/my-folder/inner/tool"})
