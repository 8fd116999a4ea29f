"""A door for commits without a repository behind it: answers as it is told by the name of the transaction."""

import os
import time
from pathlib import Path
from typing import Any

from softman.errors import ServiceUnavailable
from softman.tasks.catalogue import COMMIT, COMMIT_REVISION
from workers.base import task
from workers.pool import WorkerApp


@task(COMMIT_REVISION, retries=1, longest_delay=1.0, keep_result=True, track_started=True, dead_letter=False)
def commit(request: dict[str, Any]) -> dict[str, Any]:
    """Answer."""
    transaction = request["transaction"]
    with (Path(os.environ["PROBE_DIR"]) / "notes").open("a", encoding="utf-8") as stream:
        stream.write(f"commit {transaction}\n")
    if transaction == "refuse":
        return {"refused": "candidate-refused", "reason": "an object is missing"}
    if transaction == "break":
        msg = "the storage does not answer"
        raise ServiceUnavailable(msg)
    if transaction == "nonsense":
        return {"committed": "perhaps"}
    if transaction == "slow":
        time.sleep(3)
    return {"committed": True, "revision": request["base"]["revision"] + 1, "root_hash": "b" * 40, "reason": ""}


app = WorkerApp(COMMIT)
