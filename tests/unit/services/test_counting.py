import threading
from collections.abc import Iterator

import pytest

from softman.errors import ServiceUnavailable
from softman.model import BucketObject
from softman.services.counting import Amount, Countdown

OBJECTS = [BucketObject(f"cvmfs/{number}", 10 + number, "etag", 1.0) for number in range(4)]


def wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "countdown":
            thread.join()


def test_what_is_left_is_counted_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softman.services.counting._LONG", 0.0)
    countdown = Countdown(lambda: iter(OBJECTS))
    passing = countdown.passing(iter(OBJECTS))
    assert next(passing) == OBJECTS[0]
    countdown.left()
    wait_for_threads()
    assert countdown.left() == Amount(3, 11 + 12 + 13)
    assert list(passing) == OBJECTS[1:]
    assert countdown.left() == Amount(0, 0)
    assert list(countdown.passing(iter(OBJECTS))) == OBJECTS  # the bucket has grown meanwhile
    assert countdown.left() == Amount(0, 0)
    countdown.close()


def test_short_comparisons_have_nothing_counted() -> None:
    def listing() -> Iterator[BucketObject]:
        pytest.fail("the bucket is listed a second time")

    countdown = Countdown(listing)
    assert countdown.left() is None
    countdown.close()


def test_a_bucket_that_cannot_be_listed_only_leaves_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softman.services.counting._LONG", 0.0)

    def listing() -> Iterator[BucketObject]:
        yield OBJECTS[0]
        msg = "away"
        raise ServiceUnavailable(msg)

    countdown = Countdown(listing)
    assert countdown.left() is None
    wait_for_threads()
    assert countdown.left() is None
    countdown.close()


def test_counting_ends_with_the_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("softman.services.counting._LONG", 0.0)
    counted = threading.Event()

    def listing() -> Iterator[BucketObject]:
        while True:
            counted.set()
            yield OBJECTS[0]

    countdown = Countdown(listing)
    countdown.left()
    assert counted.wait(60)
    countdown.close()
    assert "countdown" not in {thread.name for thread in threading.enumerate()}
