"""``softman rollback``, ``resume``, ``retire``, ``restore``, ``quotas``, ``gc``, ``check``: what they ask and say."""

from dataclasses import replace
from io import StringIO
from typing import Any

import pytest

from softman.errors import InvalidInput
from softman.model import Pause, Quotas, Retirement, State
from softman.tasks.catalogue import TaskSpec

NAME = "basic.example.org"


def answering(backend: Any, *answers: Any) -> None:
    """Let the tasks of the next command answer so, one after the other."""
    request = type(backend.on_send(TaskSpec("any", "any")))
    left = list(answers)
    backend.on_send = lambda _task: request(left.pop(0))


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("rollback", "basic", "3"), ("softman.rollback", (NAME, 3))),
        (("resume", "basic"), ("softman.resume", (NAME,))),
        (("retire", "basic"), ("softman.retire", (NAME, True))),
        (("restore", "basic"), ("softman.restore", (NAME,))),
    ],
)
def test_it_asks_and_says_what_became_of_it(softman: Any, backend: Any, arguments: Any, sent: Any) -> None:
    answer = {"schema": 1, "repository": NAME, "message": "so it is", "until": 0.0}
    answering(backend, answer, answer)
    assert softman(*arguments).lines == ["so it is"]
    assert backend.sent == [sent]
    assert softman(*arguments, "--json").objects == [answer]


def test_an_unknown_repository_is_refused_at_once(softman: Any, backend: Any) -> None:
    done = softman("rollback", "nobody", "1")
    assert done.code == 14
    assert backend.sent == []


def test_dropping_is_asked_for_and_tells_until_when_it_can_be_taken_back(
    softman: Any, backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(backend, {"repository": NAME, "message": "it is retired", "until": 1_800_000_000.0})
    done = softman("retire", "basic", "--drop", "--yes")
    assert done.lines == ["it is retired; until 2027-01-15 08:00:00 UTC it can be restored: softman restore basic"]
    assert backend.sent == [("softman.retire", (NAME, False))]
    monkeypatch.setattr("sys.stdin", StringIO("n\n"))
    assert softman("retire", "basic", "--drop").code == 130
    assert len(backend.sent) == 1


def test_what_retiring_would_do(softman: Any, backend: Any) -> None:
    (line,) = softman("retire", "basic", "--drop", "--dry-run").lines
    assert "would be given up" in line
    assert "would be removed after the time of grace, with its keys" in line
    assert backend.sent == []


def test_quotas_are_shown_and_changed(softman: Any, backend: Any) -> None:
    assert softman("quotas", "basic").lines[0] == "entries      10,000,000"
    assert backend.sent == []
    done = softman("quotas", "basic", "--max-entries", "5", "--max-bytes", "7", "--json")
    assert backend.sent == [("softman.set_quotas", (NAME, {"max_entries": 5, "max_bytes": 7}))]
    assert done.objects[0]["quotas"]["max_entries"] == Quotas().max_entries  # nobody worked on it here


def test_a_collection_of_several_turns_is_told_as_one(softman: Any, backend: Any) -> None:
    turn = {
        "repository": NAME,
        "message": "some",
        "kept": [7, 6],
        "revisions": 0,
        "objects": 5,
        "bytes": 1024,
        "young": 0,
    }
    answering(backend, {**turn, "next": "task-2"}, {**turn, "revisions": 3, "young": 2, "next": None})
    done = softman("gc", "basic", "--dry-run")
    assert done.lines == [
        "3 revisions and 10 objects with 2.0 KiB would go; kept are 2 revisions; 2 objects are too young to go yet"
    ]
    assert backend.sent == [("softman.collect_garbage", (NAME, True)), ("wait for task-2", ())]


def test_a_damaged_repository_has_an_exit_code(softman: Any, backend: Any) -> None:
    turn = {"repository": NAME, "message": "some", "objects": 5, "bytes": 10, "problems": []}
    problem = {"kind": "missing", "path": "/a", "message": "data/00 does not exist"}
    answering(
        backend, {**turn, "next": "task-2"}, {**turn, "problems": [problem], "next": None}, {**turn, "next": None}
    )
    done = softman("check", "basic")
    assert done.lines == ["missing: /a: data/00 does not exist", "10 objects, 20 B: 1 problems"]
    assert done.code == 18
    assert done.err.startswith("softman: what is stored of basic is damaged: 1 problems")
    assert softman("check", "basic").lines == ["5 objects, 10 B: no problems"]


def test_a_refusal_is_said(softman: Any, backend: Any) -> None:
    answering(backend, InvalidInput("it is retired"))
    done = softman("rollback", "basic", "3")
    assert (done.code, done.err) == (12, "softman: it is retired\n")


EPOCH = "1970-01-01 00:00:00 UTC"
BACK = "to bring it back: softman restore basic"
KEPT, LOST = Retirement(0.5, 1.0), Retirement(0.5, 86400.0, keep_content=False)


@pytest.mark.parametrize(
    ("decided", "row", "line"),
    [
        (Pause(0.5, "why"), "paused", f"active, paused since {EPOCH}: why; softman resume basic"),
        (KEPT, "retired", f"retired since {EPOCH}; {BACK}"),
        (LOST, "retired", f"retired since {EPOCH}, removed after 1970-01-02 00:00:00 UTC; {BACK}"),
        (replace(LOST, dropped=True), "retired", f"retired since {EPOCH}; content and keys are removed"),
    ],
)
def test_status_tells_what_was_decided(
    softman: Any, backend: Any, decided: Pause | Retirement, row: str, line: str
) -> None:
    record = next(record for name in backend.registry.names() if (record := backend.registry.get(name)))
    if isinstance(decided, Pause):
        backend.registry.put(replace(record, pause=decided))
    else:
        backend.registry.put(replace(record, state=State.RETIRED, retirement=decided))
    assert softman("status").lines[0].split("\t")[2] == row
    (shown,) = [each for each in softman("status", "basic").lines if each.startswith("state")]
    assert shown.split(None, 1)[1] == line
