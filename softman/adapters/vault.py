"""Key material in Vault: the port ``KeyVault`` over the session of one role."""

import threading
import time
from collections.abc import Callable
from itertools import count

from softman.adapters.ports import Change
from softman.adapters.vault_layout import (
    PUBLIC_KEYS,
    check_values,
    master_path,
    owner_path,
    public_path,
    signing_path,
)
from softman.adapters.vault_session import VaultSession
from softman.errors import Conflict, NotFound
from softman.names import Owner, RepositoryName
from softman.settings import VaultSettings

WRITE_ATTEMPTS = 3
"""How often a write is based anew on what somebody else has just written."""
MAX_VERSIONS = 100
"""So many earlier versions of a secret are destroyed; a KV mount keeps 10 unless told otherwise."""
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

    def read_signing(self, repository: RepositoryName, *, fresh: bool = False) -> dict[str, str] | None:
        """See ``KeyVault``."""
        return self._read(self._own_mount, signing_path(repository), _signing(repository), fresh=fresh)

    def create_signing(self, repository: RepositoryName, values: dict[str, str]) -> dict[str, str]:
        """See ``KeyVault``.

        Raises:
            NotFound: there were keys, and somebody deleted them; making others would cut off every client.
        """
        path = signing_path(repository)
        stored = self._create(path, values, _signing(repository))
        self._cache.put((self._own_mount, path), dict(stored))
        return stored

    def change_signing(self, repository: RepositoryName, change: Change, *, forget: bool = False) -> dict[str, str]:
        """See ``KeyVault``."""
        path = signing_path(repository)
        stored = self._change(path, change, _signing(repository), forget=forget)
        self._cache.put((self._own_mount, path), dict(stored))
        return stored

    def read_master(self, place: str) -> dict[str, str] | None:
        """See ``KeyVault``. Nothing of it is remembered."""
        stored = self._session.read(self._own_mount, master_path(place), _master(place))
        return None if stored.values is None else check_values(stored.values, _master(place))

    def create_master(self, place: str, values: dict[str, str]) -> dict[str, str]:
        """See ``KeyVault``. Errors are those of ``create_signing``."""
        return self._create(master_path(place), values, _master(place))

    def change_master(self, place: str, change: Change, *, forget: bool = False) -> dict[str, str]:
        """See ``KeyVault``."""
        return self._change(master_path(place), change, _master(place), forget=forget)

    def write_owner_keys(self, owner: Owner, repository: RepositoryName, values: dict[str, str]) -> None:
        """See ``KeyVault``."""
        self._replace(self._mount, owner_path(owner, repository), values, f"the owner's keys of {repository}")
        public = {name: values[name] for name in PUBLIC_KEYS if name in values}
        self._replace(self._own_mount, public_path(repository), public, f"the public key of {repository}")

    def _replace(self, mount: str, path: str, values: dict[str, str], what: str) -> None:
        """Store what is not stored yet, whatever was there."""
        for attempt in range(1, WRITE_ATTEMPTS + 1):
            stored = self._session.read(mount, path, what)
            try:
                if stored.values != values:
                    self._session.write(mount, path, values, base=stored.version, what=what)
            except Conflict:
                if attempt == WRITE_ATTEMPTS:
                    raise
            else:
                self._cache.put((mount, path), dict(values))
                return

    def read_owner_keys(
        self, owner: Owner, repository: RepositoryName, *, fresh: bool = False
    ) -> dict[str, str] | None:
        """See ``KeyVault``."""
        path = owner_path(owner, repository)
        return self._read(self._mount, path, f"the owner's keys of {repository}", fresh=fresh)

    def read_public_keys(self, repository: RepositoryName, *, fresh: bool = False) -> dict[str, str] | None:
        """See ``KeyVault``."""
        return self._read(self._own_mount, public_path(repository), f"the public key of {repository}", fresh=fresh)

    def _create(self, path: str, values: dict[str, str], what: str) -> dict[str, str]:
        """Store values in our own mount where there is nothing; what is stored then."""
        try:
            self._session.write(self._own_mount, path, values, base=0, what=what)
        except Conflict:
            stored = self._session.read(self._own_mount, path, what)
            if stored.values is None:
                msg = f"{what} were deleted in Vault; undelete {self._own_mount}/{path}, or destroy it for good"
                raise NotFound(msg) from None
            return check_values(stored.values, what)
        return dict(values)

    def _change(self, path: str, change: Change, what: str, *, forget: bool) -> dict[str, str]:
        """Compare and swap in our own mount, until nobody else writes; what is stored then."""
        for attempt in count(1):
            stored = self._session.read(self._own_mount, path, what)
            if stored.values is None:
                msg = f"{what} are not in Vault"
                raise NotFound(msg)
            values, version = check_values(stored.values, what), stored.version
            wanted = change(dict(values))
            try:
                if wanted != values:
                    version = self._session.write(self._own_mount, path, wanted, base=version, what=what)
            except Conflict:
                if attempt == WRITE_ATTEMPTS:
                    raise
                continue
            break
        earlier = range(max(1, version - MAX_VERSIONS), version)
        if forget and earlier:
            self._session.destroy(self._own_mount, path, earlier, what)
        return wanted

    def _read(self, mount: str, path: str, what: str, *, fresh: bool = False) -> dict[str, str] | None:
        cached = None if fresh else self._cache.get((mount, path))
        if cached is not None:
            return dict(cached)
        stored = self._session.read(mount, path, what)
        if stored.values is None:
            return None
        values = check_values(stored.values, what)
        self._cache.put((mount, path), values)
        return dict(values)


def _signing(repository: RepositoryName) -> str:
    return f"the signing keys of {repository}"


def _master(place: str) -> str:
    return f"the master keys of {place.partition('/')[2]}"


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
