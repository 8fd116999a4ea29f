"""Which gateway keys open which repositories."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from softman.adapters.ports import KeyVault, Registry
from softman.cvmfs.format.keys import GatewayKey
from softman.errors import InvalidInput
from softman.model import RegistryRecord, State
from softman.names import RepositoryName
from softman.services.translate import cvmfs_errors

_FRESH_SECONDS = 5.0
"""A key that is not the one known is asked for at most that often: who asks has proved nothing yet."""


@dataclass(frozen=True, slots=True)
class AccessKey:
    """A key, and the directory that it is for: ``/`` for the whole repository."""

    key: GatewayKey
    path: str = "/"


@dataclass(frozen=True, slots=True)
class Door:
    """A repository as publishers find it."""

    keys: tuple[AccessKey, ...]
    enabled: bool = True


class Access(Protocol):
    """What a gateway knows of repositories and keys."""

    def door(self, repository: str, key_id: str) -> Door | None:
        """A repository; None when there is none of this name. ``key_id`` is who stands there, which is not proved."""

    def key(self, key_id: str) -> GatewayKey | None:
        """A key of any repository that is known already."""

    def admin(self, key_id: str) -> GatewayKey | None:
        """A key for administrators."""

    def known(self) -> dict[str, Door]:
        """Repositories that somebody asked for, by name."""


class VaultAccess:
    """The keys of the repositories that the registry knows, one each, from the vault.

    Args:
        vault: the owners' keys, with the role of publishers.
        registry: the registry, read only.
        admin_key: for administrators; None for none.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        vault: KeyVault,
        registry: Registry,
        admin_key: GatewayKey | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault = vault
        self._registry = registry
        self._admin = admin_key
        self._clock = clock
        self._known: dict[str, Door] = {}
        self._asked: dict[str, float] = {}
        self._guard = threading.Lock()

    def door(self, repository: str, key_id: str) -> Door | None:
        """See ``Access.door``."""
        try:
            name = RepositoryName.parse(repository)
        except InvalidInput:
            return None
        record = self._registry.get(name)
        if record is None:
            self._known.pop(repository, None)
            return None
        keys = self._keys(record, fresh=False)
        if all(each.key.key_id != key_id for each in keys) and self._may_ask(repository):
            keys = self._keys(record, fresh=True)  # it may have been replaced a moment ago
        found = Door(keys, enabled=record.state is State.ACTIVE)
        self._known[repository] = found
        return found

    def key(self, key_id: str) -> GatewayKey | None:
        """See ``Access.key``."""
        doors = list(self._known.values())
        return next((each.key for door in doors for each in door.keys if each.key.key_id == key_id), None)

    def admin(self, key_id: str) -> GatewayKey | None:
        """See ``Access.admin``."""
        return self._admin if self._admin is not None and self._admin.key_id == key_id else None

    def known(self) -> dict[str, Door]:
        """See ``Access.known``."""
        return dict(self._known)

    def _may_ask(self, repository: str) -> bool:
        with self._guard:
            now = self._clock()
            if now - self._asked.get(repository, -_FRESH_SECONDS) < _FRESH_SECONDS:
                return False
            self._asked[repository] = now
            return True

    def _keys(self, record: RegistryRecord, *, fresh: bool) -> tuple[AccessKey, ...]:
        stored = self._vault.read_owner_keys(record.owner, record.repository, fresh=fresh)
        if stored is None:
            return ()
        with cvmfs_errors(f"the gateway key of {record.repository}"):
            return (AccessKey(GatewayKey.parse(stored["gatewayKey"])),)
