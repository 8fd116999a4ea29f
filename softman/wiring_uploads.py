"""Builds what uploads by browsers need; see ``wiring``."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from softman.adapters.circuit import Circuit, guarded
from softman.adapters.s3_uploads import S3Uploads
from softman.cvmfs.snapshot import Snapshot
from softman.names import RepositoryName
from softman.services.site import site_rules
from softman.services.uploads import Uploads
from softman.settings import Settings


def uploads(settings: Settings, open_snapshot: Callable[[RepositoryName], AbstractContextManager[Snapshot]]) -> Uploads:
    """What prepares uploads, with the dashboard's own credential for buckets.

    Args:
        settings: with that credential.
        open_snapshot: a repository as it is published now.
    """
    store = guarded(S3Uploads.from_settings(settings.s3, settings.uploads.credential), Circuit("the object store"))
    sync = settings.sync
    return Uploads(
        store,
        open_snapshot,
        site_rules(links_anywhere=sync.links_anywhere, unpack=sync.unpack, below=sync.unpack_below),
    )
