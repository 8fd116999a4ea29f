"""Quotas while a slice is made: what exceeds one is refused by itself, so that all the rest can be committed.

Counts are those that stratum 0 checks: entries of all kinds and bytes of uncompressed content. They are kept from the
base of the slice on; removals make room in the same slice. Reading runs ahead in many threads, so what may come of it
is reserved before it is read.
"""

import threading
from dataclasses import dataclass
from sys import maxsize

from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.transaction import Transaction
from softman.model import BucketObject, OwnerQuota, Quotas, Refusal
from softman.services.mapping import Target, TargetKind, is_unpacked

_TIGHT = 0.8
"""From this part of a quota on it is worth counting what is in an archive that goes."""


@dataclass(frozen=True, slots=True)
class Share:
    """Entries and bytes, what something takes of a quota."""

    entries: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, entry: Entry) -> "Share":
        """What one entry takes."""
        return cls(1, entry.size if entry.is_file else 0)

    def __add__(self, other: "Share") -> "Share":
        return Share(self.entries + other.entries, self.bytes + other.bytes)

    def __sub__(self, other: "Share") -> "Share":
        return Share(self.entries - other.entries, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class _Limit:
    """One quota: of what, how much, and what of it is taken elsewhere."""

    what: str
    entries: int
    bytes: int
    elsewhere: Share = Share()

    def exceeded(self, used: Share, more: Share) -> str | None:
        """Why ``used`` is not possible, of which ``more`` is new; what takes nothing more is always possible."""
        now = used + self.elsewhere
        if more.entries > 0 and now.entries > self.entries:
            return f"quota: {self.what} would have {now.entries} entries; {self.entries} are possible"
        if more.bytes > 0 and now.bytes > self.bytes:
            return f"quota: {self.what} would have {now.bytes} bytes; {self.bytes} are possible"
        return None

    def is_tight(self, used: Share) -> bool:
        """Whether little is left."""
        now = used + self.elsewhere
        return now.entries > _TIGHT * self.entries or now.bytes > _TIGHT * self.bytes


class Allowance:
    """What may still be added in one slice. Threads may share it.

    Args:
        quotas: of the repository.
        used: what the base of the slice adds up to.
        owner: what its owner may have in all repositories; None when that is not limited.
    """

    def __init__(self, quotas: Quotas, used: Counters, owner: OwnerQuota | None = None) -> None:
        self._quotas = quotas
        self._limits = [_Limit("the repository", quotas.max_entries, quotas.max_bytes)]
        if owner is not None:
            others = Share(owner.others.entries, owner.others.bytes)
            whose = f"all repositories of {owner.user} together"
            self._limits.append(_Limit(whose, owner.max_entries or maxsize, owner.max_bytes or maxsize, others))
        self._used = Share(used.entries, used.file_size)
        self._reserved: dict[str, Share] = {}
        self._lock = threading.Lock()

    @property
    def used(self) -> Share:
        """What is taken, with what is set aside."""
        with self._lock:
            return self._used

    def reserve(self, target: Target, info: BucketObject, shown: Entry | None) -> Refusal | None:
        """Before content is read: set aside what it will take, or say why that is not possible.

        Args:
            target: where it will be.
            info: the object.
            shown: what is shown of the same key now.
        """
        is_archive = target.kind is TargetKind.ARCHIVE
        largest = self._quotas.max_archive_bytes if is_archive else self._quotas.max_object_bytes
        if info.size > largest:
            what = "an archive" if is_archive else "an object"
            return Refusal(target.key, f"it has {info.size} bytes; {what} of this repository may have {largest}")
        share = Share(1, info.size if target.kind is TargetKind.FILE else 0)
        if shown is not None and shown.path == target.path:
            share -= Share.of(shown)
        with self._lock:
            self._used -= self._reserved.pop(target.key, Share())
            return self._reserve(target.key, share)

    def settle(self, key: str, more: Share) -> Refusal | None:
        """What was reserved for ``key`` is taken, and ``more`` with it; or nothing is, and the reason is returned."""
        with self._lock:
            reserved = self._reserved.pop(key, Share())
            self._used -= reserved
            refusal = self._reserve(key, reserved + more)
            self._reserved.pop(key, None)
        return refusal

    def release(self, key: str) -> None:
        """Nothing came of what was reserved for ``key``."""
        with self._lock:
            self._used -= self._reserved.pop(key, Share())

    def removed(self, entry: Entry, transaction: Transaction) -> None:
        """``entry`` is about to be removed from ``transaction``, with all that is in it."""
        share = Share.of(entry)
        if is_unpacked(entry) and self._is_tight():
            share = sum(map(Share.of, transaction.walk(entry.path)), share)
        with self._lock:
            self._used -= share

    def _reserve(self, key: str, share: Share) -> Refusal | None:
        used = self._used + share
        for limit in self._limits:
            reason = limit.exceeded(used, share)
            if reason is not None:
                return Refusal(key, reason)
        self._used = used
        self._reserved[key] = share
        return None

    def _is_tight(self) -> bool:
        return any(limit.is_tight(self._used) for limit in self._limits)
