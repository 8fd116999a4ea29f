"""The registry of repositories in Vault: one record per repository, written with check-and-set. Never cached."""

from dataclasses import replace

from softman.adapters.vault_layout import REPOSITORIES, decode_record, encode_record, record_path
from softman.adapters.vault_session import VaultSession
from softman.errors import Conflict, InvalidInput
from softman.log import get_logger
from softman.model import RegistryRecord
from softman.names import RepositoryName
from softman.settings import VaultSettings

_log = get_logger(__name__)


class VaultRegistry:
    """``Registry`` in Vault.

    Args:
        session: the role's access; only ``stratum0`` may write.
        settings: names our own mount.
    """

    def __init__(self, session: VaultSession, settings: VaultSettings) -> None:
        self._session = session
        self._mount = settings.own_mount

    def get(self, repository: RepositoryName) -> RegistryRecord | None:
        """See ``Registry``.

        Raises:
            Corrupt: the record has a schema this softman does not know, or is damaged.
        """
        stored = self._session.read(self._mount, record_path(repository), _what(repository))
        return None if stored.values is None else decode_record(stored.values, stored.version, repository)

    def put(self, record: RegistryRecord) -> RegistryRecord:
        """See ``Registry``."""
        path = record_path(record.repository)
        what = _what(record.repository)
        document = encode_record(record)
        try:
            version = self._session.write(self._mount, path, document, base=record.version, what=what)
        except Conflict:
            if record.version:
                raise
            # A record that somebody deleted by hand is none for us, but for Vault its versions go on.
            stored = self._session.read(self._mount, path, what)
            if stored.values is not None:
                raise
            version = self._session.write(self._mount, path, document, base=stored.version, what=what)
        return replace(record, version=version)

    def names(self) -> list[RepositoryName]:
        """See ``Registry``. Names of records deleted by hand stay until their versions are destroyed."""
        found = []
        for name in self._session.names(self._mount, REPOSITORIES, "the repositories"):
            try:
                found.append(RepositoryName.parse(name))
            except InvalidInput:
                _log.warning("registry entry ignored", name=name)
        return sorted(found)


def _what(repository: RepositoryName) -> str:
    return f"the registry record of {repository}"
