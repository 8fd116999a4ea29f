"""A repository in a bucket, on Ceph RGW or any other S3 service: ``StagedStore`` of the repository library.

Keys are ``<prefix>/<repository>/data/ab/...`` and ``<prefix>/<repository>/.cvmfspublished``, so that the bucket's
address, with the prefix, is what clients use in place of a web server's. A PUT or a copy is atomic and survives once it
is answered: there is nothing to synchronise. Publishers stage below ``data/txn/<transaction>/`` with a credential that
can write nowhere else; stratum 0 hashes what they staged and has the object store copy it.
"""

import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import IO, Self
from urllib.parse import unquote, urlsplit

from softman.adapters.s3_objects import Body, Changed, S3Objects, in_threads
from softman.cvmfs.areas import (
    SPOOL_BYTES,
    STAGING_DIRECTORY,
    check_transaction_id,
    new_transaction_id,
    staged_name,
)
from softman.cvmfs.errors import FormatError, HashMismatch, ObjectMissing, StoreError
from softman.cvmfs.format.hashes import ContentHash, Hasher, ObjectKind
from softman.cvmfs.format.objects import PIECE_SIZE
from softman.cvmfs.store.base import Readable, StoredFile, check_name, is_name, read_all
from softman.cvmfs.store.posix import file_lock, open_plain

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_BEGUN = ".begun"
"""An empty object in every area: prefixes exist only as long as there is something below them."""
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")


@dataclass(frozen=True, slots=True)
class S3Place:
    """Where repositories lie: in ``bucket``, below ``prefix``, which may be empty."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read ``s3://bucket[/prefix]``.

        Raises:
            FormatError: it is something else.
        """
        parts = urlsplit(url)
        prefix = unquote(parts.path).strip("/")
        plain = parts.scheme == "s3" and not parts.query and not parts.fragment
        if not plain or not _BUCKET.fullmatch(parts.netloc) or (prefix and not _PREFIX.fullmatch(prefix)):
            raise FormatError(f"not a place in an object store: {url!r}; s3://bucket and s3://bucket/prefix are")
        if {".", ".."} & set(prefix.split("/")):
            raise FormatError(f"the prefix of {url!r} leads elsewhere")
        return cls(parts.netloc, prefix)

    def root(self, repository: str) -> str:
        """What the keys of a repository begin with."""
        return f"{self.prefix}/{repository}/" if self.prefix else f"{repository}/"


class S3Store:
    """The repository whose keys begin with ``root``. Safe to be shared by threads.

    Args:
        objects: of the bucket.
        root: ends in a slash; see ``S3Place.root``.
        lock_path: the file that ``lock`` locks. Stratum 0 is one host; who only reads or stages needs none.
    """

    def __init__(self, objects: S3Objects, root: str, *, lock_path: Path | None = None) -> None:
        self._objects = objects
        self._root = root
        self._lock_path = lock_path

    @property
    def _staging_root(self) -> str:
        return f"{self._root}{STAGING_DIRECTORY}/"

    def ensure_directories(self) -> None:
        """Nothing to make: the bucket is there, and has no directories."""

    def open(self, name: str) -> AbstractContextManager[Body]:
        """See ``ReadableStore.open``."""
        return self._objects.open(self._key(name))

    def get(self, name: str, *, max_size: int) -> bytes:
        """See ``ReadableStore.get``."""
        with self.open(name) as body:
            return read_all(body, name, max_size=max_size)

    def exists(self, name: str) -> bool:
        """See ``ReadableStore.exists``."""
        return self._objects.head(self._key(name)) is not None

    def put(self, name: str, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
        """See ``Store.put``."""
        del durable  # everything is
        self._objects.put(self._key(name), data, name)

    def promote(self, staged: Path, content: ContentHash, kind: ObjectKind) -> None:
        """See ``Store.promote``: a file on this machine is copied while it is hashed, then uploaded."""
        name = content.object_path(kind)
        hasher = Hasher(content.algorithm)
        with open_plain(staged) as file, tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            while piece := file.read(PIECE_SIZE):
                hasher.update(piece)
                spool.write(piece)
            if (found := hasher.finish()) != content:
                raise HashMismatch(f"staged {staged.name} has the hash {found}, not {content}")
            if not self.is_stored(content, kind, size=spool.tell()):
                self._objects.put_spool(self._key(name), spool, name)

    def is_stored(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """See ``Store.is_stored``: an object that is there is there in full, unless somebody else put it there."""
        found = self._objects.head(self._key(content.object_path(kind)))
        return found is not None and size in {None, found.size}

    def listing(self, prefix: str = "") -> Iterator[StoredFile]:
        """See ``Store.listing``."""
        for found in self._objects.listing(self._root + prefix):
            name = found.key.removeprefix(self._root)
            if is_name(name):
                yield StoredFile(name, found.size, found.modified)

    def names(self, prefix: str = "") -> Iterator[str]:
        """See ``Store.names``."""
        return (file.name for file in self.listing(prefix))

    def delete(self, name: str) -> None:
        """See ``Store.delete``."""
        self._objects.delete(self._key(name))

    def sync(self) -> None:
        """Nothing to wait for."""

    def lock(self, repository: str, *, timeout: float = 60) -> AbstractContextManager[None]:
        """See ``Store.lock``: a file on this host, hence among the processes of stratum 0.

        Raises:
            StoreError: this side was not given a lock file, so it must not change the repository.
        """
        if self._lock_path is None:
            raise StoreError(f"{repository} cannot be changed from here: no lock file was chosen for its storage")
        return file_lock(self._lock_path, repository, timeout)

    def new_area(self) -> "S3Area":
        """See ``StagedStore.new_area``."""
        transaction = new_transaction_id()
        area = S3Area(self._objects, self._area(transaction), transaction)
        area.begin()
        return area

    def open_staged(self, transaction: str, name: str) -> AbstractContextManager[Readable]:
        """See ``StagedStore.open_staged``."""
        return self._objects.open(self._area(transaction) + name)

    def promote_staged(self, transaction: str, objects: Iterable[tuple[ContentHash, ObjectKind]]) -> None:
        """See ``StagedStore.promote_staged``: what was hashed is what is copied, which its ETag says."""
        area = self._area(transaction)
        wanted = list(dict.fromkeys(objects))
        etags = in_threads(lambda item: self._hashed(area, *item), wanted)
        staged = [(item, etag) for item, etag in zip(wanted, etags, strict=True) if etag]
        in_threads(lambda item: self._promote(area, *item[0], item[1]), staged)

    def discard_staged(self, transaction: str) -> None:
        """See ``StagedStore.discard_staged``."""
        self._objects.delete_all(found.key for found in self._objects.listing(self._area(transaction)))

    def oldest_staged(self) -> float | None:
        """See ``StagedStore.oldest_staged``."""
        return min((found.modified for found in self._objects.listing(self._staging_root)), default=None)

    def sweep_staged(self, older_than: float) -> int:
        """See ``StagedStore.sweep_staged``; parts of uploads that never ended are forgotten too."""
        removed = 0
        found = self._objects.listing(self._staging_root)
        for _, group in groupby(found, key=lambda item: item.key.removeprefix(self._staging_root).partition("/")[0]):
            area = list(group)
            if max(item.modified for item in area) < older_than:
                self._objects.delete_all(item.key for item in area)
                removed += 1
        self._objects.abort_uploads(self._staging_root, datetime.fromtimestamp(older_than, UTC))
        return removed

    def _key(self, name: str) -> str:
        return self._root + check_name(name)

    def _area(self, transaction: str) -> str:
        return f"{self._staging_root}{check_transaction_id(transaction)}/"

    def _hashed(self, area: str, content: ContentHash, kind: ObjectKind) -> str | None:
        """The ETag of a staged object with the right hash; None when it is stored instead."""
        name = staged_name(content, kind)
        hasher = Hasher(content.algorithm)
        try:
            with self._objects.open(area + name) as body:
                while piece := body.read(PIECE_SIZE):
                    hasher.update(piece)
        except ObjectMissing as exc:
            if self.is_stored(content, kind):
                return None
            raise ObjectMissing(f"object {name} is neither staged nor stored") from exc
        if (found := hasher.finish()) != content:
            raise HashMismatch(f"staged {name} has the hash {found}, not {content}")
        return body.etag

    def _promote(self, area: str, content: ContentHash, kind: ObjectKind, etag: str) -> None:
        name = staged_name(content, kind)
        try:
            self._objects.copy(area + name, etag, self._key(content.object_path(kind)))
        except Changed as exc:
            raise HashMismatch(f"staged {name} was exchanged while it was promoted") from exc


class S3Area:
    """``StagingArea`` in a bucket.

    Args:
        objects: of the bucket, with the credential of publishers.
        root: what the keys of the area begin with; ends in a slash.
        transaction: its id.
    """

    def __init__(self, objects: S3Objects, root: str, transaction: str) -> None:
        self.transaction = transaction
        self._objects = objects
        self._root = root
        self._kept: set[str] = set()

    def begin(self) -> None:
        """Let the area be seen before anything is staged."""
        with self.spool() as spool:
            spool.keep_as(_BEGUN)

    @contextmanager
    def spool(self) -> Iterator["_S3Spool"]:
        """See ``StagingArea.spool``."""
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
            yield _S3Spool(self, file)

    def holds(self, name: str) -> bool:
        """See ``StagingArea.holds``; no question to the store, since nobody else writes here."""
        return name in self._kept

    def discard(self) -> None:
        """See ``StagingArea.discard``."""
        self._objects.delete_all(found.key for found in self._objects.listing(self._root))
        self._kept.clear()

    def keep(self, name: str, file: IO[bytes]) -> None:
        """Stage what was written to ``file``."""
        self._objects.stage(self._root + name, file)
        self._kept.add(name)


class _S3Spool:
    """``Spool`` in a temporary file of this machine, memory while it is small."""

    def __init__(self, area: S3Area, file: IO[bytes]) -> None:
        self._area = area
        self.write = file.write
        self._file = file

    def keep_as(self, name: str) -> None:
        """See ``Spool.keep_as``."""
        self._area.keep(name, self._file)
