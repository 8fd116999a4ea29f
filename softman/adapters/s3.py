"""Reading buckets of Ceph RGW (or any S3 store): the publishers' side, no writing.

Objects and listings come over lean clients of their own (``s3_get``, ``s3_http``), the rest over boto3.

``LastModified`` is cut to whole seconds everywhere: a HEAD or GET says it in seconds (RFC 9110), a listing in
milliseconds, and the two must be equal for an object that did not change.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NoReturn, Self

from botocore.exceptions import ClientError

from softman.adapters.curl import Answer
from softman.adapters.errormap import translated
from softman.adapters.ports import SMALL
from softman.adapters.s3_client import S3_TABLE, S3Access, code_of, s3_client, status_of
from softman.adapters.s3_get import GET_TABLE, ObjectHttp
from softman.adapters.s3_http import SignedHttp
from softman.adapters.s3_listing import Page, parse_page
from softman.errors import Conflict, ServiceUnavailable
from softman.model import BucketObject
from softman.settings import S3Settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAGE = 1000
"""Keys of a listing page, the most that S3 gives."""
PART = 4 * 1024 * 1024
"""Bytes of the parts in which large objects are read."""
_AHEAD = 2
"""Parts of an object that are read at the same time, ahead of the one in use."""
_META = "x-amz-meta-"
_NOT_FOUND = 404
_CHANGED = frozenset({412, 416})
"""What a read of the rest is answered with when the object is another one, perhaps a shorter one."""


class S3Buckets:
    """``BucketReader`` on an object store. Threads may share it.

    Args:
        access: the object store and the reader's credential.
        threads: how many threads read at once, for which the connection pool has room; each ``read_small`` reads
            half as many objects at once.
        page: keys of a listing page, for tests.
        part: bytes of the parts in which large objects are read, for tests.
    """

    def __init__(self, access: S3Access, *, threads: int = 8, page: int = PAGE, part: int = PART) -> None:
        self._client: S3Client = s3_client(access, connections=threads)
        self._http = SignedHttp(access, connections=threads)
        self._objects = ObjectHttp(access, connections=max(2, threads // 2))
        self._page_size = page
        self._part = part

    @classmethod
    def from_settings(cls, settings: S3Settings, *, threads: int) -> Self:
        """Read with the publishers' credential."""
        return cls(reader_access(settings), threads=threads)

    def owner(self, bucket: str) -> str:
        """See ``BucketReader.owner``."""
        return bucket_owner(self._client, bucket)

    def list_objects(self, bucket: str, prefix: str, after: str = "") -> Iterator[BucketObject]:
        """See ``BucketReader.list_objects``; the next page is fetched while the present one is used.

        Errors come while iterating.

        Raises:
            Corrupt: the listing is not in order.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="listing") as pool:
            coming: Future[Page] | None = pool.submit(self._page, bucket, prefix, after)
            while coming is not None:
                page = coming.result()
                coming = pool.submit(self._page, bucket, prefix, page.last) if page.more else None
                yield from page.objects

    def _page(self, bucket: str, prefix: str, after: str) -> Page:
        query = {"list-type": "2", "encoding-type": "url", "max-keys": str(self._page_size), "prefix": prefix}
        if after:  # not the continuation token: RGW gives it unencoded, and XML changes a carriage return in it
            query["start-after"] = after
        with translated(S3_TABLE, f"list bucket {bucket}"):
            body = self._http.request("GET", f"/{bucket}", query)
        return parse_page(body, bucket, after)

    def head(self, bucket: str, key: str) -> BucketObject | None:
        """See ``BucketReader.head``.

        Raises:
            NotFound: the bucket does not exist.
        """
        with translated(S3_TABLE, f"look up an object of bucket {bucket}"):
            try:
                return _from_head(key, self._client.head_object(Bucket=bucket, Key=key))
            except ClientError as exc:
                if status_of(exc) != _NOT_FOUND:
                    raise
        # A HEAD has no body to say what is missing. If it is the bucket, its repository must not be emptied.
        with self.read(bucket, key) as body:
            return None if body is None else body.info

    @contextmanager
    def read(self, bucket: str, key: str) -> Iterator["S3Body | None"]:
        """See ``BucketReader.read``; of a large object, what is not read is hardly transferred.

        Raises:
            NotFound: the bucket does not exist.
        """
        with translated(GET_TABLE, f"read an object of bucket {bucket}"):
            try:
                answer = self._objects.get(bucket, key, limit=self._part)
            except ClientError as exc:
                if not _is_missing(exc, bucket):
                    raise
                answer = None
        yield None if answer is None else S3Body(self._objects, bucket, key, answer, self._part)

    def read_small(self, bucket: str, keys: Iterable[str]) -> Iterator["S3Body"]:
        """See ``BucketReader.read_small``; over a few connections from this thread."""
        for key, answer in self._objects.get_many(bucket, keys, SMALL):
            with suppress(ServiceUnavailable):  # no answer of an object store
                yield S3Body(self._objects, bucket, key, answer, self._part)


class S3Body:
    """``ObjectBody`` whose beginning is read; the rest comes in parts, some of them ahead.

    Args:
        objects: where the rest is read.
        bucket: the bucket's name.
        key: the object's.
        answer: to the first GET.
        part: bytes of a part.
    """

    def __init__(self, objects: ObjectHttp, bucket: str, key: str, answer: Answer, part: int) -> None:
        self.info = _from_headers(bucket, key, answer)
        """What the object is, from the headers of the GET itself."""
        self._objects = objects
        self._bucket = bucket
        self._first = answer
        self._part = part

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces of up to 256 KiB; of what is to come, up to four parts are in memory.

        Raises:
            Conflict: the object is another one by now.
            ServiceUnavailable: the answer broke off, or did not go on in time.
        """
        first, self._first = self._first, Answer()
        if first.size < self.info.size:
            return chain(first.pieces, self._rest(first.size))
        return iter(first.pieces)

    def _rest(self, offset: int) -> Iterator[bytes]:
        starts = iter(range(offset, self.info.size, self._part))
        with ThreadPoolExecutor(_AHEAD, thread_name_prefix="parts") as pool:
            coming = deque(pool.submit(self._get_part, start) for start in islice(starts, _AHEAD))
            while coming:
                pieces = coming.popleft().result()
                coming.extend(pool.submit(self._get_part, start) for start in islice(starts, 1))
                yield from pieces

    def _get_part(self, start: int) -> list[bytes]:
        stop = min(start + self._part, self.info.size)
        more = [f"Range: bytes={start}-{stop - 1}", f'If-Match: "{self.info.etag}"']
        with translated(GET_TABLE, f"read on in an object of bucket {self._bucket}"):
            try:
                answer = self._objects.get(self._bucket, self.info.key, more=more)
            except ClientError as exc:
                if status_of(exc) in _CHANGED or _is_missing(exc, self._bucket):
                    self._has_changed(exc)
                raise
        if answer.headers.get("etag", "").strip('"') != self.info.etag:  # the condition was ignored
            self._has_changed(None)
        if answer.size != stop - start:
            msg = f"{self.info.key}: the object store gave {answer.size} bytes for a range of {stop - start}"
            raise ServiceUnavailable(msg)
        return answer.pieces

    def _has_changed(self, cause: Exception | None) -> NoReturn:
        msg = f"{self.info.key} changed while it was read"
        raise Conflict(msg) from cause


def reader_access(settings: S3Settings) -> S3Access:
    """The object store with the publishers' credential."""
    credential = settings.reader
    secret = credential.secret_key.get_secret_value()
    return S3Access(settings.endpoint, credential.access_key, secret, settings.region, ca_file=settings.ca_file)


def bucket_owner(client: "S3Client", bucket: str) -> str:
    """The uid of the bucket's owner. RGW keeps the owner in the ACL equal to the bucket's and lets nobody change it."""
    with translated(S3_TABLE, f"look up the owner of bucket {bucket}"):
        return client.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]


def _is_missing(exc: ClientError, bucket: str) -> bool:
    """Whether ``exc`` says that there is no such object."""
    if status_of(exc) == _NOT_FOUND and not code_of(exc):
        # A proxy on the way, not the object store: never a reason to take a file for deleted.
        msg = f"cannot read bucket {bucket}: the answer 404 is not one of an object store"
        raise ServiceUnavailable(msg) from exc
    return code_of(exc) == "NoSuchKey"


def _from_head(key: str, answer: Any) -> BucketObject:
    return BucketObject(
        key,
        answer["ContentLength"],
        answer["ETag"].strip('"'),
        float(int(answer["LastModified"].timestamp())),
        {name.lower(): value for name, value in answer.get("Metadata", {}).items()},
    )


def _from_headers(bucket: str, key: str, answer: Answer) -> BucketObject:
    headers = answer.headers
    try:
        return BucketObject(
            key,
            int(headers["content-length"]),
            headers["etag"].strip('"'),
            _time(headers["last-modified"]),
            {name.removeprefix(_META): value for name, value in headers.items() if name.startswith(_META)},
        )
    except (KeyError, ValueError) as exc:
        msg = f"cannot read bucket {bucket}: an answer lacks what one of an object store has: {exc}"
        raise ServiceUnavailable(msg) from exc


@lru_cache(maxsize=1024)
def _time(text: str) -> float:
    """Unix time; many objects are written in the same second."""
    return parsedate_to_datetime(text).timestamp()
