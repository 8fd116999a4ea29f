"""What ``softman status`` wants an administrator to look at."""

from typing import Any

from softman.model import Failure, Stranger
from softman.names import RepositoryName


def test_nothing_is_said_when_all_is_well(softman: Any) -> None:
    assert softman("status").err == ""


def test_a_missing_beat_and_refused_buckets_are_told(softman: Any, backend: Any) -> None:
    backend.clockwork.flush()
    backend.states.add_stranger(Stranger("b\x1b[1m", "there is no repository for this bucket", 1.0))
    told = softman("status").err
    assert "no beat runs" in told
    assert "events of the bucket b\\x1b[1m are refused: there is no repository" in told


def test_what_is_not_published_says_why_and_until_when(softman: Any, backend: Any) -> None:
    name = RepositoryName("basic", "example.org")
    backend.states.set_failure(name, Failure("over its quota", "candidate-refused", 0.5, 60.0, 2, 120.0))
    assert softman("status").lines[0].split("\t")[2] == "not published"
    shown = softman("status", "basic").out.decode()
    assert "2 attempts: over its quota; tried again at 1970-01-01 00:02:00 UTC" in shown
    (fields,) = softman("status", "basic", "--json").objects
    assert fields["failure"]["reason"] == "over its quota"
