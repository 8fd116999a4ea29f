"""``softman resync`` on a service in memory: what it sends, how it waits, what it shows."""

from collections.abc import Callable
from typing import Any

import pytest

from softman.errors import Busy
from softman.model import Everything, Failure, Refusal, SyncReport
from softman.names import RepositoryName
from softman.tasks.catalogue import TaskSpec

BASIC = RepositoryName("basic", "example.org")
PLAN = {
    "schema": 1,
    "repository": "basic.example.org",
    "counts": {"add": 2, "refuse": 1},
    "steps": [
        {"action": "add", "key": "cvmfs/a", "path": "/a", "reason": ""},
        {"action": "refuse", "key": "cvmfs/..", "path": "", "reason": "has '..'"},
    ],
    "complete": False,
}


@pytest.fixture
def answers(backend: Any) -> Callable[..., None]:
    """Let the tasks that are sent and waited for answer so, one after the other."""
    request = type(backend.on_send(TaskSpec("any", "any")))

    def play(*given: Any) -> None:
        left = list(given)
        backend.on_send = lambda _task: request(left.pop(0))

    return play


def ended(more: bool = False, following: str | None = None) -> dict[str, Any]:
    return {"schema": 1, "repository": str(BASIC), "message": "", "revision": None, "more": more, "next": following}


def test_it_asks_and_waits(softman: Any, backend: Any) -> None:
    done = softman("resync", "basic")
    assert done.code == 0
    assert done.lines == ["basic.example.org shows its bucket: revision 21, nothing had to change"]
    assert backend.sent == [("softman.resync", ("basic.example.org",))]


def test_it_says_what_changed_since_it_was_asked_for(softman: Any, backend: Any) -> None:
    backend.records.set_report(SyncReport(str(BASIC), 3, "aa", added=100, finished_at=1.0))
    request = backend.on_send(TaskSpec("any", "any"))

    def play(_task: TaskSpec) -> Any:
        backend.records.set_report(SyncReport(str(BASIC), 3, "aa", repaired=4, finished_at=1.5))
        backend.records.set_report(SyncReport(str(BASIC), 4, "bb", 1, 2, 3, bytes_read=1024, finished_at=2.0))
        backend.records.set_report(SyncReport(str(BASIC), 5, "cc", 1, finished_at=3.0))
        backend.records.set_refusals(BASIC, [Refusal("cvmfs/..", "why")], None)
        return request

    backend.on_send = play
    first, second = softman("resync", "basic").lines
    assert first.endswith("2 added, 2 changed, 3 removed, 1.0 KiB read, 4 repaired in the storage")
    assert second == "keys that are not published: 1; why: softman refused basic"


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        (("--prefix", "cvmfs/a/"), ("cvmfs/a/", False)),
        (("--verify",), (None, True)),
        (("--prefix", "cvmfs/a/", "--verify"), ("cvmfs/a/", True)),
    ],
)
def test_a_part_is_asked_for(
    softman: Any, backend: Any, options: tuple[str, ...], arguments: tuple[object, ...]
) -> None:
    assert softman("resync", "basic", *options, "--no-wait", "--json").objects == [
        {"repository": "basic.example.org", "task_id": "task-1"}
    ]
    assert backend.sent == [("softman.resync", ("basic.example.org", *arguments))]


def test_a_prefix_of_what_is_never_published_is_refused(softman: Any, backend: Any) -> None:
    refused = softman("resync", "basic", "--prefix", "a/")
    assert refused.code == 12
    assert "begin with cvmfs/" in refused.err
    assert backend.sent == []


def test_a_part_is_waited_for_to_the_last_of_its_tasks(softman: Any, backend: Any, answers: Any) -> None:
    answers(ended(more=True, following="two"), ended(more=True, following="three"), ended())
    done = softman("resync", "basic", "--prefix", "cvmfs/a/")
    assert done.lines[0].startswith("basic.example.org shows what begins with cvmfs/a/ in its bucket: ")
    assert [name for name, _ in backend.sent[1:]] == ["wait for two", "wait for three"]


def test_the_rest_of_a_full_resync_is_waited_for(softman: Any, backend: Any, answers: Any) -> None:
    answers(ended(more=True))
    assert softman("resync", "basic", "--timeout", "0.01").code == 5
    lease = backend.pending.acquire(BASIC)
    backend.pending.take(lease, BASIC, 1)
    backend.pending.done(lease, BASIC, Everything())
    answers(ended(more=True))
    assert softman("resync", "basic", "--timeout", "0.01").code == 0


def test_a_rest_that_fails_ends_the_waiting(
    softman: Any, backend: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = iter([Failure("over its quota", "permanent", 1.0, 1.0, 1, 31.0)])
    old = Failure("somebody else's bucket", "forbidden", 0.0, 0.0, 1, 30.0)
    monkeypatch.setattr(backend.states, "failure", lambda _name: next(failures, old) if backend.sent else old)
    answers(ended(more=True))
    failed = softman("resync", "basic")
    assert failed.code == 11
    assert "over its quota" in failed.err


def test_a_refused_resync_gives_the_reason(softman: Any, answers: Any) -> None:
    answers(Busy("another publisher works on it"))
    failed = softman("resync", "basic")
    assert failed.code == 23
    assert "another publisher works on it" in failed.err


def test_it_gives_up_waiting_when_nothing_moves(softman: Any, backend: Any) -> None:
    never = type(backend.on_send(TaskSpec("any", "any")))(ready=False)
    backend.on_send = lambda _task: never
    failed = softman("resync", "basic", "--timeout", "0.01")
    assert failed.code == 5
    assert "task-1" in failed.err


def test_json_is_the_repository(softman: Any) -> None:
    (described,) = softman("resync", "basic", "--json").objects
    assert (described["name"], described["revision"]) == ("basic.example.org", 21)
    assert described["usage"]["entries"] > 0


def test_a_dry_run_shows_the_plan(softman: Any, backend: Any, answers: Any) -> None:
    answers(PLAN)
    shown = softman("resync", "basic", "--dry-run", "--prefix", "cvmfs/a/", "--steps", "2")
    assert [line.split("\t") for line in shown.lines] == [
        ["add", "cvmfs/a", "/a"],
        ["refuse", "cvmfs/..", "has '..'"],
    ]
    assert "2 to add, 1 refused; the first 2 are shown" in shown.err
    assert backend.sent == [("softman.plan", ("basic.example.org", "cvmfs/a/", False, 2))]
    answers(PLAN)
    assert softman("resync", "basic", "--dry-run", "--json").objects == [PLAN]


def test_a_dry_run_with_nothing_to_do_says_so(softman: Any, answers: Any) -> None:
    answers({**PLAN, "counts": {}, "steps": [], "complete": True})
    shown = softman("resync", "basic", "--dry-run")
    assert (shown.lines, shown.code) == ([], 0)
    assert "nothing to do" in shown.err
