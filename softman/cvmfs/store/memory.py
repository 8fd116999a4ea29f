"""A repository in memory, for tests and for trying things out. Same promises as on disk, except surviving."""

import io
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from softman.cvmfs.areas import check_transaction_id, new_transaction_id, staged_name
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
        self.staged: dict[str, dict[str, bytes]] = {}
        """What is staged: transaction, name, content."""
        self._staged_at: dict[str, tuple[float, float]] = {}
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
        self._promote(staged.read_bytes(), content, kind)

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

    def new_area(self) -> "MemoryArea":
        """See ``StagedStore.new_area``."""
        transaction = new_transaction_id()
        self.staged[transaction] = {}
        self._staged_at[transaction] = (time.time(), time.time())
        return MemoryArea(self, transaction)

    @contextmanager
    def open_staged(self, transaction: str, name: str) -> Iterator[Readable]:
        """See ``StagedStore.open_staged``."""
        data = self.staged.get(check_transaction_id(transaction), {}).get(name)
        if data is None:
            raise ObjectMissing(f"staged {name} does not exist")
        yield io.BytesIO(data)

    def promote_staged(self, transaction: str, objects: Iterable[tuple[ContentHash, ObjectKind]]) -> None:
        """See ``StagedStore.promote_staged``."""
        area = self.staged.get(check_transaction_id(transaction), {})
        found = []
        for content, kind in objects:
            name = staged_name(content, kind)
            if name in area:
                found.append((area[name], content, kind))
            elif not self.is_stored(content, kind):
                raise ObjectMissing(f"object {name} is neither staged nor stored")
        for data, content, kind in found:
            self._promote(data, content, kind)

    def discard_staged(self, transaction: str) -> None:
        """See ``StagedStore.discard_staged``."""
        self.staged.pop(check_transaction_id(transaction), None)

    def oldest_staged(self) -> float | None:
        """See ``StagedStore.oldest_staged``."""
        return min((self._staged_at[transaction][0] for transaction in self.staged), default=None)

    def sweep_staged(self, older_than: float) -> int:
        """See ``StagedStore.sweep_staged``."""
        old = [transaction for transaction in self.staged if self._staged_at[transaction][1] < older_than]
        for transaction in old:
            self.discard_staged(transaction)
        return len(old)

    def stage(self, transaction: str, name: str, data: bytes) -> None:
        """Keep what the area of a transaction was given."""
        self._staged_at[transaction] = (self._staged_at.get(transaction, (time.time(),))[0], time.time())
        self.staged.setdefault(transaction, {})[name] = data

    def _promote(self, data: bytes, content: ContentHash, kind: ObjectKind) -> None:
        found = hash_bytes(data, content.algorithm)
        if found != content:
            raise HashMismatch(f"staged {staged_name(content, kind)} has the hash {found}")
        self._store(content.object_path(kind), data)

    def _store(self, name: str, data: bytes) -> None:
        self.modified[name] = time.time()
        self.files[name] = data


class MemoryArea:
    """``StagingArea`` in memory.

    Args:
        store: beside which it is.
        transaction: its id.
    """

    def __init__(self, store: MemoryStore, transaction: str) -> None:
        self.transaction = transaction
        self._memory = store

    def spool(self) -> "_MemorySpool":
        """See ``StagingArea.spool``."""
        return _MemorySpool(self._memory, self.transaction)

    def holds(self, name: str) -> bool:
        """See ``StagingArea.holds``."""
        return name in self._memory.staged.get(self.transaction, {})

    def discard(self) -> None:
        """See ``StagingArea.discard``."""
        self._memory.discard_staged(self.transaction)


class _MemorySpool(io.BytesIO):
    """``Spool`` in memory."""

    def __init__(self, store: MemoryStore, transaction: str) -> None:
        super().__init__()
        self._memory = store
        self._transaction = transaction

    def keep_as(self, name: str) -> None:
        self._memory.stage(self._transaction, name, self.getvalue())
