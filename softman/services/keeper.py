"""Keeping a lease alive while its holder works, and noticing when it is lost, or when the holder shall stop."""

import threading
import time
from types import TracebackType
from typing import ClassVar, Protocol, Self

from softman.adapters.ports import Lease
from softman.errors import Busy, SoftmanError, TransientError
from softman.log import get_logger

GRACE_SECONDS = 3.0
"""What a slice gets to finish when the worker stops; a longer one is handed back."""

log = get_logger(__name__)


class Flag(Protocol):
    """Something that somebody sets once."""

    def is_set(self) -> bool:
        """Whether it is set."""


class LeaseKeeper:
    """Renews a lease from a thread, as a context manager.

    Args:
        lease: the lease, held.
        seconds: its time to live; it is renewed after a third of it.

    Attributes:
        stopping: set when this process was asked to stop; put here by the program that services run in.
    """

    stopping: ClassVar[Flag] = threading.Event()

    def __init__(self, lease: Lease, seconds: float) -> None:
        self._lease = lease
        self._pause = seconds / 3
        self._ended = threading.Event()
        self._lost = threading.Event()
        self._stop_at: float | None = None
        self._thread = threading.Thread(target=self._renew, name="lease keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def check(self) -> None:
        """Return while the lease is ours and nobody asked us to stop. Cheap: called for each object.

        Raises:
            Busy: it was lost, and another holder may be at work, so nothing more may be committed under it; or this
                process stops, and another shall go on.
        """
        if self._lost.is_set():
            msg = "the lease was lost; another worker goes on"
            raise Busy(msg)
        if self.stopping.is_set():
            now = time.monotonic()
            if self._stop_at is None:
                self._stop_at = now + GRACE_SECONDS
            if now >= self._stop_at:
                msg = "this worker stops; another goes on"
                raise Busy(msg)

    def _renew(self) -> None:
        while not self._ended.wait(self._pause):
            try:
                if self._lease.renew():
                    continue
            except TransientError as exc:  # the lease may yet live through it; the commit's fence decides in the end
                log.warning("lease not renewed", reason=str(exc))
                continue
            except SoftmanError as exc:
                log.warning("lease lost", reason=str(exc))
            self._lost.set()
            return
