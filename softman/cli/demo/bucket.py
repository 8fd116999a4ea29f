"""The user's side of the demo: an S3 client with the user's own keys and nothing else."""

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from softman.adapters.errormap import translated
from softman.adapters.s3_client import S3_TABLE, S3Access, s3_client
from softman.model import PUBLISHED_PREFIX
from softman.services.archives.kinds import archive_kind_of

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_THREADS = 8
_STAYS_PACKED = {"unpack": "false"}


class UserBucket:
    """The published area of a bucket, as its owner sees it. Names are relative to ``cvmfs/``.

    Args:
        access: the object store and the owner's keys.
        name: the bucket.
    """

    def __init__(self, access: S3Access, name: str) -> None:
        self._client: S3Client = s3_client(access, connections=_THREADS)
        self.name = name

    def put(self, name: str, content: bytes, metadata: Mapping[str, str] = MappingProxyType({})) -> None:
        """Write one object."""
        with translated(S3_TABLE, f"put s3://{self.name}/{PUBLISHED_PREFIX}{name}"):
            self._client.put_object(
                Bucket=self.name, Key=PUBLISHED_PREFIX + name, Body=content, Metadata=dict(metadata)
            )

    def delete(self, name: str) -> None:
        """Remove one object."""
        with translated(S3_TABLE, f"delete s3://{self.name}/{PUBLISHED_PREFIX}{name}"):
            self._client.delete_object(Bucket=self.name, Key=PUBLISHED_PREFIX + name)

    def upload(self, root: Path, names: Iterable[str]) -> None:
        """Write many files, several at a time; ends with the first that fails. Archives say that they stay packed."""

        def put(name: str) -> None:
            packed = archive_kind_of(name) is not None
            self.put(name, (root / name).read_bytes(), _STAYS_PACKED if packed else {})

        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="upload")
        try:
            for _ in pool.map(put, names):
                pass
        finally:
            pool.shutdown(cancel_futures=True)

    def notifies(self) -> bool:
        """Whether the bucket sends notifications."""
        with translated(S3_TABLE, f"read the notifications of s3://{self.name}"):
            answer = self._client.get_bucket_notification_configuration(Bucket=self.name)
        return bool(answer.get("TopicConfigurations"))
