"""Objects of one bucket, for repository storage, with the errors of ``softman.cvmfs``.

What the stock tools set on objects of a repository (``upload_s3.cc``), and so do we: content below ``data/`` never
changes and may be kept by proxies for three days, the ``.cvmfs*`` files for a minute.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from botocore.handlers import add_expect_header

from softman.adapters.errormap import Meaning, meaning_of
from softman.adapters.s3_client import S3_TABLE, S3Access, code_of, s3_client, status_of
from softman.cvmfs.areas import SPOOL_BYTES
from softman.cvmfs.errors import ObjectMissing, StoreError, StoreUnavailable
from softman.errors import Conflict, InvalidInput, NotFound, ServiceUnavailable

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

PART_BYTES: Final = 16 * 1024 * 1024
"""Larger objects are uploaded in parts of so many bytes, one after the other."""
THREADS: Final = 16
"""Requests under way at a time where many objects are handled at once."""
_OBJECT: dict[str, Any] = {"ContentType": "application/octet-stream", "CacheControl": "max-age=259200"}
_ROOT_FILE: dict[str, Any] = {"ContentType": "application/x-cvmfs", "CacheControl": "max-age=61"}
_IN_PARTS = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
_IN_PARTS_MARK = "-"
"""In the ETag of an object that was uploaded in parts; a copy of it may have another."""
_BATCH = 1000
_DRAINED = 256 * 1024
_NOT_FOUND = 404
_PRECONDITION_FAILED = 412
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Found:
    """An object as the store describes it; ``modified`` in seconds of Unix time."""

    key: str
    size: int
    etag: str
    modified: float


class Changed(StoreError):
    """The object that was to be copied is another by now."""


class S3Objects:
    """The objects of a bucket. Safe to be shared by threads.

    Args:
        access: the object store and the credential to use.
        bucket: the bucket.
        public: make files of the repository readable for everybody with an ACL each; else the bucket's policy must.
        connections: how many threads may use this at once without waiting for a connection.
    """

    def __init__(self, access: S3Access, bucket: str, *, public: bool, connections: int = THREADS) -> None:
        self._client = _client(access, connections)
        self.bucket = bucket
        self._acl: dict[str, Any] = {"ACL": "public-read"} if public else {}

    @contextmanager
    def open(self, key: str) -> Iterator["Body"]:
        """Open an object for reading from its beginning.

        Raises:
            ObjectMissing: there is no such object.
        """
        with store_errors(key):
            answer = self._client.get_object(Bucket=self.bucket, Key=key)
        with closing(answer["Body"]) as stream:
            yield Body(stream, key, answer["ETag"])
            if answer["ContentLength"] <= _DRAINED:  # cheaper than a new connection
                with store_errors(key):
                    stream.read()

    def head(self, key: str) -> Found | None:
        """What there is under ``key``, without reading it; None for nothing."""
        try:
            with store_errors(key):
                answer = self._client.head_object(Bucket=self.bucket, Key=key)
        except ObjectMissing:
            return None
        return Found(key, answer["ContentLength"], answer["ETag"], answer["LastModified"].timestamp())

    def put(self, key: str, data: bytes | Iterable[bytes], name: str) -> None:
        """Store a file of the repository; readers see the old one or the new one.

        Args:
            key: where.
            data: the content, or pieces of it; it is not held in memory whole.
            name: of the file in the repository, which decides about its headers.
        """
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            spool.writelines([data] if isinstance(data, bytes) else data)
            self.put_spool(key, spool, name)

    def put_spool(self, key: str, spool: IO[bytes], name: str) -> None:
        """The same with content that was written to ``spool``."""
        self._upload(key, spool, {**(_ROOT_FILE if name.startswith(".cvmfs") else _OBJECT), **self._acl})

    def stage(self, key: str, spool: IO[bytes]) -> None:
        """Store what was written to ``spool``, for nobody but us."""
        self._upload(key, spool, {})

    def copy(self, source: str, etag: str, key: str) -> None:
        """Copy a staged object to its final place, inside the object store (which bounds it to 5 GiB).

        Raises:
            Changed: ``source`` does not have this ETag any more.
        """
        with store_errors(source):
            answer = self._client.copy_object(
                Bucket=self.bucket,
                Key=key,
                CopySource={"Bucket": self.bucket, "Key": source},
                CopySourceIfMatch=etag,
                MetadataDirective="REPLACE",
                **_OBJECT,
                **self._acl,
            )
        copied = answer["CopyObjectResult"].get("ETag", "").strip('"')  # RGW gives it without the quotes
        if _IN_PARTS_MARK not in etag and copied != etag.strip('"'):  # the condition was ignored
            self.delete(key)
            raise Changed(f"{source} was exchanged meanwhile")

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens when there is none."""
        with store_errors(key):
            self._client.delete_object(Bucket=self.bucket, Key=key)

    def delete_all(self, keys: Iterable[str]) -> None:
        """Remove objects one by one, many at a time: RGW's deletion of many in one request has aborted it."""
        in_threads(self.delete, keys)

    def listing(self, prefix: str) -> Iterator[Found]:
        """The objects whose keys begin with ``prefix``, in order, page by page."""
        pages = iter(self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix))
        while True:
            with store_errors(prefix):
                page = next(pages, None)
            if page is None:
                return
            for found in page.get("Contents", ()):
                yield Found(found["Key"], found["Size"], found["ETag"], found["LastModified"].timestamp())

    def abort_uploads(self, prefix: str, older_than: datetime) -> None:
        """Forget parts of uploads below ``prefix`` that were begun before a time and never ended."""
        pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        with store_errors(prefix):
            for page in pages:
                for upload in page.get("Uploads", ()):
                    if upload["Initiated"] < older_than:
                        self._client.abort_multipart_upload(
                            Bucket=self.bucket, Key=upload["Key"], UploadId=upload["UploadId"]
                        )

    def _upload(self, key: str, file: IO[bytes], options: dict[str, Any]) -> None:
        size = file.tell()
        file.seek(0)
        with store_errors(key):
            if size > PART_BYTES:
                self._client.upload_fileobj(file, self.bucket, key, ExtraArgs=options, Config=_IN_PARTS)
            else:
                self._client.put_object(Bucket=self.bucket, Key=key, Body=file, **options)


class Body:
    """An object while it is read; ``etag`` is what the object store calls this very content."""

    def __init__(self, stream: "StreamingBody", key: str, etag: str) -> None:
        self._stream = stream
        self._key = key
        self.etag = etag

    def read(self, size: int, /) -> bytes:
        """See ``Readable.read``."""
        with store_errors(self._key):
            return self._stream.read(size)


def in_threads(work: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """What ``work`` gives for every item, in order. An error ends it; up to a batch of items may have been begun."""
    left, results = iter(items), list[_Result]()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="s3") as pool:
        while batch := list(islice(left, _BATCH)):
            results.extend(pool.map(work, batch))
    return results


def _client(access: S3Access, connections: int) -> "S3Client":
    client = s3_client(access, connections=connections)
    # RGW (16.2) that refuses a PUT before its body was asked for takes the next request on the connection for it.
    client.meta.events.unregister("before-call.s3", add_expect_header)
    client.meta.events.register("before-call.s3.CopyObject", _say_condition_to_rgw)
    return client


def _say_condition_to_rgw(params: dict[str, Any], **_: object) -> None:
    """RGW reads the condition of a copy from a header of another name than everybody else (``rgw_rest_s3.cc``)."""
    params["headers"]["x-amz-copy-if-match"] = params["headers"]["x-amz-copy-source-if-match"]


@contextmanager
def store_errors(key: str) -> Iterator[None]:
    """Turn what botocore raises into errors of the repository library."""
    try:
        yield
    except tuple(S3_TABLE) as exc:
        raise _error(exc, key) from exc


def _error(exc: Exception, key: str) -> StoreError:
    code, status = (code_of(exc), status_of(exc)) if isinstance(exc, ClientError) else ("", 0)
    if status == _PRECONDITION_FAILED:
        return Changed(f"{key} was exchanged meanwhile")
    if code == "NoSuchBucket":
        return StoreError(f"{key}: the bucket does not exist")
    if status == _NOT_FOUND and not code and getattr(exc, "operation_name", "") != "HeadObject":
        return StoreUnavailable(f"{key}: the answer 404 is not one of an object store")  # but of a proxy on the way
    meaning = meaning_of(S3_TABLE, exc) or Meaning(InvalidInput, str(exc))
    if meaning.error is NotFound:
        return ObjectMissing(f"{key} does not exist")
    passing = meaning.error in {ServiceUnavailable, Conflict}
    return (StoreUnavailable if passing else StoreError)(f"{key}: {meaning.text}")
