"""The storage of repositories, as the settings choose it: a directory or an object store."""

from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from softman.adapters.s3_client import S3Access
from softman.adapters.s3_objects import THREADS, S3Objects
from softman.adapters.s3_store import S3Place, S3Store
from softman.adapters.vault_layout import Role
from softman.cvmfs.errors import FormatError
from softman.cvmfs.store.base import StagedStore
from softman.cvmfs.store.local import LocalStore
from softman.errors import InvalidInput
from softman.settings import S3Credential, Settings


def open_store(settings: Settings, url: str, name: str, role: Role, lock_path: Path | None = None) -> StagedStore:
    """The storage of a repository as one side may use it.

    Args:
        settings: how an object store is reached, and the credentials (``cvmfs.s3``).
        url: where repositories are stored, ``file:///folder`` or ``s3://bucket[/prefix]``.
        name: the repository's.
        role: whose credential it is: that of stratum 0, which changes everything, or that of publishers, which stage.
        lock_path: the file to lock. None takes the one that stratum 0 of these settings locks, for an object store,
            and the one in the repository's own folder for a directory.

    Raises:
        InvalidInput: the URL makes no sense, or there is no credential.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"} and parts.path.startswith("/"):
        return LocalStore(Path(unquote(parts.path)) / name, lock_path=lock_path)
    try:
        place = S3Place.parse(url)
    except FormatError as exc:
        msg = f"{url!r} is no storage for repositories; file:///folder and s3://bucket[/prefix] are"
        raise InvalidInput(msg) from exc
    if lock_path is None and role is Role.STRATUM0:
        lock_path = _lock_path(settings, name)
    return S3Store(storage_objects(settings, role, place.bucket), place.root(name), lock_path=lock_path)


@cache
def storage_objects(settings: Settings, role: Role, bucket: str) -> S3Objects:
    """The objects of a bucket that stores repositories; one for each process, with its connections.

    Raises:
        InvalidInput: the settings have no credential for this side.
    """
    own = settings.cvmfs.s3
    side = "stratum0" if role is Role.STRATUM0 else "publisher"
    credential: S3Credential = getattr(own, side)
    if not credential.access_key:
        msg = f"there is no credential for the storage s3://{bucket}: cvmfs.s3.{side}.access_key is empty"
        raise InvalidInput(msg)
    secret = credential.secret_key.get_secret_value()
    endpoint = own.endpoint or settings.s3.endpoint
    access = S3Access(endpoint, credential.access_key, secret, own.region, ca_file=own.ca_file)
    threads = settings.sync.fetch_threads + THREADS
    return S3Objects(access, bucket, public=own.public == "acl", connections=threads)


def _lock_path(settings: Settings, name: str) -> Path:
    directory = settings.state_dir / "locks"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    return directory / f"{name}.lock"
