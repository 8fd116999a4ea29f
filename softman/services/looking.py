"""Having objects looked at in threads: those that may be small many at once, the others one by one.

A thread of its own for each small object costs twice the CPU of the look itself, mostly for passing Python's lock on.
"""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Final, Generic, TypeVar

from softman.adapters.ports import SMALL
from softman.cvmfs.format.entry import Entry
from softman.log import get_logger
from softman.services.archives.tree import StagedTree
from softman.services.mapping import Target, TargetKind
from softman.services.observe import Observation, Observer, Seen

TOGETHER: Final = 64
"""Small objects that one thread looks at, at once."""
WEIGHT: Final = 16
"""How many small objects count as one that is read by itself."""
_T = TypeVar("_T")
_Found = dict[str, "Observation | Future[Observation]"]
_log = get_logger(__name__)


class Looking:
    """Has objects looked at.

    Args:
        observer: looks.
        executor: where objects are read one by one.
        small: where many are, in a few threads.
    """

    def __init__(self, observer: Observer, executor: Executor, small: Executor) -> None:
        self._observer = observer
        self._executor = executor
        self._small = small
        self._batch = _Batch(self)

    def start(self, target: Target, shown: Entry | None, size: int | None) -> "Single[Observation] | Shared":
        """Have one object looked at, soon.

        Args:
            target: see ``Observer.observe``.
            shown: same.
            size: how many bytes it had when it was listed; None if that is not known.
        """
        batch = self._batch
        if target.kind is TargetKind.ARCHIVE or (size is not None and size > SMALL) or target.key in batch.asked:
            return self.run(lambda: self._observer.observe(target, shown))
        batch.asked[target.key] = target, shown
        if len(batch.asked) >= TOGETHER:
            batch.start()
        return Shared(batch, target.key)

    def run(self, task: Callable[[], _T]) -> "Single[_T]":
        """Have something done in one of the threads."""
        return Single(self._executor.submit(task))

    def send(self, batch: "_Batch") -> "Future[_Found]":
        """Have a batch looked at; a new one is begun."""
        self._batch = _Batch(self)
        return self._small.submit(self._look, batch.asked)

    def _look(self, asked: dict[str, tuple[Target, Entry | None]]) -> _Found:
        found: _Found = {}
        try:
            found.update(self._observer.observe_small(asked))
        except Exception as exc:  # noqa: BLE001 - whose fault it is will show
            _log.info("objects are looked at one by one", error=str(exc))
        for key in asked.keys() - found.keys():
            found[key] = self._executor.submit(self._observer.observe, *asked[key])
        return found


class Single(Generic[_T]):
    """Something that is done by itself."""

    weight = WEIGHT

    def __init__(self, future: "Future[_T]") -> None:
        self._future = future

    def result(self) -> _T:
        """What came of it, once it is done. Raises what it raised."""
        return self._future.result()

    def discard(self) -> None:
        """Nobody wants the result."""
        if not self._future.cancel():
            self._future.add_done_callback(_close)


class Shared:
    """An object that is looked at with others."""

    weight = 1

    def __init__(self, batch: "_Batch", key: str) -> None:
        self._batch = batch
        self._key = key

    def result(self) -> Observation:
        """What was seen, once it was. Raises what ``Observer.observe`` does."""
        found = self._batch.start().result()[self._key]
        return found.result() if isinstance(found, Future) else found

    def discard(self) -> None:
        """See ``Single.discard``; what is small leaves nothing behind."""
        self._batch.cancel()


class _Batch:
    """Small objects that are looked at together."""

    def __init__(self, looking: Looking) -> None:
        self.asked: dict[str, tuple[Target, Entry | None]] = {}
        self._looking = looking
        self._future: Future[_Found] | None = None

    def start(self) -> "Future[_Found]":
        """Have them looked at, if they are not yet."""
        if self._future is None:
            self._future = self._looking.send(self)
        return self._future

    def cancel(self) -> None:
        if self._future is not None:
            self._future.cancel()


def _close(future: "Future[_T]") -> None:
    """What was unpacked lies in scratch files."""
    if not future.cancelled() and future.exception() is None:
        seen = future.result()
        if isinstance(seen, Seen) and isinstance(seen.content, StagedTree):
            seen.content.close()
