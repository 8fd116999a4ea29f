"""What ``Records`` promises, held by Redis and by the memory version alike."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
import redis

from softman.adapters.memory import MemoryRecords
from softman.adapters.ports import Records
from softman.adapters.records import MAX_FAULTS, MAX_REFUSALS, MAX_REPORTED, MAX_REPORTS, MAX_TEXT, RedisRecords
from softman.adapters.redis_client import key_name, redis_client
from softman.errors import ServiceUnavailable
from softman.model import Fault, Link, LinkProgress, LinkState, Refusal, RetirementLink, SyncReport
from softman.names import RepositoryName
from softman.standalone.stack import Stack

ODD_KEYS = ("", "cvmfs/\x00", "cvmfs/new\nline", "cvmfs/\u00fc\U0001f600", "cvmfs/\ud800")


@pytest.fixture
def redis_server(stack: Stack) -> Iterator[redis.Redis]:
    with redis_client(stack.redis_url) as client:
        yield client


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.stack)])
def records(request: pytest.FixtureRequest) -> Records:
    if request.param == "memory":
        return MemoryRecords()
    return RedisRecords(request.getfixturevalue("redis_server"))


@pytest.fixture
def name(unique: str) -> RepositoryName:
    return RepositoryName(unique, "example.org")


def test_nothing_is_recorded_to_begin_with(records: Records, name: RepositoryName) -> None:
    assert records.links(name) == []
    assert records.last_report(name) is None
    assert records.reports(name) == []
    assert records.refusals(name) == []


def test_links_come_in_the_order_of_the_chain_and_as_last_set(records: Records, name: RepositoryName) -> None:
    for link in reversed(Link):
        records.set_link(name, LinkProgress(link, LinkState.WAITING, 1.5))
    done = LinkProgress(Link.PUBLISH_KEYS, LinkState.DONE, 1700000000.25, "two lines\n\u00fc \U0001f600")
    records.set_link(name, done)
    found = records.links(name)
    assert [each.link for each in found] == list(Link)
    assert found[1] == done
    assert found[0] == LinkProgress(Link.CREATE_REPOSITORY, LinkState.WAITING, 1.5)


def test_chains_are_apart(records: Records, name: RepositoryName) -> None:
    records.set_link(name, LinkProgress(Link.FIRST_SYNC, LinkState.DONE, 1.0))
    revoked = LinkProgress(RetirementLink.REVOKE_KEYS, LinkState.RUNNING, 2.0)
    records.set_link(name, revoked)
    assert records.links(name, RetirementLink) == [revoked]
    assert [each.link for each in records.links(name)] == [Link.FIRST_SYNC]


def test_faults_are_replaced_and_bounded(records: Records, name: RepositoryName) -> None:
    assert records.faults(name) == []
    fault = Fault("ab", "/a\n", "m" * MAX_TEXT, 1.5)
    records.set_faults(name, (replace(fault, message="m" * 2 * MAX_TEXT), *[fault] * MAX_FAULTS))
    assert records.faults(name) == [fault] * MAX_FAULTS
    records.set_faults(name, ())
    assert records.faults(name) == []


def test_repositories_are_apart(records: Records, name: RepositoryName) -> None:
    other = RepositoryName(f"{name.label}-b", name.domain)
    records.set_link(name, LinkProgress(Link.FIRST_SYNC, LinkState.DONE, 1.0))
    records.set_report(SyncReport(str(name), 1, "aa"))
    records.set_refusals(name, [Refusal("k", "r")], None)
    assert (records.links(other), records.last_report(other), records.refusals(other)) == ([], None, [])
    assert records.reports(other) == []


def test_the_last_report_comes_back_whole(records: Records, name: RepositoryName) -> None:
    report = SyncReport(
        str(name), 7, "0123abcd", 1, 2, 3, 4, 5_000_000_000, 0.25, 1700000000.5,
        tuple(Refusal(key, "why\nnot", "etag") for key in ODD_KEYS), scope="\u00fc\U0001f600",
    )  # fmt: skip
    records.set_report(SyncReport(str(name), 6, "ff"))
    records.set_report(report)
    assert records.last_report(name) == replace(report, refusals=len(ODD_KEYS))


def test_the_last_syncs_come_newest_first_and_are_bounded(records: Records, name: RepositoryName) -> None:
    made = [SyncReport(str(name), number, "aa", finished_at=float(number)) for number in range(1, MAX_REPORTS + 4)]
    for report in made[:3]:
        records.set_report(report)
    assert records.reports(name) == made[2::-1]
    for report in made[3:]:
        records.set_report(report)
    assert records.reports(name) == made[:2:-1]
    assert records.last_report(name) == made[-1]


def test_a_report_and_texts_are_bounded(records: Records, name: RepositoryName) -> None:
    refused = tuple(Refusal(f"k{number}", "r" * 10_000) for number in range(3 * MAX_REPORTED))
    records.set_report(SyncReport(str(name), 1, "aa", refused=refused))
    records.set_link(name, LinkProgress(Link.FIRST_SYNC, LinkState.FAILED, 1.0, "d" * 10_000))
    records.set_refusals(name, list(refused[:2]), None)
    found = records.last_report(name)
    assert found is not None
    assert found.refused == tuple(replace(each, reason="r" * MAX_TEXT) for each in refused[:MAX_REPORTED])
    assert found.refusals == len(refused)
    assert records.links(name)[0].detail == "d" * MAX_TEXT
    assert {each.reason for each in records.refusals(name)} == {"r" * MAX_TEXT}


def test_refusals_are_sorted_and_survive_any_key(records: Records, name: RepositoryName) -> None:
    refused = [Refusal(key, f"reason of {key!r}", "etag") for key in ODD_KEYS]
    records.set_refusals(name, refused[::-1], None)
    assert records.refusals(name) == sorted(refused, key=lambda each: each.key)


def test_refusals_are_replaced_for_the_keys_cleared(records: Records, name: RepositoryName) -> None:
    records.set_refusals(name, [Refusal("a", "1"), Refusal("b", "1"), Refusal("c", "1")], None)
    records.set_refusals(name, [Refusal("b", "2"), Refusal("d", "2")], frozenset({"a", "b", "x"}))
    assert records.refusals(name) == [Refusal("b", "2"), Refusal("c", "1"), Refusal("d", "2")]
    records.set_refusals(name, [], frozenset())
    assert len(records.refusals(name)) == 3
    records.set_refusals(name, [Refusal("e", "3")], None)
    assert records.refusals(name) == [Refusal("e", "3")]
    records.set_refusals(name, [], None)
    assert records.refusals(name) == []


def test_refusals_are_bounded(records: Records, name: RepositoryName) -> None:
    refused = [Refusal(f"k{number:06d}", "r") for number in range(MAX_REFUSALS + 10)]
    records.set_refusals(name, refused, None)
    assert records.refusals(name) == refused[:MAX_REFUSALS]
    records.set_refusals(name, [Refusal("k000000", "new"), Refusal("z", "no room")], frozenset())
    assert records.refusals(name)[0] == Refusal("k000000", "new")
    assert len(records.refusals(name)) == MAX_REFUSALS
    records.set_refusals(name, [Refusal("z", "room")], frozenset({"k000001"}))
    assert records.refusals(name)[-1] == Refusal("z", "room")


@pytest.mark.stack
def test_everything_expires_and_lies_under_its_repository(redis_server: redis.Redis, name: RepositoryName) -> None:
    records = RedisRecords(redis_server)
    records.set_link(name, LinkProgress(Link.FIRST_SYNC, LinkState.DONE, 1.0))
    records.set_report(SyncReport(str(name), 1, "aa"))
    records.set_refusals(name, [Refusal("a", "r")], None)
    for what in ("links", "reports", "refusals"):
        remaining = redis_server.ttl(key_name(name, what))
        assert isinstance(remaining, int)
        assert 0 < remaining <= 90 * 24 * 3600


@pytest.mark.stack
def test_what_another_version_wrote_counts_as_lost(redis_server: redis.Redis, name: RepositoryName) -> None:
    records = RedisRecords(redis_server)
    redis_server.hset(key_name(name, "links"), "first sync", '["flying", 1.0, ""]')
    redis_server.lpush(key_name(name, "reports"), '{"unknown": 1, "refused": []}')
    redis_server.hset(key_name(name, "refusals"), "k", "no json")
    assert (records.links(name), records.last_report(name), records.refusals(name)) == ([], None, [])
    records.set_report(SyncReport(str(name), 1, "aa"))
    assert records.reports(name) == [SyncReport(str(name), 1, "aa")]


@pytest.mark.stack
def test_a_report_that_was_sent_twice_is_shown_once(redis_server: redis.Redis, name: RepositoryName) -> None:
    records = RedisRecords(redis_server)
    records.set_report(SyncReport(str(name), 1, "aa"))
    records.set_report(SyncReport(str(name), 1, "aa"))
    assert len(records.reports(name)) == 1


def test_a_redis_that_does_not_answer_is_unavailable(name: RepositoryName) -> None:
    with redis_client("redis://127.0.0.1:9/0") as client, pytest.raises(ServiceUnavailable):
        RedisRecords(client).links(name)
