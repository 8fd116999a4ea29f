"""The answers of the door for commits."""

from pathlib import Path
from typing import Any

import pytest

from softman import wiring
from softman.adapters.audit import AuditFiles
from softman.errors import CandidateRefused, Conflict, Forbidden, NotFound, PermanentError
from softman.model import Base, CommitAnswer, CommitRequest
from softman.tasks.payloads import commit_request_to_json
from workers.commit import commit

REQUEST = CommitRequest("alice.example.org", "t1", Base(7, "a" * 40), "b" * 40, "key", "signature")


class Service:
    """A stratum 0 that answers, or raises, what it is given."""

    def __init__(self, answer: CommitAnswer | Exception) -> None:
        self.answer = answer

    def commit(self, request: CommitRequest) -> CommitAnswer:
        assert request == REQUEST
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def _commit(monkeypatch: pytest.MonkeyPatch, answer: CommitAnswer | Exception) -> dict[str, Any]:
    monkeypatch.setattr(wiring, "stratum0", lambda _settings: Service(answer))
    return commit(commit_request_to_json(REQUEST))


def test_a_commit_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = _commit(monkeypatch, CommitAnswer(committed=True, current=Base(8, "b" * 40)))
    assert answer == {"committed": True, "revision": 8, "root_hash": "b" * 40, "reason": ""}


@pytest.mark.parametrize("error", [CandidateRefused("no"), Forbidden("no"), NotFound("no")])
def test_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch, error: PermanentError) -> None:
    assert _commit(monkeypatch, error) == {"refused": error.code, "reason": "no"}


def test_a_request_that_cannot_be_read_is_refused() -> None:
    assert commit({"schema": 1}) == {"refused": "invalid", "reason": "the field 'base' is missing"}


def test_every_commit_is_in_the_audit_log(monkeypatch: pytest.MonkeyPatch, audit_log: AuditFiles) -> None:
    _commit(monkeypatch, CommitAnswer(committed=True, current=Base(8, "b" * 40)))
    _commit(monkeypatch, CommitAnswer(committed=False, current=Base(8, "b" * 40), reason="others were first"))
    _commit(monkeypatch, Forbidden("not signed"))
    with pytest.raises(Conflict):
        _commit(monkeypatch, Conflict("later"))
    events = list(audit_log.events())
    assert [(event["outcome"], event["detail"]) for event in events] == [
        ("done", ""),
        ("conflict", "others were first"),
        ("refused", "forbidden: not signed"),
        ("postponed", "conflict: later"),
    ]
    assert {event["repository"] for event in events} == {REQUEST.repository}
    assert (events[0]["revision"], events[0]["key"]) == (8, "key")
    assert REQUEST.signature not in str(events)


def test_a_log_that_cannot_be_written_stops_no_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "audit").write_bytes(b"in the way")
    assert _commit(monkeypatch, CommitAnswer(committed=True, current=Base(8, "b" * 40)))["committed"]
    assert "event is not in the audit log" in "".join(capfd.readouterr())


def test_what_passes_is_for_the_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Conflict):
        _commit(monkeypatch, Conflict("somebody else was first"))
