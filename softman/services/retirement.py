"""Giving a repository up: publishers lose their key at once; content and keys go when the time of grace is over.

``Lifecycle.retire`` comes first: from then on nothing is signed. What follows is a chain of tasks, each of which may be
repeated from any point; a repository that is restored meanwhile is left alone. To take it back is to provision it.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from softman.adapters.ports import KeyVault, Registry
from softman.cvmfs.format.keys import generate_gateway_key
from softman.cvmfs.format.manifest import MANIFEST_NAME
from softman.cvmfs.store.base import StagedStore
from softman.errors import Conflict
from softman.log import get_logger
from softman.model import RegistryRecord, State
from softman.names import RepositoryName
from softman.services.lifecycle import known
from softman.services.material import KeyMaterial, Values
from softman.services.translate import cvmfs_errors

_OF_GATEWAY = ("gatewayKey", "formerGatewayKey", "gatewayRotation")
_log = get_logger(__name__)


class Retirements:
    """What stratum 0 does about retired repositories.

    Args:
        registry: the registry, with the right to write.
        vault: where the owners' keys are.
        material: the keys that sign.
        open_store: the storage of a repository.
        clock: the present time, with a time zone.
    """

    def __init__(
        self,
        registry: Registry,
        vault: KeyVault,
        material: KeyMaterial,
        open_store: Callable[[RepositoryName], StagedStore],
        clock: Callable[[], datetime],
    ) -> None:
        self._registry = registry
        self._vault = vault
        self._material = material
        self._open_store = open_store
        self._clock = clock

    def retired(self) -> list[RepositoryName]:
        """Retired repositories that still have something, sorted."""
        return [record.repository for record in self._records() if not _is_dropped(record)]

    def revoke_keys(self, name: RepositoryName) -> str:
        """Make the gateway key void, and take it from the owner; who has it from before can do nothing with it.

        Returns:
            What was done, in words.

        Raises:
            NotFound: there is no such repository.
            Conflict: the vault does not give back what was written.
        """
        record = known(self._registry, name)
        if record.state is not State.RETIRED or record.retirement is None:
            return "it is restored; its keys stay"
        if self._material.find(name, fresh=True) is None:
            return "it has no keys"
        retired, fresh = str(record.retirement.since), generate_gateway_key().to_text()

        def change(values: Values) -> Values:
            if values.get("revokedBy") == retired:
                return values
            kept = {field: value for field, value in values.items() if field not in _OF_GATEWAY}
            return kept | {"gatewayKey": fresh, "revokedBy": retired}

        self._material.change(name, change, forget=True)
        self._write_owned(record, ("publicKey", "certificateKey", "nextPublicKey"))
        return "the gateway key is void"

    def due(self) -> list[RepositoryName]:
        """Repositories whose time of grace is over, and whose content is not to be kept, sorted."""
        now = self._clock().timestamp()
        return [
            record.repository
            for record in self._records()
            if not _is_dropped(record) and not (record.retirement is None or record.retirement.keep_content)
            if record.retirement.until <= now
        ]

    def drop(self, name: RepositoryName, over: Callable[[], bool]) -> bool:
        """Remove content and keys of a repository that is due, for good. May be repeated from any point.

        Args:
            name: the repository.
            over: whether it is time to stop for now; asked for each file.

        Returns:
            Whether all is gone.

        Raises:
            ServiceUnavailable: the storage, or the vault, does not answer.
        """
        if name not in self.due():
            return True
        with cvmfs_errors(f"dropping {name}"):
            if not self._empty(name, over):
                return False
        self._material.drop(name)
        record = known(self._registry, name)
        self._write_owned(record, ())
        if record.retirement is not None:
            self._registry.put(replace(record, retirement=replace(record.retirement, dropped=True)))
        return True

    def _empty(self, name: RepositoryName, over: Callable[[], bool]) -> bool:
        """Remove files, the manifest first: without it nobody looks for the others."""
        store = self._open_store(name)
        with store.lock(str(name)):
            store.delete(MANIFEST_NAME)
            store.sweep_staged(self._clock().timestamp())
            for file in store.names():
                if over():
                    return False
                store.delete(file)
        return True

    def _write_owned(self, record: RegistryRecord, fields: tuple[str, ...]) -> None:
        """Leave the owner these keys only, and verify by reading back."""
        owner, name = record.owner, record.repository
        before = self._vault.read_owner_keys(owner, name, fresh=True)
        if before is None:
            return
        wanted = {field: before[field] for field in fields if field in before}
        self._vault.write_owner_keys(owner, name, wanted)
        if self._vault.read_owner_keys(owner, name, fresh=True) != wanted:
            msg = f"the vault does not give back the keys written for {name}"
            raise Conflict(msg)

    def _records(self) -> list[RegistryRecord]:
        records = (self._registry.get(name) for name in self._registry.names())
        return [record for record in records if record is not None and record.state is State.RETIRED]


def _is_dropped(record: RegistryRecord) -> bool:
    return record.retirement is not None and record.retirement.dropped
