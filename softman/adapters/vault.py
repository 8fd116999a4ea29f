"""Key material in Vault: the port ``KeyVault`` over the session of one role."""

import threading
import time
from collections.abc import Callable

from softman.adapters.vault_layout import check_values, owner_path, signing_path
from softman.adapters.vault_session import VaultSession
from softman.errors import Conflict, NotFound
from softman.names import Owner, RepositoryName
from softman.settings import VaultSettings

WRITE_ATTEMPTS = 3
"""How often a write is based anew on what somebody else has just written."""
MAX_CACHED = 1000
"""Entries of a cache of keys."""


class VaultKeys:
    """``KeyVault`` in Vault. What was read is used again for ``cache_seconds``; copies are handed out.

    Args:
        session: the role's access.
        settings: mounts and the time to cache.
        clock: monotonic seconds, handed in for tests.
    """

    def __init__(
        self, session: VaultSession, settings: VaultSettings, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._session = session
        self._mount = settings.mount
        self._own_mount = settings.own_mount
        self._cache = _Cache(settings.cache_seconds, clock)

    def read_signing(self, repository: RepositoryName) -> dict[str, str] | None:
        """See ``KeyVault``."""
        return self._read(self._own_mount, signing_path(repository), f"the signing keys of {repository}")

    def create_signing(self, repository: RepositoryName, values: dict[str, str]) -> dict[str, str]:
        """See ``KeyVault``.

        Raises:
            NotFound: there were keys, and somebody deleted them; making others would cut off every client.
        """
        path = signing_path(repository)
        what = f"the signing keys of {repository}"
        try:
            self._session.write(self._own_mount, path, values, base=0, what=what)
        except Conflict:
            stored = self._read(self._own_mount, path, what)
            if stored is None:
                msg = f"{what} were deleted in Vault; undelete {self._own_mount}/{path}, or destroy it for good"
                raise NotFound(msg) from None
            return stored
        self._cache.put((self._own_mount, path), dict(values))
        return dict(values)

    def write_owner_keys(self, owner: Owner, repository: RepositoryName, values: dict[str, str]) -> None:
        """See ``KeyVault``."""
        path = owner_path(owner, repository)
        what = f"the owner's keys of {repository}"
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            stored = self._session.read(self._mount, path, what)
            try:
                if stored.values != values:
                    self._session.write(self._mount, path, values, base=stored.version, what=what)
            except Conflict:
                if attempt == WRITE_ATTEMPTS:
                    raise
            else:
                self._cache.put((self._mount, path), dict(values))
                return

    def read_owner_keys(self, owner: Owner, repository: RepositoryName) -> dict[str, str] | None:
        """See ``KeyVault``."""
        return self._read(self._mount, owner_path(owner, repository), f"the owner's keys of {repository}")

    def _read(self, mount: str, path: str, what: str) -> dict[str, str] | None:
        cached = self._cache.get((mount, path))
        if cached is not None:
            return dict(cached)
        stored = self._session.read(mount, path, what)
        if stored.values is None:
            return None
        values = check_values(stored.values, what)
        self._cache.put((mount, path), values)
        return dict(values)


class _Cache:
    """Values by mount and path for a bounded time, in bounded number; what is not there is never remembered."""

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._entries: dict[tuple[str, str], tuple[float, dict[str, str]]] = {}
        self._lock = threading.Lock()

    def get(self, key: tuple[str, str]) -> dict[str, str] | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or entry[0] <= self._clock():
                self._entries.pop(key, None)
                return None
            return entry[1]

    def put(self, key: tuple[str, str], values: dict[str, str]) -> None:
        with self._lock:
            self._entries.pop(key, None)
            if len(self._entries) >= MAX_CACHED:
                del self._entries[next(iter(self._entries))]  # the oldest: entries are in the order they came
            if self._seconds > 0:
                self._entries[key] = (self._clock() + self._seconds, values)
