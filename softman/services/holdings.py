"""What the repositories of one owner hold together: read from root catalogs, remembered for a short time.

Whoever asked for a repository is its owner here (``Owner.user``), of group repositories as well. Who owns which is
read from the registry once: it never changes. What a repository holds is in the counters of its root catalog, which
is read only when the manifest names another one than before.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from softman.adapters.ports import KeyVault, Registry
from softman.cvmfs.format.hashes import ContentHash
from softman.cvmfs.reader import RepositoryReader
from softman.errors import NotFound, SoftmanError
from softman.log import get_logger
from softman.model import OwnerQuota, RegistryRecord, Usage
from softman.names import RepositoryName
from softman.services.material import owned_public_keys
from softman.services.translate import cvmfs_errors

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OwnerLimits:
    """What one owner may have in all repositories together. 0 sets no limit.

    Attributes:
        entries: of all kinds.
        bytes: of uncompressed content.
        seconds: how long it may be remembered what a repository holds, and which repositories there are.
    """

    entries: int = 0
    bytes: int = 0
    seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class _Held:
    until: float
    root_hash: ContentHash
    usage: Usage


def unlimited_owner(_record: RegistryRecord) -> None:
    """Owners have no limit."""


class Holdings:
    """Adds up what owners have. Threads may share it.

    Args:
        registry: whose repositories there are.
        vault: the public keys that they are verified with.
        open_reader: a verifying reader of a repository for public keys.
        limits: of each owner.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        registry: Registry,
        vault: KeyVault,
        open_reader: Callable[[RepositoryName, tuple[bytes, ...]], RepositoryReader],
        limits: OwnerLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._vault = vault
        self._open_reader = open_reader
        self._limits = limits
        self._clock = clock
        self._records: dict[RepositoryName, RegistryRecord] = {}
        self._listed_until = float("-inf")
        self._held: dict[RepositoryName, _Held] = {}
        self._lock = Lock()

    def quota(self, record: RegistryRecord) -> OwnerQuota | None:
        """What the owner of ``record`` may have, and has in other repositories; None when owners have no limit.

        A repository that cannot be read now counts with what it held when it was read last: one that is damaged must
        not keep its owner from all others.

        Raises:
            ServiceUnavailable: the registry does not answer.
        """
        limits = self._limits
        if not (limits.entries or limits.bytes):
            return None
        user = record.owner.user
        with self._lock:
            used = [self._usage(each) for each in self._repositories(user) if each.repository != record.repository]
        others = Usage(sum(each.entries for each in used), sum(each.bytes for each in used))
        return OwnerQuota(user, limits.entries, limits.bytes, others)

    def _repositories(self, user: str) -> list[RegistryRecord]:
        now = self._clock()
        if now >= self._listed_until:
            names = self._registry.names()
            found = {name: self._records.get(name) or self._registry.get(name) for name in names}
            self._records = {name: record for name, record in found.items() if record is not None}
            self._held = {name: held for name, held in self._held.items() if name in self._records}
            self._listed_until = now + self._limits.seconds
        return [record for record in self._records.values() if record.owner.user == user]

    def _usage(self, record: RegistryRecord) -> Usage:
        name, now = record.repository, self._clock()
        held = self._held.get(name)
        if held is not None and now < held.until:
            return held.usage
        try:
            held = self._read(record, held, now + self._limits.seconds)
        except NotFound:
            return Usage(0, 0)  # not made yet, or given up and removed
        except SoftmanError as exc:
            _log.warning("what a repository holds cannot be read", repository=str(name), error=str(exc))
            return held.usage if held is not None else Usage(0, 0)
        self._held[name] = held
        return held.usage

    def _read(self, record: RegistryRecord, held: _Held | None, until: float) -> _Held:
        name = record.repository
        keys = self._vault.read_owner_keys(record.owner, name)
        if keys is None:
            msg = f"{name} has no keys in the vault yet"
            raise NotFound(msg)
        with cvmfs_errors(f"what {name} holds"):
            reader = self._open_reader(name, owned_public_keys(keys))
            root_hash = reader.manifest().root_hash
            if held is not None and held.root_hash == root_hash:
                return _Held(until, root_hash, held.usage)
            with reader.snapshot() as snapshot:
                total = snapshot.catalog.counters.total
                return _Held(until, snapshot.manifest.root_hash, Usage(total.entries, total.file_size))
