"""What the errors of botocore mean for repository storage."""

from collections.abc import Iterator

import pytest
from botocore import exceptions as boto

from softman.adapters.s3_client import S3_TABLE
from softman.adapters.s3_objects import Changed, in_threads, store_errors
from softman.cvmfs.errors import ObjectMissing, StoreError, StoreUnavailable


def answer(status: int, code: str = "", operation: str = "GetObject") -> boto.ClientError:
    # botocore puts the status in place of a code that is not there
    return boto.ClientError(
        {"Error": {"Code": code or str(status)}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (answer(404, "NoSuchKey"), ObjectMissing),
        (answer(404, operation="HeadObject"), ObjectMissing),
        (answer(404), StoreUnavailable),  # of a proxy on the way: never a reason to take a file for missing
        (answer(404, "NoSuchBucket"), StoreError),
        (answer(403, "AccessDenied"), StoreError),
        (answer(403, operation="HeadObject"), StoreError),
        (answer(400, "EntityTooLarge"), StoreError),
        (answer(412, "PreconditionFailed", "CopyObject"), Changed),
        (answer(503, "SlowDown"), StoreUnavailable),
        (answer(500), StoreUnavailable),
        (answer(409, "OperationAborted", "PutObject"), StoreUnavailable),
        (boto.EndpointConnectionError(endpoint_url="http://x"), StoreUnavailable),
        (boto.ReadTimeoutError(endpoint_url="http://x"), StoreUnavailable),
        (boto.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnavailable),
        (boto.ParamValidationError(report="x"), StoreError),
    ],
)
def test_errors_have_our_names(error: Exception, meaning: type[StoreError]) -> None:
    with pytest.raises(StoreError) as caught, store_errors("root/name"):
        raise error
    assert type(caught.value) is meaning
    assert str(caught.value).startswith("root/name")
    assert caught.value.__cause__ is error


def test_all_that_the_client_may_raise_is_known() -> None:
    assert boto.BotoCoreError in S3_TABLE  # the root of all but ClientError
    with pytest.raises(KeyError), store_errors("x"):
        raise KeyError


def test_threads_stop_at_the_first_error() -> None:
    taken = []

    def items() -> Iterator[int]:
        for number in range(10_000):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number == 0:
            raise ObjectMissing("0")
        return number

    with pytest.raises(ObjectMissing):
        in_threads(work, items())
    assert len(taken) == 1000


def test_threads_give_results_in_order() -> None:
    assert in_threads(lambda number: number + 1, range(2500)) == list(range(1, 2501))
    assert in_threads(str, []) == []
