"""Asking for repositories and looking at them, on a service in memory."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from softman.cli.sender import Request
from softman.errors import NameTaken
from softman.model import Link, LinkProgress, LinkState, SyncProgress, SyncReport
from softman.model import Refusal as Refused
from softman.names import RepositoryName
from softman.tasks.catalogue import TaskSpec

Softman = Callable[..., Any]
_clock = itertools.count(1)


def _set_links(backend: Any, name: RepositoryName, state: LinkState, links: list[Link], detail: str = "") -> None:
    for link in links:
        backend.records.set_link(name, LinkProgress(link, state, float(next(_clock)), detail))


@pytest.fixture
def workers(backend: Any) -> Any:
    """Workers that finish the whole chain at once."""
    done = backend.on_send(TaskSpec("any", "any"))

    def play(_task: TaskSpec) -> Request:
        name = backend.register("alice") if backend.registry.get(ALICE) is None else ALICE
        _set_links(backend, name, LinkState.DONE, list(Link))
        return done  # type: ignore[no-any-return]

    backend.on_send = play
    return backend


ALICE = RepositoryName("alice", "example.org")
BASIC = RepositoryName("basic", "example.org")


def test_request_shows_every_link_and_where_to_go(softman: Softman, workers: Any) -> None:
    ended = softman("request", "alice", "--subject", "sub-alice")
    assert ended.code == 0
    assert [line.split("  ")[0].strip() for line in ended.lines[:5]] == [link.value for link in Link]
    assert "s3://alice/cvmfs/" in ended.lines[5]
    assert workers.sent == [("softman.provision", ("alice", "sub-alice", "personal", None))]


def test_request_for_a_group(softman: Softman, backend: Any) -> None:
    assert softman("request", "alice", "--group", "physics", "--no-wait").code == 0
    assert backend.sent == [("softman.provision", ("alice", "alice", "group", "physics"))]


@pytest.mark.usefixtures("workers")
def test_request_json_ends_with_the_repository(softman: Softman) -> None:
    objects = softman("request", "alice", "--json").objects
    assert [item["link"] for item in objects[:-1]] == [link.value for link in Link]
    assert objects[-1]["name"] == "alice.example.org"
    assert objects[-1]["owner"]["user"] == "alice"


def test_request_without_waiting_gives_the_task(softman: Softman) -> None:
    ended = softman("request", "alice", "--no-wait", "--json")
    assert ended.objects == [{"repository": "alice.example.org", "task_id": "task-1"}]


@pytest.mark.parametrize("user", ["No_Label", "a", "-x-", "alice.bob"])
def test_a_user_who_can_have_no_repository_is_told_before_anything_is_sent(
    user: str, softman: Softman, backend: Any
) -> None:
    ended = softman("request", "--", user)
    assert ended.code == 12
    assert backend.sent == []


def test_a_refused_request_gives_the_reason(softman: Softman, backend: Any) -> None:
    refused = type(backend.on_send(TaskSpec("any", "any")))(NameTaken("alice is a group"))
    backend.on_send = lambda _task: refused
    ended = softman("request", "alice")
    assert ended.code == 16
    assert "alice is a group" in ended.err


def test_a_link_that_failed_before_does_not_count_now(softman: Softman, workers: Any) -> None:
    workers.register("alice")
    _set_links(workers, ALICE, LinkState.FAILED, [Link.CONNECT_BUCKET], "the bucket is somebody else's")
    assert softman("request", "alice").code == 0


def test_a_link_that_fails_ends_the_waiting(softman: Softman, backend: Any) -> None:
    done = backend.on_send(TaskSpec("any", "any"))

    def play(_task: TaskSpec) -> Request:
        backend.register("alice")
        _set_links(backend, ALICE, LinkState.DONE, list(Link)[:3])
        _set_links(backend, ALICE, LinkState.FAILED, [Link.CONNECT_BUCKET], "the bucket is somebody else's")
        return done  # type: ignore[no-any-return]

    backend.on_send = play
    ended = softman("request", "alice")
    assert ended.code == 11
    assert "connect bucket: the bucket is somebody else's" in ended.err
    assert len(ended.lines) == 3


def test_waiting_ends_in_time_and_says_where(softman: Softman) -> None:
    ended = softman("request", "alice", "--timeout", "0")
    assert ended.code == 5
    assert "create repository" in ended.err


def test_status_lists_all_repositories(softman: Softman, backend: Any) -> None:
    backend.register("alice")
    rows = [line.split("\t") for line in softman("status").lines]
    assert [row[:4] for row in rows] == [
        ["alice.example.org", "alice", "active", "-"],
        ["basic.example.org", "basic", "active", "21"],
    ]


def test_status_of_one_shows_links_refusals_and_the_last_sync(softman: Softman, backend: Any) -> None:
    name = backend.register("alice")
    _set_links(backend, name, LinkState.DONE, [Link.CREATE_REPOSITORY], "revision 1")
    backend.records.set_refusals(name, [Refused("cvmfs/../x", "has '..'", "e")], None)
    backend.records.set_report(SyncReport(str(name), 3, "00", added=7, bytes_read=2048, seconds=1.5, finished_at=1.0))
    shown = softman("status", "alice").lines
    assert any("7 added" in line and "2.0 KiB" in line for line in shown)
    assert any(line.split("\t")[:2] == ["create repository", "done"] for line in shown)
    assert ["cvmfs/../x", "has '..'"] in [line.split("\t") for line in shown]


def test_status_json_is_whole(softman: Softman, backend: Any) -> None:
    name = backend.register("alice")
    backend.records.set_report(SyncReport(str(name), 3, "00", added=7))
    (described,) = softman("status", "alice", "--json").objects
    assert described["name"] == "alice.example.org"
    assert described["last"]["added"] == 7
    assert described["state"] == "active"


def test_status_of_an_unknown_repository(softman: Softman) -> None:
    ended = softman("status", "nobody")
    assert ended.code == 14
    assert "softman request nobody" in ended.err


def test_status_of_one_shows_what_it_holds_what_is_pending_and_what_goes_on(softman: Softman, backend: Any) -> None:
    backend.pending.add(BASIC, frozenset({"cvmfs/a", "cvmfs/b"}))
    progress = SyncProgress(
        str(BASIC), "everything", 10.0, 20.0, compared=5000, objects=20, bytes_read=10240, revision=7
    )
    backend.records.set_progress(BASIC, progress)
    backend.records.set_refusals(BASIC, [Refused(f"cvmfs/x{number:02}", "why") for number in range(12)], None)
    shown = softman("status", "basic").out.decode()
    assert "5,000 compared, 20 objects done (2/s), 10.0 KiB read (1.0 KiB/s), revision 7 is out" in shown
    assert "2 keys waiting, the whole bucket is to be compared" in shown
    assert "entries (0.0% of 10,000,000)" in shown
    assert "cvmfs/x09" in shown
    assert "cvmfs/x10" not in shown
    assert "and 2 more keys: softman refused basic" in shown
    (fields,) = softman("status", "basic", "--json").objects
    with backend.reader(BASIC).snapshot() as snapshot:
        total = snapshot.catalog.counters.total
    assert fields["usage"] == {"entries": total.entries, "bytes": total.file_size}
    assert fields["quotas"]["max_entries"] == 10_000_000
    assert fields["backlog"]["keys"] == ["cvmfs/a", "cvmfs/b"]
    assert len(fields["refusals"]) == 12


def test_what_a_repository_holds_is_unknown_while_it_cannot_be_read(softman: Softman, backend: Any) -> None:
    backend.register("alice")
    assert "unknown; 10,000,000 entries" in softman("status", "alice").out.decode()


def test_key_prints_what_clients_mount_with(softman: Softman) -> None:
    lines = softman("key", "basic").lines
    assert (lines[0], lines[-1]) == ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
    (described,) = softman("key", "basic", "--json").objects
    assert described["public_key"].splitlines() == lines
    assert described["url"].endswith("/basic.example.org")
    assert softman("key", "nobody").code == 14
