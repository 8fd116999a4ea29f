"""Making a repository: its first revision is an empty root directory."""

import sqlite3
from contextlib import closing

from softman.cvmfs.errors import (
    FormatError,
    HashMismatch,
    ObjectMissing,
    RepositoryExists,
    SignatureInvalid,
    WrongRepository,
)
from softman.cvmfs.format.catalog_writer import create_catalog, root_entry
from softman.cvmfs.format.hashes import HashAlgorithm, ObjectKind
from softman.cvmfs.format.manifest import Manifest
from softman.cvmfs.format.objects import compress, compress_stock
from softman.cvmfs.format.whitelist import WHITELIST_NAME
from softman.cvmfs.head import Head

MASTER_REPLICA_NAME = ".cvmfs_master_replica"
"""Its existence allows stratum 1 servers to replicate the repository."""
_MASTER_REPLICA_TEXT = b"This file marks the repository as replicatable to stratum 1 servers\n"
_METAINFO = b"{}"


def ensure_repository(
    head: Head, *, ttl: int, whitelist_days: int, algorithm: HashAlgorithm, whitelist: bytes | None
) -> Manifest:
    """See ``Repository.create``. The caller holds the lock."""
    head.store.ensure_directories()
    try:
        current = head.manifest()
    except ObjectMissing:
        return _first_revision(head, ttl=ttl, whitelist_days=whitelist_days, algorithm=algorithm, whitelist=whitelist)
    except (SignatureInvalid, WrongRepository) as exc:
        raise RepositoryExists(f"{head.name} is there already, made with other keys: {exc}") from exc
    try:
        head.whitelist()
    except (SignatureInvalid, WrongRepository) as exc:
        raise RepositoryExists(f"{head.name} is there already, made with other keys: {exc}") from exc
    except (ObjectMissing, FormatError, HashMismatch):  # lost or damaged, and ours to replace
        head.resign_whitelist(current, whitelist_days)
    return head.repaired(current)


def _first_revision(
    head: Head, *, ttl: int, whitelist_days: int, algorithm: HashAlgorithm, whitelist: bytes | None
) -> Manifest:
    """Make the repository of ``head``, empty, and sign it.

    Args:
        head: of a store without a manifest.
        ttl: seconds after which clients look for a new revision.
        whitelist_days: validity of the whitelist.
        algorithm: what objects are to be named by.
        whitelist: one that was signed elsewhere.
    """
    now = head.seconds()
    with head.scratch() as work:
        path = work / "root.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            catalog = create_catalog(connection, root_entry(now))
            catalog.finish(revision=1, last_modified=now, previous=None, ttl=ttl)
        database = path.read_bytes()
    if whitelist is None:
        head.sign_whitelist(algorithm, whitelist_days)
    else:
        head.store.put(WHITELIST_NAME, whitelist, durable=True)
    head.store.put(MASTER_REPLICA_NAME, _MASTER_REPLICA_TEXT)
    return head.publish(
        Manifest(
            root_hash=head.put(compress(database), algorithm, ObjectKind.CATALOG),
            root_size=len(database),
            ttl=ttl,
            revision=1,
            repository=head.name,
            certificate=head.put_certificate(algorithm),
            published_at=now,
            garbage_collectable=True,
            metainfo=head.put(compress_stock(_METAINFO), algorithm, ObjectKind.METAINFO),
        )
    )
