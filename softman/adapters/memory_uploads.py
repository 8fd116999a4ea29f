"""``UploadStore`` in memory, for development and tests: a browser's PUT is ``receive``."""

import itertools
from dataclasses import dataclass, field
from hashlib import md5

from softman.adapters.memory import MemoryBuckets
from softman.adapters.upload_ports import SignedRequest, StoredPart
from softman.errors import InvalidInput, NotFound


@dataclass
class _Upload:
    place: tuple[str, str]
    metadata: dict[str, str]
    parts: dict[int, bytes] = field(default_factory=dict)


class MemoryUploads:
    """Uploads to buckets in memory.

    Args:
        buckets: where objects come to be.
    """

    def __init__(self, buckets: MemoryBuckets) -> None:
        self._buckets = buckets
        self._uploads: dict[str, _Upload] = {}
        self._numbers = itertools.count(1)

    def sign_put(self, bucket: str, key: str, size: int, metadata: dict[str, str]) -> SignedRequest:
        """See ``UploadStore.sign_put``."""
        return SignedRequest(f"memory:{bucket}/{key}?size={size}", {f"x-amz-meta-{k}": v for k, v in metadata.items()})

    def begin(self, bucket: str, key: str, metadata: dict[str, str]) -> str:
        """See ``UploadStore.begin``."""
        self._buckets.owner(bucket)
        upload = f"upload-{next(self._numbers)}"
        self._uploads[upload] = _Upload((bucket, key), metadata)
        return upload

    def sign_part(self, bucket: str, key: str, upload: str, number: int, size: int) -> SignedRequest:
        """See ``UploadStore.sign_part``."""
        return SignedRequest(f"memory:{bucket}/{key}?upload={upload}&part={number}&size={size}", {})

    def receive(self, upload: str, number: int, content: bytes) -> None:
        """What a browser does with a signed part."""
        self._uploads[upload].parts[number] = content

    def parts(self, bucket: str, key: str, upload: str) -> dict[int, StoredPart]:
        """See ``UploadStore.parts``."""
        return {number: _stored(content) for number, content in self._of(bucket, key, upload).parts.items()}

    def complete(self, bucket: str, key: str, upload: str, parts: dict[int, StoredPart]) -> str:
        """See ``UploadStore.complete``."""
        found = self._of(bucket, key, upload)
        if not parts or parts != self.parts(bucket, key, upload):
            msg = "parts of the upload are missing"
            raise InvalidInput(msg)
        content = b"".join(found.parts[number] for number in sorted(parts))
        del self._uploads[upload]
        return self._buckets.put(bucket, key, content, found.metadata).etag

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """See ``UploadStore.abort``."""
        self._of(bucket, key, upload)
        del self._uploads[upload]

    def _of(self, bucket: str, key: str, upload: str) -> _Upload:
        found = self._uploads.get(upload)
        if found is None or found.place != (bucket, key):
            msg = "there is no such upload"
            raise NotFound(msg)
        return found


def _stored(content: bytes) -> StoredPart:
    return StoredPart(len(content), md5(content, usedforsecurity=False).hexdigest())
