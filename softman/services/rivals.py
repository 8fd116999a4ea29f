"""Which keys claim a path that has become free: those that lost it, or never got to it."""

from itertools import islice

from softman.adapters.ports import BucketReader
from softman.services.mapping import claimants, key_of

_LISTED = 1000
"""Keys that are looked through before every claimant is looked at by its name."""
_REMEMBERED = 100_000


class Rivals:
    """Finds keys to look at again.

    A full difference meets every key, so those that lose are remembered; a sync of some keys asks the bucket.

    Args:
        buckets: where to ask.
        bucket: the bucket's name.
        complete: every loser will be told to ``add``.
        beside: a full difference that this goes on beside; it is told of losers, too.
    """

    def __init__(
        self, buckets: BucketReader, bucket: str, *, complete: bool = False, beside: "Rivals | None" = None
    ) -> None:
        self._buckets = buckets
        self._bucket = bucket
        self._beside = beside
        self._lost: dict[bytes, set[str]] | None = {} if complete else None
        self._count = 0

    @property
    def asks(self) -> bool:
        """Whether ``find`` asks the bucket, and so takes time."""
        return self._lost is None

    def add(self, path: bytes, key: str) -> None:
        """``key`` lost ``path``. Beyond a bound of losers the bucket is asked after all."""
        if self._beside is not None:
            self._beside.add(path, key)
        if self._lost is not None:
            self._lost.setdefault(path, set()).add(key)
            self._count += 1
            if self._count > _REMEMBERED:
                self._lost = None

    def find(self, path: bytes, left: str) -> list[str]:
        """The keys that may be shown at ``path`` now that ``left`` has left it, in the order in which they win."""
        if self._lost is not None:
            return sorted(self._lost.pop(path, ()))
        plain = key_of(path, is_directory=False)
        names = [key for key in claimants(path) if key != left]
        listed = [item.key for item in islice(self._buckets.list_objects(self._bucket, plain + "."), _LISTED)]
        if len(listed) < _LISTED:
            there = {plain, *listed}
            names = [key for key in names if key in there]
        return names
