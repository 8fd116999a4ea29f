"""How much a comparison has to get through: counted ahead, by listing the bucket once more, when it turns out long."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from softman.errors import SoftmanError
from softman.model import BucketObject

_LONG = 5.0
"""Seconds that a comparison may take without anything being counted: most end before."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Objects, and the bytes in them where that is known."""

    objects: int
    bytes: int | None = None


class Countdown:
    """Tells how much of a comparison is left. To be closed.

    Args:
        listing: lists the objects that are compared, from the first; called in another thread.
    """

    def __init__(self, listing: Callable[[], Iterable[BucketObject]]) -> None:
        self._listing = listing
        self._begun = time.monotonic()
        self._objects = self._bytes = 0
        self._total: Amount | None = None
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def passing(self, listing: Iterable[BucketObject]) -> Iterator[BucketObject]:
        """The same objects, each counted off as it is compared."""
        for item in listing:
            self._objects += 1
            self._bytes += item.size
            yield item

    def left(self) -> Amount | None:
        """What was not compared yet; None as long as nobody knows. Asking late enough has it counted."""
        if self._thread is None and time.monotonic() >= self._begun + _LONG:
            self._thread = threading.Thread(target=self._count, name="countdown", daemon=True)
            self._thread.start()
        total = self._total
        if total is None or total.bytes is None:
            return None
        return Amount(max(0, total.objects - self._objects), max(0, total.bytes - self._bytes))

    def close(self) -> None:
        """Nobody asks any more. A page that is being listed is waited for."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _count(self) -> None:
        objects = size = 0
        try:
            for item in self._listing():
                if self._over.is_set():
                    return
                objects += 1
                size += item.size
        except SoftmanError:
            return  # nobody is told how much is left; the comparison itself says what is wrong
        self._total = Amount(objects, size)
