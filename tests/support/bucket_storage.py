"""Storage for repositories on the embedded stack's object store, prepared as an admin would."""

from dataclasses import dataclass
from pathlib import Path

from softman.adapters.s3_client import S3Access
from softman.adapters.s3_objects import S3Objects
from softman.adapters.s3_store import S3Place, S3Store
from softman.adapters.s3_store_grants import share_storage
from softman.standalone.stack import Stack

STRATUM0, PUBLISHER = "storage-stratum0", "storage-publisher"


@dataclass(frozen=True)
class BucketStorage:
    """A bucket of its own, and the two sides' credentials."""

    place: S3Place
    stratum0: S3Access
    publisher: S3Access
    public_by_acl: bool = True

    @classmethod
    def prepare(cls, stack: Stack, bucket: str, prefix: str = "cvmfs/site", *, by_acl: bool = True) -> "BucketStorage":
        access = []
        for user in (STRATUM0, PUBLISHER):
            keys = stack.create_s3_user(user)
            access.append(S3Access(stack.s3_endpoint, keys.access_key, keys.secret_key))
        place = S3Place(bucket, prefix)
        share_storage(access[0], place, STRATUM0, PUBLISHER, public=not by_acl)
        return cls(place, access[0], access[1], by_acl)

    @property
    def url(self) -> str:
        """Where everybody reads; the repository's name follows after a slash."""
        return f"{self.stratum0.endpoint}/{self.place.bucket}/{self.place.prefix}".rstrip("/")

    def objects(self, access: S3Access) -> S3Objects:
        return S3Objects(access, self.place.bucket, public=self.public_by_acl)

    def store(self, repository: str, lock_path: Path) -> S3Store:
        """Stratum 0's side."""
        return S3Store(self.objects(self.stratum0), self.place.root(repository), lock_path=lock_path)

    def publisher_store(self, repository: str) -> S3Store:
        return S3Store(self.objects(self.publisher), self.place.root(repository))
