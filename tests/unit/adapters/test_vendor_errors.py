"""Each exception of botocore and redis-py means something of ours; new ones are noticed."""

import pytest
from botocore import exceptions as boto
from redis import exceptions as vendor

from softman.adapters.errormap import meaning_of, unmapped
from softman.adapters.redis_client import REDIS_TABLE
from softman.adapters.s3_client import S3_TABLE, is_passing
from softman.errors import Conflict, Forbidden, InvalidInput, NotFound, ServiceUnavailable, SoftmanError

# What redis-py raises for uses that we do not make of it (locks, subscriptions, transactions), or turns into another.
UNUSED = {
    "AskError", "ChildDeadlockedError", "ClusterCrossSlotError", "CrossSlotTransactionError", "DataError",
    "ExecAbortError", "IncorrectPolicyType", "InvalidPipelineStack", "LockError", "LockNotOwnedError",
    "MasterDownError", "MaxConnectionsError", "ModuleError", "MovedError", "NoScriptError", "NoSuchFieldsetError",
    "PubSubError", "RedisClusterException", "SlotNotCoveredError", "WatchError",
}  # fmt: skip


def client_error(code: str, status: int) -> boto.ClientError:
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(answer, "GetObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("NoSuchBucket", 404, NotFound),
        ("NoSuchKey", 404, NotFound),
        ("NoSuchUser", 404, NotFound),
        ("404", 404, NotFound),
        ("AccessDenied", 403, Forbidden),
        ("403", 403, Forbidden),
        ("InvalidAccessKeyId", 403, Forbidden),
        ("SignatureDoesNotMatch", 403, Forbidden),
        ("RequestTimeTooSkewed", 403, Forbidden),
        ("BucketAlreadyExists", 409, Forbidden),
        ("TooManyBuckets", 400, Forbidden),
        ("OperationAborted", 409, Conflict),
        ("SlowDown", 503, ServiceUnavailable),
        ("ServiceUnavailable", 503, ServiceUnavailable),
        ("InternalError", 500, ServiceUnavailable),
        ("502", 502, ServiceUnavailable),
        ("429", 429, ServiceUnavailable),
        ("RequestTimeout", 400, ServiceUnavailable),
        ("InternalError", 200, ServiceUnavailable),
        ("InvalidBucketName", 400, InvalidInput),
        ("Unknown", 400, InvalidInput),
    ],
)
def test_answers_of_the_object_store(code: str, status: int, expected: type[SoftmanError]) -> None:
    exc = client_error(code, status)
    meaning = meaning_of(S3_TABLE, exc)
    assert meaning is not None
    assert meaning.error is expected
    assert is_passing(exc) == (expected is ServiceUnavailable)


@pytest.mark.parametrize(
    "cls",
    [cls for cls in vars(boto).values() if isinstance(cls, type) and issubclass(cls, boto.BotoCoreError)],
    ids=lambda cls: cls.__name__,
)
def test_every_exception_of_botocore_is_ours_and_the_network_passes(cls: type[boto.BotoCoreError]) -> None:
    meaning = meaning_of(S3_TABLE, cls.__new__(cls))
    assert meaning is not None
    network = (boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError, boto.ResponseStreamingError)
    if issubclass(cls, network):
        assert meaning.error is ServiceUnavailable


@pytest.mark.parametrize(
    ("exc", "expected"),
    [
        (vendor.ConnectionError("refused"), ServiceUnavailable),
        (vendor.TimeoutError(), ServiceUnavailable),
        (vendor.BusyLoadingError(), ServiceUnavailable),
        (vendor.ReadOnlyError("replica"), ServiceUnavailable),
        (vendor.OutOfMemoryError("maxmemory"), ServiceUnavailable),
        (vendor.MasterDownError("down"), ServiceUnavailable),
        (vendor.MaxConnectionsError("many"), ServiceUnavailable),
        (vendor.ResponseError("MISCONF cannot save to disk"), ServiceUnavailable),
        (vendor.ResponseError("NOREPLICAS not enough"), ServiceUnavailable),
        (vendor.AuthenticationError("wrong"), Forbidden),
        (vendor.NoPermissionError("no"), Forbidden),
        (vendor.ResponseError("WRONGPASS invalid"), Forbidden),
        (vendor.ResponseError("unknown command"), InvalidInput),
        (vendor.DataError("no"), InvalidInput),
    ],
    ids=repr,
)
def test_errors_of_redis(exc: Exception, expected: type[SoftmanError]) -> None:
    meaning = meaning_of(REDIS_TABLE, exc)
    assert meaning is not None
    assert meaning.error is expected


def test_new_exceptions_of_redis_are_noticed() -> None:
    assert unmapped(REDIS_TABLE, vendor) == UNUSED
