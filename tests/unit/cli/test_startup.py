"""What ``softman repo`` loads: its start is part of every publish."""

import json
import subprocess
import sys
from pathlib import Path

NOT_NEEDED = {"asyncio", "boto3", "botocore", "celery", "hvac", "kombu", "pydantic", "redis", "rich", "structlog"} | {
    "urllib3",
    "workers",
}
NOT_NEEDED_EITHER = {
    "cryptography.x509",
    "softman.cvmfs.diff",
    "softman.cvmfs.gc",
    "softman.cvmfs.ingest.tar",
    "softman.cvmfs.inspector",
    "softman.cvmfs.reader",
    "softman.cvmfs.rebase",
    "softman.model",
    "softman.wiring",
}
SCRIPT = """
import json, sys
name, storage, keys, source = sys.argv[1:]
place = ["--storage", storage, "--keys", keys, "--json"]
from softman.cli.main import run
assert run(["repo", "publish", name, source, *place]) == 0
print(json.dumps(sorted(sys.modules)))
"""


def test_publishing_to_a_directory_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_bytes(b"content")
    create = "from softman.cli.main import main; main()"
    arguments = ["start.example.org", (tmp_path / "srv").as_uri(), str(tmp_path / "keys"), str(tmp_path / "tree")]
    place = ["--storage", arguments[1], "--keys", arguments[2]]
    subprocess.run([sys.executable, "-c", create, "repo", "create", arguments[0], *place], check=True)
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    published, loaded = map(json.loads, done.stdout.splitlines()[-2:])
    assert published["revision"] == 2
    assert {name.partition(".")[0] for name in loaded} & NOT_NEEDED == set()
    assert set(loaded) & NOT_NEEDED_EITHER == set()
