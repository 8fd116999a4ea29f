"""``KeyVault`` and ``Registry`` in memory, with the same roles and rules as Vault, for development and tests."""

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from softman.adapters.ports import Change
from softman.adapters.vault_layout import (
    PUBLIC_KEYS,
    Role,
    decode_record,
    encode_record,
    master_path,
    owner_path,
    public_path,
    record_path,
    signing_path,
)
from softman.errors import Conflict, Forbidden, NotFound
from softman.model import RegistryRecord
from softman.names import Owner, RepositoryName


@dataclass(frozen=True, slots=True)
class _Secret:
    values: dict[str, Any] = field(repr=False)
    version: int


class MemoryVault:
    """What several roles share; hand one to each ``MemoryKeyVault`` and ``MemoryRegistry``. Threads may share it."""

    def __init__(self) -> None:
        self._secrets: dict[str, _Secret] = {}
        self._lock = threading.Lock()

    def read(self, path: str) -> tuple[dict[str, Any] | None, int]:
        """A copy of the values, or None; and the version, 0 when there are none."""
        with self._lock:
            secret = self._secrets.get(path)
            return (dict(secret.values), secret.version) if secret is not None else (None, 0)

    def write(self, path: str, values: dict[str, Any], *, base: int) -> int:
        """Store a new version and return its number.

        Raises:
            Conflict: the current version is not ``base``.
        """
        with self._lock:
            secret = self._secrets.get(path)
            current = secret.version if secret is not None else 0
            if current != base:
                msg = f"cannot write {path}: somebody else wrote it first"
                raise Conflict(msg)
            self._secrets[path] = _Secret(dict(values), current + 1)
            return current + 1

    def paths(self, prefix: str) -> list[str]:
        """The paths below ``prefix``, without it."""
        with self._lock:
            return [path.removeprefix(prefix) for path in self._secrets if path.startswith(prefix)]


class MemoryKeyVault:
    """``KeyVault`` as ``role`` sees it.

    Args:
        role: publishers see no signing keys and write nothing.
        vault: what is shared with others; None makes a new one.
    """

    def __init__(self, role: Role = Role.STRATUM0, vault: MemoryVault | None = None) -> None:
        self._role = role
        self._vault = vault if vault is not None else MemoryVault()

    def read_signing(
        self,
        repository: RepositoryName,
        *,
        fresh: bool = False,  # noqa: ARG002 - always is
    ) -> dict[str, str] | None:
        """See ``KeyVault``."""
        _only_stratum0(self._role, f"read the signing keys of {repository}")
        return self._vault.read(_own(signing_path(repository)))[0]

    def create_signing(self, repository: RepositoryName, values: dict[str, str]) -> dict[str, str]:
        """See ``KeyVault``."""
        return self._create(signing_path(repository), values, f"the signing keys of {repository}")

    def change_signing(
        self,
        repository: RepositoryName,
        change: Change,
        *,
        forget: bool = False,  # noqa: ARG002 - one version is all there is
    ) -> dict[str, str]:
        """See ``KeyVault``."""
        return self._change(signing_path(repository), change, f"the signing keys of {repository}")

    def read_master(self, place: str) -> dict[str, str] | None:
        """See ``KeyVault``."""
        _only_stratum0(self._role, f"read the master keys of {place}")
        return self._vault.read(_own(master_path(place)))[0]

    def create_master(self, place: str, values: dict[str, str]) -> dict[str, str]:
        """See ``KeyVault``."""
        return self._create(master_path(place), values, f"the master keys of {place}")

    def change_master(
        self,
        place: str,
        change: Change,
        *,
        forget: bool = False,  # noqa: ARG002 - one version is all there is
    ) -> dict[str, str]:
        """See ``KeyVault``."""
        return self._change(master_path(place), change, f"the master keys of {place}")

    def _create(self, path: str, values: dict[str, str], what: str) -> dict[str, str]:
        _only_stratum0(self._role, f"write {what}")
        try:
            self._vault.write(_own(path), values, base=0)
        except Conflict:
            return self._vault.read(_own(path))[0] or {}
        return dict(values)

    def _change(self, path: str, change: Change, what: str) -> dict[str, str]:
        _only_stratum0(self._role, f"write {what}")
        stored, version = self._vault.read(_own(path))
        if stored is None:
            msg = f"{what} are not in the vault"
            raise NotFound(msg)
        wanted = change(dict(stored))
        if wanted != stored:
            self._vault.write(_own(path), wanted, base=version)
        return dict(wanted)

    def write_owner_keys(self, owner: Owner, repository: RepositoryName, values: dict[str, str]) -> None:
        """See ``KeyVault``."""
        _only_stratum0(self._role, f"write the owner's keys of {repository}")
        public = {name: values[name] for name in PUBLIC_KEYS if name in values}
        for path, wanted in ((_owners(owner_path(owner, repository)), values), (_own(public_path(repository)), public)):
            stored, version = self._vault.read(path)
            if stored != wanted:
                self._vault.write(path, wanted, base=version)

    def read_owner_keys(
        self,
        owner: Owner,
        repository: RepositoryName,
        *,
        fresh: bool = False,  # noqa: ARG002 - always is
    ) -> dict[str, str] | None:
        """See ``KeyVault``."""
        if self._role not in {Role.STRATUM0, Role.PUBLISHER}:
            msg = f"cannot read the owner's keys of {repository} as {self._role.value}"
            raise Forbidden(msg)
        return self._vault.read(_owners(owner_path(owner, repository)))[0]

    def read_public_keys(
        self,
        repository: RepositoryName,
        *,
        fresh: bool = False,  # noqa: ARG002 - always is
    ) -> dict[str, str] | None:
        """See ``KeyVault``."""
        return self._vault.read(_own(public_path(repository)))[0]


class MemoryRegistry:
    """``Registry`` as ``role`` sees it; arguments as for ``MemoryKeyVault``."""

    def __init__(self, role: Role = Role.STRATUM0, vault: MemoryVault | None = None) -> None:
        self._role = role
        self._vault = vault if vault is not None else MemoryVault()

    def get(self, repository: RepositoryName) -> RegistryRecord | None:
        """See ``Registry``."""
        stored, version = self._vault.read(_own(record_path(repository)))
        return None if stored is None else decode_record(stored, version, repository)

    def put(self, record: RegistryRecord) -> RegistryRecord:
        """See ``Registry``."""
        _only_stratum0(self._role, f"write the registry record of {record.repository}")
        path = _own(record_path(record.repository))
        return replace(record, version=self._vault.write(path, encode_record(record), base=record.version))

    def names(self) -> list[RepositoryName]:
        """See ``Registry``."""
        return sorted(RepositoryName.parse(name) for name in self._vault.paths(_own("repositories/")))


def _own(path: str) -> str:
    return f"softman/{path}"


def _owners(path: str) -> str:
    return f"secrets/{path}"


def _only_stratum0(role: Role, what: str) -> None:
    if role is not Role.STRATUM0:
        msg = f"cannot {what} as {role.value}: only stratum0 may"
        raise Forbidden(msg)
