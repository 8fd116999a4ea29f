"""What services see of uploads by browsers; the other ports are in ``ports``."""

from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What a browser may do once, and for a short time: a PUT to ``url`` with these headers."""

    url: str = field(repr=False)
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part of an upload that has arrived: bytes, and the object store's mark of them."""

    size: int
    etag: str


class UploadStore(Protocol):
    """Uploads by browsers, with a credential that can put objects below ``cvmfs/`` of connected buckets, and no more.

    Small objects are put at once. Large ones come in parts: ``begin``, any number of ``sign_part``, ``complete`` or
    ``abort``. Signing asks nobody, so that what the object store refuses is told to the browser.
    """

    def sign_put(self, bucket: str, key: str, size: int, metadata: dict[str, str]) -> SignedRequest:
        """Allow one object of just ``size`` bytes."""

    def begin(self, bucket: str, key: str, metadata: dict[str, str]) -> str:
        """Begin an upload in parts; the id of it."""

    def sign_part(self, bucket: str, key: str, upload: str, number: int, size: int) -> SignedRequest:
        """Allow one part, the first being 1, of just ``size`` bytes."""

    def parts(self, bucket: str, key: str, upload: str) -> dict[int, StoredPart]:
        """The parts that have arrived.

        Raises:
            NotFound: there is no such upload of this key, or no more.
        """

    def complete(self, bucket: str, key: str, upload: str, parts: dict[int, StoredPart]) -> str:
        """Make the object of its parts; its ETag.

        Raises:
            NotFound: as above.
            InvalidInput: parts are missing, or too small.
        """

    def abort(self, bucket: str, key: str, upload: str) -> None:
        """Forget the upload and its parts.

        Raises:
            NotFound: as above.
        """
