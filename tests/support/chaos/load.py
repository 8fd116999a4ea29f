"""A steady load: users who put, overwrite, copy and delete objects in their buckets, each bucket by one user.

What a bucket must hold is known: every request is repeated until the object store has confirmed it.
"""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from softman.adapters.errormap import translated
from softman.adapters.s3_client import S3_TABLE, S3Access, s3_client
from softman.errors import TransientError
from softman.model import PUBLISHED_PREFIX

_FOLDERS, _FILES = 6, 40
_LARGEST = 20_000
_PATIENCE = 240.0
"""Seconds after which a request that is never confirmed ends the user."""


@dataclass
class User:
    """One bucket's user.

    Attributes:
        bucket: the bucket's name.
        deletes_many: whether they ask for DeleteObjects, which radosgw 16.2 may not survive in a notified bucket.
        holds: what the bucket must hold, by name below ``cvmfs/``.
        done: requests by kind.
        failure: what ended the user before the time.
    """

    access: S3Access
    bucket: str
    random: random.Random
    pause: float
    deletes_many: bool = False
    holds: dict[str, bytes] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def __post_init__(self) -> None:
        self.client: Any = s3_client(self.access, connections=2)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"user of {self.bucket}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present request."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the end.

        Raises:
            BaseException: what ended the user before the time.
        """
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def put(self, name: str, content: bytes) -> None:
        """Write an object; safe beside the load."""
        with self._lock:
            self._confirmed(
                lambda: self.client.put_object(Bucket=self.bucket, Key=PUBLISHED_PREFIX + name, Body=content)
            )
            self.holds[name] = content

    def _run(self) -> None:
        kinds = (self._new, self._overwrite, self._delete, self._delete_many, self._copy, self._multipart)
        weights = (10, 5, 3, int(self.deletes_many), 2, 1)
        try:
            while not self._stopping.wait(self.random.uniform(0, 2 * self.pause)):
                self.random.choices(kinds, weights)[0]()
        except BaseException as exc:  # noqa: BLE001 - raised by ``join``
            self.failure = exc

    def _confirmed(self, request: Callable[[], object]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                with translated(S3_TABLE, f"a request on {self.bucket}"):
                    request()
            except TransientError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)
            else:
                return

    def _content(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 10, 1000, _LARGEST)))

    def _name(self) -> str:
        return f"d{self.random.randrange(_FOLDERS)}/f{self.random.randrange(_FILES)}"

    def _some(self) -> str | None:
        names = sorted(name for name in self.holds if name.startswith("d"))
        return self.random.choice(names) if names else None

    def _new(self) -> None:
        self.put(self._name(), self._content())
        self.done["put"] += 1

    def _overwrite(self) -> None:
        name = self._some()
        if name is not None:
            self.put(name, self._content())
            self.done["overwrite"] += 1

    def _delete(self) -> None:
        name = self._some()
        if name is None:
            return
        with self._lock:
            self._confirmed(lambda: self.client.delete_object(Bucket=self.bucket, Key=PUBLISHED_PREFIX + name))
            del self.holds[name]
        self.done["delete"] += 1

    def _delete_many(self) -> None:
        names = {name for name in (self._some() for _ in range(5)) if name is not None}
        if not names:
            return
        asked = {"Objects": [{"Key": PUBLISHED_PREFIX + name} for name in sorted(names)]}
        with self._lock:
            self._confirmed(lambda: self.client.delete_objects(Bucket=self.bucket, Delete=asked))
            for name in names:
                del self.holds[name]
        self.done["delete many"] += 1

    def _copy(self) -> None:
        source, target = self._some(), self._name()
        if source is None or source == target:
            return
        origin = {"Bucket": self.bucket, "Key": PUBLISHED_PREFIX + source}
        with self._lock:
            self._confirmed(
                lambda: self.client.copy_object(Bucket=self.bucket, Key=PUBLISHED_PREFIX + target, CopySource=origin)
            )
            self.holds[target] = self.holds[source]
        self.done["copy"] += 1

    def _multipart(self) -> None:
        name, content = self._name(), self.random.randbytes(_LARGEST)
        place = {"Bucket": self.bucket, "Key": PUBLISHED_PREFIX + name}

        def upload() -> None:
            begun = self.client.create_multipart_upload(**place)["UploadId"]
            part = self.client.upload_part(**place, UploadId=begun, PartNumber=1, Body=content)
            parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
            self.client.complete_multipart_upload(**place, UploadId=begun, MultipartUpload=parts)

        with self._lock:
            self._confirmed(upload)
            self.holds[name] = content
        self.done["multipart"] += 1

    def stored(self) -> dict[str, bytes]:
        """What the bucket holds, read from the object store."""
        found: dict[str, bytes] = {}
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=PUBLISHED_PREFIX)
        for page in pages:
            for item in page.get("Contents", []):
                body = self.client.get_object(Bucket=self.bucket, Key=item["Key"])["Body"]
                found[item["Key"].removeprefix(PUBLISHED_PREFIX)] = body.read()
        return found


class Load:
    """The users of several buckets at the same time; a context manager.

    Args:
        users: not started yet.
    """

    def __init__(self, users: list[User]) -> None:
        self.users = users

    def __enter__(self) -> Self:
        for user in self.users:
            user.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for user in self.users:
            user.stop()
        for user in self.users:
            user.join()

    @property
    def done(self) -> Counter[str]:
        """Requests by kind."""
        return sum((user.done for user in self.users), Counter[str]())
