"""A repository in memory, for tests and for trying things out. Same promises as on disk, except surviving."""

import io
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from softman.cvmfs.errors import HashMismatch, ObjectMissing, StoreUnavailable
from softman.cvmfs.format.hashes import ContentHash, ObjectKind, hash_bytes
from softman.cvmfs.store.base import Readable, StoredFile, check_name, is_name, read_all


class MemoryStore:
    """The repository in ``files``.

    Args:
        files: content by name; taken over, not copied.
    """

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = {} if files is None else files
        self.modified = dict.fromkeys(self.files, time.time())
        """Unix time of each file; one that was put into ``files`` directly counts as very old."""
        self._lock = threading.Lock()

    def ensure_directories(self) -> None:
        """Nothing to make."""

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """See ``ReadableStore.open``."""
        data = self.files.get(check_name(name))
        if data is None:
            raise ObjectMissing(f"{name} does not exist")
        yield io.BytesIO(data)

    def get(self, name: str, *, max_size: int) -> bytes:
        """See ``ReadableStore.get``."""
        with self.open(name) as file:
            return read_all(file, name, max_size=max_size)

    def exists(self, name: str) -> bool:
        """See ``ReadableStore.exists``."""
        return check_name(name) in self.files

    def put(self, name: str, data: bytes | Iterable[bytes], *, durable: bool = False) -> None:
        """See ``Store.put``."""
        del durable  # nothing here survives
        self._store(check_name(name), data if isinstance(data, bytes) else b"".join(data))

    def promote(self, staged: Path, content: ContentHash, kind: ObjectKind) -> None:
        """See ``Store.promote``."""
        if staged.is_symlink() or not staged.is_file():
            raise ObjectMissing(f"staged {staged.name} does not exist, or is not a plain file")
        data = staged.read_bytes()
        found = hash_bytes(data, content.algorithm)
        if found != content:
            raise HashMismatch(f"staged {staged.name} has the hash {found}, not {content}")
        self._store(content.object_path(kind), data)

    def is_stored(self, content: ContentHash, kind: ObjectKind, *, size: int | None = None) -> bool:
        """See ``Store.is_stored``."""
        data = self.files.get(content.object_path(kind))
        return data is not None and size in {None, len(data)}

    def listing(self, prefix: str = "") -> Iterator[StoredFile]:
        """See ``Store.listing``."""
        for name in sorted(name for name in self.files if name.startswith(prefix) and is_name(name)):
            data = self.files.get(name)
            if data is not None:
                yield StoredFile(name, len(data), self.modified.get(name, 0.0))

    def names(self, prefix: str = "") -> Iterator[str]:
        """See ``Store.names``."""
        return (file.name for file in self.listing(prefix))

    def delete(self, name: str) -> None:
        """See ``Store.delete``."""
        self.files.pop(check_name(name), None)
        self.modified.pop(name, None)

    def sync(self) -> None:
        """Nothing to wait for."""

    @contextmanager
    def lock(self, repository: str, *, timeout: float = 60) -> Iterator[None]:
        """See ``Store.lock``."""
        if not self._lock.acquire(timeout=timeout):
            raise StoreUnavailable(f"{repository} is being changed by somebody else for over {timeout:g} s")
        try:
            yield
        finally:
            self._lock.release()

    def _store(self, name: str, data: bytes) -> None:
        self.modified[name] = time.time()
        self.files[name] = data
