"""What ``softman repo`` loads: its start is part of every publish."""

import json
import subprocess
import sys
from pathlib import Path

NOT_NEEDED = {"asyncio", "boto3", "botocore", "celery", "hvac", "kombu", "pydantic", "redis", "rich", "structlog"} | {
    "urllib3",
    "workers",
}
SCRIPT = """
import json, sys
from softman.cli.main import run
name, storage, keys, source = sys.argv[1:]
place = ["--storage", storage, "--keys", keys, "--json"]
assert run(["repo", "create", name, *place]) == 0
assert run(["repo", "publish", name, source, *place]) == 0
print(json.dumps(sorted(sys.modules)))
"""


def test_publishing_to_a_directory_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    arguments = ["start.example.org", (tmp_path / "srv").as_uri(), str(tmp_path / "keys"), str(tmp_path / "tree")]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    published, loaded = map(json.loads, done.stdout.splitlines()[-2:])
    assert published["revision"] == 2
    assert {name.partition(".")[0] for name in loaded} & NOT_NEEDED == set()
    assert "softman.wiring" not in loaded
