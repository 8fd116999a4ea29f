"""What ``Records`` promises of progress, held by Redis and by the memory version alike; and who records it."""

import pytest

from softman.adapters.memory import MemoryRecords
from softman.adapters.ports import Records
from softman.adapters.records import PROGRESS_SECONDS, RedisRecords
from softman.adapters.redis_client import key_name, redis_client
from softman.model import Refusal, SyncProgress
from softman.names import RepositoryName
from softman.services.counting import Amount
from softman.services.progress import ProgressRecorder
from softman.services.publication import Tally
from softman.standalone.stack import Stack


@pytest.fixture
def name(unique: str) -> RepositoryName:
    return RepositoryName(unique, "example.org")


def check(records: Records, name: RepositoryName) -> None:
    assert records.progress(name) is None
    progress = SyncProgress(str(name), "everything", 1.0, 3.0, 1000, 10, 2048, 50, 7, 4096)
    records.set_progress(name, progress)
    assert records.progress(name) == progress
    assert (progress.objects_per_second, progress.bytes_per_second) == (5.0, 1024.0)
    records.set_progress(name, None)
    assert records.progress(name) is None
    records.set_progress(name, None)


def test_progress_is_recorded_and_ends(name: RepositoryName) -> None:
    check(MemoryRecords(), name)


@pytest.mark.stack
def test_progress_in_redis_is_forgotten_by_itself(stack: Stack, name: RepositoryName) -> None:
    with redis_client(stack.redis_url) as client:
        records = RedisRecords(client)
        check(records, name)
        records.set_progress(name, SyncProgress(str(name), "everything", 1.0, 3.0))
        remaining = client.ttl(key_name(name, "progress"))
        assert isinstance(remaining, int)
        assert 0 < remaining <= PROGRESS_SECONDS
        client.set(key_name(name, "progress"), '{"unknown": 1}')
        assert records.progress(name) is None


def test_a_sync_adds_up_its_slices(name: RepositoryName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softman.services.progress._EVERY", 0.0)
    records = MemoryRecords()
    recorder = ProgressRecorder(
        records,
        name,
        "3 changed keys",
        compared=lambda: 9,
        left=lambda done: Amount(3 - done, 30 - done),
        clock=iter([10.0, 12.0, 14.0]).__next__,
    )
    tally = Tally(bytes_read=100)
    tally.refuse(Refusal("cvmfs/a", "why"))
    recorder.committed(tally, 5)
    assert records.progress(name) == SyncProgress(str(name), "3 changed keys", 10.0, 12.0, 9, 1, 100, 2, 5, 29)
    recorder.watch(tally)
    assert records.progress(name) == SyncProgress(str(name), "3 changed keys", 10.0, 14.0, 9, 2, 200, 1, 5, 28)
    recorder.end()
    assert records.progress(name) is None


def test_nobody_watching_stops_no_sync(name: RepositoryName, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softman.services.progress._EVERY", 0.0)
    with redis_client("redis://127.0.0.1:9/0") as client:
        recorder = ProgressRecorder(
            RedisRecords(client), name, "everything", compared=lambda: 0, left=lambda _done: None, clock=lambda: 1.0
        )
        recorder.watch(Tally())
        recorder.end()
