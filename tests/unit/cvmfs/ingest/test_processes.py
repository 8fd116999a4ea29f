"""Worker processes: results, errors and much data come through, and one that is killed is noticed."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from softman.cvmfs.errors import CvmfsError, SourceError
from softman.cvmfs.ingest.processes import Outcome, Processes


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes(2)
    yield made
    made.close()


def test_results_carry_the_numbers_of_their_jobs(processes: Processes) -> None:
    numbers = {processes.submit(str.upper, text): text for text in "abcdefgh"}
    assert {numbers[number]: result for number, result in _all(processes, 8).items()} == {
        text: (True, text.upper()) for text in "abcdefgh"
    }


def test_questions_and_answers_larger_than_pipes_do_not_block_each_other(processes: Processes) -> None:
    data = bytes(3_000_000)
    numbers = [processes.submit(bytes.__add__, data, b"1") for _ in range(6)]
    done = _all(processes, 6)
    assert sorted(done) == numbers
    assert all(outcome == (True, data + b"1") for outcome in done.values())


def test_errors_come_back_and_the_process_goes_on(processes: Processes) -> None:
    failed = processes.submit(_fail)
    is_done, error = _all(processes, 1)[failed]
    assert not is_done
    assert (type(error), str(error)) == (SourceError, "no such file")
    assert list(_all(processes, 2, processes.submit(int, "7"), processes.submit(int, "7")).values()) == [(True, 7)] * 2


def test_a_process_that_is_killed_is_noticed(processes: Processes) -> None:
    number = processes.submit(os.getpid)
    _, process = _all(processes, 1)[number]
    processes.submit(os.kill, process, signal.SIGKILL)
    with pytest.raises(CvmfsError, match="ended from outside"):
        processes.wait()


def test_where_there_are_threads_processes_are_started_afresh() -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        processes = Processes(1)
        number = processes.submit(bytes.upper, b"a")
        assert processes.wait() == [(number, (True, b"A"))]
        processes.close()
    finally:
        done.set()
        thread.join()


def _fail() -> None:
    raise SourceError("no such file")


def _all(processes: Processes, count: int, *_numbers: int) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}
    while len(found) < count:
        found |= processes.wait()
    return found
