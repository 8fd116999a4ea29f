"""Looking at small objects of the coming slice while stratum 0 commits the present one, when nothing else is read."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

from softman.adapters.ports import SMALL
from softman.cvmfs.errors import CvmfsError
from softman.cvmfs.format.entry import Entry
from softman.cvmfs.staging import Staging
from softman.errors import SoftmanError
from softman.services.looking import Looking, Shared, Single
from softman.services.mapping import TargetKind
from softman.services.observe import Observation, Observer
from softman.services.plan import Look, Passed, Step

_AHEAD: Final = 1024
"""Steps that are prepared: about as many objects as are read while a slice of 2000 is committed."""
THREADS: Final = 4
"""Threads that read small objects, each many at once: on two cores the fastest (``docs/sync.md``)."""

Outcome = Single[Observation] | Shared


class HeadStart:
    """The steps of a long sync in their order, of which those that come next may be begun. For one thread.

    Args:
        steps: the plan.
        slice_objects: how many objects fill a slice: no more than that are begun.
    """

    def __init__(self, steps: Iterator[Step], slice_objects: int) -> None:
        self._most = min(_AHEAD, slice_objects)
        self._steps = steps
        self._coming: deque[Step] = deque()
        self._broken: Exception | None = None
        self._begun: dict[str, Outcome] = {}
        self._staging: Staging | None = None
        self._pools: list[ThreadPoolExecutor] = []

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Step:
        if self._coming:
            return self._coming.popleft()
        if self._broken is not None:
            raise self._broken
        return next(self._steps)

    def begin(self, staging: Staging, observer: Observer, shown: Callable[[str], Entry | None]) -> None:
        """Have the next small objects looked at, for a slice that comes.

        Args:
            staging: of that slice.
            observer: looks, into ``staging``. Whether something may be published is not asked yet.
            shown: what will be shown of a key when the slice begins.
        """
        self._staging = staging
        self._fetch()
        if not self._pools:
            self._pools = [ThreadPoolExecutor(THREADS, thread_name_prefix="fetch-next") for _ in range(2)]
        looking = Looking(observer, *self._pools)
        for step in self._coming:
            if isinstance(step, Look) and _is_small(step) and step.target.key not in self._begun:
                key = step.target.key
                self._begun[key] = looking.start(step.target, shown(key), step.size)

    def take_staging(self) -> Staging | None:
        """The staging area of what was begun, for the slice that begins now; from then on it is the slice's."""
        staging, self._staging = self._staging, None
        return staging

    def take(self, key: str) -> Outcome | None:
        """What was begun for ``key``, in that staging area."""
        return self._begun.pop(key, None)

    def drop(self) -> None:
        """Forget what was begun, not the steps: something else was published meanwhile, or nobody goes on."""
        if self._begun:
            self.close()  # what still runs would be staged into nothing
            self._begun.clear()
        self._discard()

    def close(self) -> None:
        """Nobody goes on."""
        pools, self._pools = self._pools, []
        for pool in pools:
            pool.shutdown(cancel_futures=True)
        self._discard()

    def _discard(self) -> None:
        if self._staging is not None:
            self._staging.discard()
            self._staging = None

    def _fetch(self) -> None:
        """Prepare steps; while nothing is to be done, none: that takes long, and others wait for the slice at hand."""
        while len(self._coming) < self._most and self._broken is None:
            try:
                step = next(self._steps, None)
            except (SoftmanError, CvmfsError) as exc:  # an iterator that failed would seem to be at its end
                self._broken = exc
                return
            if step is None:
                return
            self._coming.append(step)
            if isinstance(step, Passed):
                return


def _is_small(step: Look) -> bool:
    if step.verify or step.target.kind is TargetKind.ARCHIVE:
        return False
    return step.size is not None and step.size <= SMALL
