"""Pool ``stratum0.commit``: signs candidate revisions, and does nothing else (decision 1).

Slow work of stratum 0 is on another queue, so that it never delays a commit.
"""

from typing import Any

from softman import wiring
from softman.errors import PermanentError
from softman.log import bind_context, get_logger
from softman.tasks.catalogue import COMMIT, COMMIT_REVISION
from softman.tasks.payloads import commit_answer_to_json, commit_request_from_json, refusal_to_json
from workers.auditing import audited
from workers.base import settings, task
from workers.metering import metered_commit
from workers.pool import WorkerApp

_log = get_logger(__name__)


@task(COMMIT_REVISION, retries=3, longest_delay=5.0, keep_result=True, track_started=True, dead_letter=False)
def commit(request: dict[str, Any]) -> dict[str, Any]:
    """Check a candidate and sign it. A refusal is an answer; the publisher that waits for it asks no second time."""
    try:
        wish = commit_request_from_json(request)
        bind_context(repository=wish.repository, transaction=wish.transaction)
        more = {"transaction": wish.transaction, "key": wish.key_id}
        with audited("commit", wish.repository, **more) as outcome, metered_commit(outcome):
            answer = wiring.stratum0(settings()).commit(wish)
            outcome.outcome, outcome.detail = "done" if answer.committed else "conflict", answer.reason
            outcome.more |= {"revision": answer.current.revision, "root_hash": answer.current.root_hash}
    except PermanentError as exc:
        _log.warning("candidate is refused", code=exc.code, error=str(exc))
        return refusal_to_json(exc)
    return commit_answer_to_json(answer)


app = WorkerApp(COMMIT)
