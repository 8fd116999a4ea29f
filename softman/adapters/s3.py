"""Reading buckets of Ceph RGW (or any S3 store) with boto3: the publishers' side, no writing.

``LastModified`` is cut to whole seconds everywhere: a HEAD or GET says it in seconds (RFC 9110), a listing in
milliseconds, and the two must be equal for an object that did not change.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from botocore.exceptions import ClientError

from softman.adapters.errormap import translated
from softman.adapters.s3_client import S3_TABLE, S3Access, code_of, s3_client, status_of
from softman.adapters.s3_http import SignedHttp
from softman.adapters.s3_listing import Page, parse_page
from softman.errors import ServiceUnavailable, SoftmanError
from softman.model import BucketObject
from softman.settings import S3Settings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

CHUNK = 1024 * 1024
"""Bytes of an object body in memory at once."""
PAGE = 1000
"""Keys of a listing page, the most that S3 gives."""
_NOT_FOUND = 404

_DRAINED = 256 * 1024
"""Bodies of up to so many bytes are read to their end, so that their connection serves the next request."""


class S3Buckets:
    """``BucketReader`` on boto3. Threads may share it.

    Args:
        access: the object store and the reader's credential.
        threads: how many threads read at once; the connection pool has room for them.
        page: keys of a listing page, for tests.
    """

    def __init__(self, access: S3Access, *, threads: int = 8, page: int = PAGE) -> None:
        self._client: S3Client = s3_client(access, connections=threads)
        self._http = SignedHttp(access, connections=threads)
        self._page_size = page

    @classmethod
    def from_settings(cls, settings: S3Settings, *, threads: int) -> Self:
        """Read with the publishers' credential."""
        credential = settings.reader
        secret = credential.secret_key.get_secret_value()
        access = S3Access(settings.endpoint, credential.access_key, secret, settings.region)
        return cls(access, threads=threads)

    def owner(self, bucket: str) -> str:
        """See ``BucketReader.owner``."""
        return bucket_owner(self._client, bucket)

    def list_objects(self, bucket: str, prefix: str) -> Iterator[BucketObject]:
        """See ``BucketReader.list_objects``; the next page is fetched while the present one is used.

        Errors come while iterating.

        Raises:
            Corrupt: the listing is not in order.
        """
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="listing") as pool:
            coming: Future[Page] | None = pool.submit(self._page, bucket, prefix, "")
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
                return _from_headers(key, self._client.head_object(Bucket=bucket, Key=key))
            except ClientError as exc:
                if status_of(exc) != _NOT_FOUND:
                    raise
        # A HEAD has no body to say what is missing. If it is the bucket, its repository must not be emptied.
        with self.read(bucket, key) as body:
            return None if body is None else body.info

    @contextmanager
    def read(self, bucket: str, key: str) -> Iterator["S3Body | None"]:
        """See ``BucketReader.read``; the rest of a large body that is not read is not transferred.

        Raises:
            NotFound: the bucket does not exist.
        """
        with translated(S3_TABLE, f"read an object of bucket {bucket}"):
            try:
                answer: Any = self._client.get_object(Bucket=bucket, Key=key)
            except ClientError as exc:
                answer = self._missing(exc, bucket)
        if answer is None:
            yield None
            return
        info = _from_headers(key, answer)
        with closing(answer["Body"]) as stream:
            yield S3Body(info, stream, bucket)
            if info.size <= _DRAINED:  # reading the rest of a small one is cheaper than a new connection
                with suppress(SoftmanError), translated(S3_TABLE, "read on"):
                    stream.read()

    @staticmethod
    def _missing(exc: ClientError, bucket: str) -> None:
        if code_of(exc) == "NoSuchKey":
            return
        if status_of(exc) == _NOT_FOUND and not code_of(exc):
            # A proxy on the way, not the object store: never a reason to take a file for deleted.
            msg = f"cannot read bucket {bucket}: the answer 404 is not one of an object store"
            raise ServiceUnavailable(msg) from exc
        raise exc


class S3Body:
    """``ObjectBody`` on the stream of a GET."""

    def __init__(self, info: BucketObject, stream: "StreamingBody", bucket: str) -> None:
        self._info = info
        self._stream = stream
        self._bucket = bucket

    @property
    def info(self) -> BucketObject:
        """What the object is, from the headers of the GET itself."""
        return self._info

    def chunks(self) -> Iterator[bytes]:
        """The content in pieces of up to 1 MiB.

        Raises:
            ServiceUnavailable: the answer broke off, or did not go on in time.
        """
        while True:
            with translated(S3_TABLE, f"read an object of bucket {self._bucket}"):
                chunk = self._stream.read(CHUNK)
            if not chunk:
                return
            yield chunk


def bucket_owner(client: "S3Client", bucket: str) -> str:
    """The uid of the bucket's owner. RGW keeps the owner in the ACL equal to the bucket's and lets nobody change it."""
    with translated(S3_TABLE, f"look up the owner of bucket {bucket}"):
        return client.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]


def _from_headers(key: str, answer: Any) -> BucketObject:
    return BucketObject(
        key,
        answer["ContentLength"],
        answer["ETag"].strip('"'),
        float(int(answer["LastModified"].timestamp())),
        {name.lower(): value for name, value in answer.get("Metadata", {}).items()},
    )
