"""Quotas while a slice is made: what exceeds one is refused by itself, so that all the rest can be committed.

Counts are those that stratum 0 checks: entries of all kinds and bytes of uncompressed content. They are kept from the
base of the slice on; removals make room in the same slice. Reading runs ahead in many threads, so what may come of it
is reserved before it is read.
"""

import threading
from dataclasses import dataclass

from softman.cvmfs.format.counters import Counters
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.transaction import Transaction
from softman.model import BucketObject, Quotas, Refusal
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


class Allowance:
    """What may still be added in one slice. Threads may share it.

    Args:
        quotas: of the repository.
        used: what the base of the slice adds up to.
    """

    def __init__(self, quotas: Quotas, used: Counters) -> None:
        self._quotas = quotas
        self._used = Share(used.entries, used.file_size)
        self._reserved: dict[str, Share] = {}
        self._lock = threading.Lock()

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
        for what, now, more, limit in (
            ("entries", used.entries, share.entries, self._quotas.max_entries),
            ("bytes", used.bytes, share.bytes, self._quotas.max_bytes),
        ):
            if more > 0 and now > limit:
                return Refusal(key, f"quota: the repository would have {now} {what}; {limit} are possible")
        self._used = used
        self._reserved[key] = share
        return None

    def _is_tight(self) -> bool:
        quotas, used = self._quotas, self._used
        return used.entries > _TIGHT * quotas.max_entries or used.bytes > _TIGHT * quotas.max_bytes
