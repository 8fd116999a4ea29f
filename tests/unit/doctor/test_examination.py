"""What the answers of workers mean, what of a repository is noticed, and how findings are put together."""

import time
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import pytest

from softman.doctor import examination, repositories
from softman.doctor.finding import Finding, Health, broken, fine, warning
from softman.doctor.workers import compared_versions
from softman.errors import InvalidInput, ServiceUnavailable
from softman.model import Failure, Link, LinkProgress, LinkState, RepositoryStatus, State
from softman.names import Owner, RepositoryName
from softman.settings import load_settings
from workers.remote import softman_version

DAY = 86400.0
SETTINGS = load_settings()
SOUND = RepositoryStatus(RepositoryName("alice", "example.org"), State.ACTIVE, Owner("alice", "alice"), "http://x", 7)


def test_workers_of_one_version() -> None:
    answers = {"a@host": softman_version(None), "b@host": softman_version(None)}
    (finding,) = compared_versions(answers)
    assert (finding.health, finding.what) == (
        Health.FINE,
        f"2 workers run softman {version('softman')}: a@host, b@host",
    )


def test_a_worker_of_another_version_is_named() -> None:
    found = list(compared_versions({"a@host": softman_version(None), "b@host": {"version": "0.0.1"}, "c@host": {}}))
    assert any("b@host" in each.what and each.health is Health.WARNING for each in found)
    assert any("c@host" in each.what and "older" in each.what for each in found)


def test_no_worker() -> None:
    (finding,) = compared_versions({})
    assert finding.health is Health.BROKEN


def _of(described: RepositoryStatus, expires: float | None) -> list[Finding]:
    return list(repositories._one(SETTINGS, described, expires))


@pytest.mark.parametrize(
    ("described", "days", "says"),
    [
        (SOUND, 20.0, None),
        (SOUND, 3.0, "expires in 3.0 days"),
        (SOUND, -1.0, "has expired"),
        (SOUND, None, "cannot be read"),
        (replace(SOUND, revision=None), 20.0, "cannot be read at http://x"),
        (replace(SOUND, state=State.REQUESTED, revision=None), None, None),
        (replace(SOUND, failure=Failure("no room", "x", 1, 2, 3, 4)), 20.0, "not published: no room"),
        (
            replace(SOUND, links=(LinkProgress(Link.PUBLISH_KEYS, LinkState.FAILED, 1.0, "forbidden"),)),
            20.0,
            "stopped at publish keys: forbidden",
        ),
    ],
)
def test_a_repository(described: RepositoryStatus, days: float | None, says: str | None) -> None:
    found = _of(described, None if days is None else time.time() + days * DAY)
    assert [says in finding.what for finding in found if says] == ([True] if says else [])
    assert all(finding.repair for finding in found)


def test_the_worst_counts() -> None:
    assert examination.worst([]) is Health.FINE
    assert examination.worst([fine("a", "x"), warning("a", "x", "y")]) is Health.WARNING
    assert examination.worst([broken("a", "x", "y"), fine("a", "x")]) is Health.BROKEN


def test_an_area_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_settings: Any) -> Any:
        msg = "it is away"
        raise ServiceUnavailable(msg)
        yield

    monkeypatch.setitem(examination.AREAS, "cache", check)
    (finding,) = examination.examine(SETTINGS, ["cache"])
    assert (finding.area, finding.health, finding.what) == ("cache", Health.BROKEN, "it is away")


def test_an_unknown_area_is_refused() -> None:
    with pytest.raises(InvalidInput, match="there are host, broker"):
        list(examination.examine(SETTINGS, ["moon"]))
