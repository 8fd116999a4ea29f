"""Builds the repository gateway from settings: those of publishers, whose rights it has and no more."""

import time
from datetime import timedelta

from softman import wiring
from softman.adapters.vault_layout import Role
from softman.cvmfs.areas import StagingArea
from softman.cvmfs.format.keys import GatewayKey
from softman.cvmfs.gateway.merger import Merger
from softman.cvmfs.reader import RepositoryReader
from softman.cvmfs.store.base import StagedStore
from softman.errors import InvalidInput, NotFound
from softman.names import RepositoryName
from softman.services.gateway.access import VaultAccess
from softman.services.gateway.commits import Commits, Site
from softman.services.gateway.gateway import Gateway, GatewayLimits
from softman.services.gateway.leases import LeaseBook
from softman.services.gateway.ownership import OWNERSHIP
from softman.services.material import owned_public_keys
from softman.services.translate import cvmfs_errors
from softman.settings import Settings
from softman.storage import open_store
from softman.tasks.client import CeleryCommitDoor, client_app


def gateway(settings: Settings) -> Gateway:
    """The gateway, with the publishers' role in the vault and their credential for the storage."""
    vault, registry = wiring.vault(settings, Role.PUBLISHER)

    def store(repository: str) -> StagedStore:
        return open_store(settings, settings.cvmfs.storage, repository, Role.PUBLISHER)

    def open_area(repository: str) -> StagingArea:
        return store(repository).new_area()

    def open_site(repository: str) -> Site:
        name = RepositoryName.parse(repository)
        record = registry.get(name)
        keys = vault.read_owner_keys(record.owner, name) if record is not None else None
        if keys is None:
            msg = f"there is no repository {repository}, or it has no keys"
            raise NotFound(msg)
        stored, scratch = store(repository), wiring.scratch(settings)
        reader = RepositoryReader(stored, repository, owned_public_keys(keys), now=wiring.now, work_dir=scratch)
        return Site(reader, Merger(stored, ownership=OWNERSHIP, now=lambda: int(time.time())))

    own = settings.gateway
    door = CeleryCommitDoor(client_app(settings), settings.sync.commit_timeout)
    return Gateway(
        access=VaultAccess(vault, registry, _admin_key(settings)),
        book=LeaseBook(timedelta(seconds=own.lease_seconds), wiring.now),
        commits=Commits(door, open_site, open_area, wiring.scratch(settings)),
        open_area=open_area,
        limits=GatewayLimits(own.lease_bytes),
    )


def _admin_key(settings: Settings) -> GatewayKey | None:
    path = settings.gateway.admin_key_file
    if path is None:
        return None
    try:
        text = path.read_text()
    except OSError as exc:
        msg = f"gateway.admin_key_file: {exc.strerror}"
        raise InvalidInput(msg) from exc
    with cvmfs_errors("gateway.admin_key_file"):
        return GatewayKey.parse(text)
