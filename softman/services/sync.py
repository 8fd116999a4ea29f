"""Carrying out a plan inside one transaction: observations in, catalog changes out. One slice is one revision."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from softman.cvmfs.format.entry import Entry
from softman.cvmfs.transaction import Transaction
from softman.model import Refusal
from softman.services.mapping import SOURCE_XATTR, Target, key_of, mtime_of, source_mark, target_of
from softman.services.observe import Gone, Observation, Observer, Same, Seen
from softman.services.plan import Look, Step, Vanished

_CONFLICT = "a folder of this name exists too, and the folder wins"


@dataclass(frozen=True, slots=True)
class SliceLimits:
    """When a slice is full: whichever comes first. Seconds and bytes read."""

    objects: int
    bytes: int
    seconds: float


@dataclass(slots=True)
class Tally:
    """What one slice did so far."""

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    bytes_read: int = 0
    refused: dict[str, Refusal] = field(default_factory=dict)
    looked_at: set[str] = field(default_factory=set)

    @property
    def changes(self) -> int:
        """How many objects make the next revision differ."""
        return self.added + self.changed + self.removed


class Slice:
    """Applies steps to one transaction until it is full.

    Args:
        transaction: the next revision in the making.
        observer: looks at objects, in the threads of ``executor``.
        executor: where objects are read.
        ahead: how many objects may be read ahead of the catalog.
        limits: when the slice is full.
        still_ours: raises when the lease is lost; asked between objects.
    """

    def __init__(
        self,
        transaction: Transaction,
        observer: Observer,
        executor: Executor,
        *,
        ahead: int,
        limits: SliceLimits,
        still_ours: Callable[[], None],
    ) -> None:
        self.tally = Tally()
        self._transaction = transaction
        self._observer = observer
        self._executor = executor
        self._ahead = ahead
        self._limits = limits
        self._still_ours = still_ours
        self._running: deque[Future[Observation]] = deque()
        self._follow_up: deque[Target] = deque()
        self._until = time.monotonic() + limits.seconds

    def run(self, steps: Iterator[Step]) -> bool:
        """Take steps until the slice is full; True when ``steps`` ended."""
        ended = False
        try:
            while not ended and not self._full():
                ended = not self._start_next(steps)
                if len(self._running) >= self._ahead:
                    self._finish_oldest()
            self._finish_all()
        finally:
            for future in self._running:
                future.cancel()
        return ended

    def _full(self) -> bool:
        in_flight = self.tally.changes + len(self._running)
        limits = self._limits
        return in_flight >= limits.objects or self.tally.bytes_read >= limits.bytes or time.monotonic() >= self._until

    def _start_next(self, steps: Iterator[Step]) -> bool:
        step = next(steps, None)
        if step is None:
            return False
        if isinstance(step, Refusal):
            self._refuse(step)
        elif isinstance(step, Vanished):
            self._running.append(_finished(Gone(step.target)))
        else:
            self._look(step.target)
        return True

    def _look(self, target: Target) -> None:
        shown = self._transaction.lookup(target.path)
        if shown is not None and shown.is_dir and not target.is_directory and not self._stale_directory(shown):
            self.tally.looked_at.add(target.key)
            self._refuse(Refusal(target.key, _CONFLICT))
            return
        self._running.append(self._executor.submit(self._observer.observe, target, shown))

    def _stale_directory(self, shown: Entry) -> bool:
        return SOURCE_XATTR not in shown.xattrs and next(iter(self._transaction.listdir(shown.path)), None) is None

    def _finish_oldest(self) -> None:
        self._still_ours()
        self._apply(self._running.popleft().result())

    def _finish_all(self) -> None:
        while self._running or self._follow_up:
            while self._running:
                self._finish_oldest()
            if self._follow_up:
                self._look(self._follow_up.popleft())

    def _apply(self, seen: Observation) -> None:
        if isinstance(seen, Refusal):
            self._refuse(seen)
            return
        self.tally.looked_at.add(seen.target.key)
        if isinstance(seen, Same):
            self.tally.unchanged += 1
        elif isinstance(seen, Gone):
            self._remove(seen.target)
        elif seen.stored is None:
            self._put_directory(seen)
        else:
            self._put_file(seen)

    def _refuse(self, refusal: Refusal) -> None:
        self.tally.looked_at.add(refusal.key)
        self.tally.refused[refusal.key] = refusal

    def _put_file(self, seen: Seen) -> None:
        path = seen.target.path
        shown = self._transaction.lookup(path)
        if shown is not None and shown.is_dir and not self._stale_directory(shown):
            self._refuse(Refusal(seen.target.key, _CONFLICT))
            return
        if seen.stored is None:
            return
        self._clear_way(path)
        seconds, nanoseconds = mtime_of(seen.info)
        self._transaction.add_file(
            path,
            seen.stored,
            mode=seen.mode,
            mtime=seconds,
            mtime_ns=nanoseconds,
            xattrs={SOURCE_XATTR: source_mark(seen.info)},
        )
        self.tally.bytes_read += seen.info.size
        self._count(shown)

    def _put_directory(self, seen: Seen) -> None:
        path = seen.target.path
        self._clear_way(path + b"/")
        shown = self._transaction.lookup(path)
        seconds, nanoseconds = mtime_of(seen.info)
        self._transaction.add_directory(
            path, mode=seen.mode, mtime=seconds, mtime_ns=nanoseconds, xattrs={SOURCE_XATTR: source_mark(seen.info)}
        )
        self._count(shown)

    def _count(self, shown: Entry | None) -> None:
        if shown is None:
            self.tally.added += 1
        else:
            self.tally.changed += 1

    def _clear_way(self, path: bytes) -> None:
        """Where a folder on the way to ``path`` is a file now, the folder wins and the file is reported."""
        for end in _slashes(path):
            ancestor = self._transaction.lookup(path[:end])
            if ancestor is None:
                return
            if not ancestor.is_dir:
                self._transaction.remove(ancestor.path)
                self._refuse(Refusal(key_of(ancestor.path, is_directory=False), _CONFLICT))
                return

    def _remove(self, target: Target) -> None:
        shown = self._transaction.lookup(target.path)
        if shown is None or shown.is_dir != target.is_directory:
            return
        if shown.is_dir and next(iter(self._transaction.listdir(target.path)), None) is not None:
            if SOURCE_XATTR in shown.xattrs:
                self._transaction.set_xattrs(target.path, {})
                self.tally.changed += 1
            return
        self._transaction.remove(target.path)
        self.tally.removed += 1
        self._transaction.remove_empty_parents(target.path, keep=_is_marked)
        if shown.is_dir:
            self._reconsider(target.path)
        for end in reversed(list(_slashes(target.path))):
            if self._transaction.lookup(target.path[:end]) is not None:
                break
            self._reconsider(target.path[:end])

    def _reconsider(self, path: bytes) -> None:
        """A folder went; a file of the same name, refused until now, may take its place."""
        target = target_of(key_of(path, is_directory=False))
        if isinstance(target, Target):
            self._follow_up.append(target)


def _is_marked(entry: Entry) -> bool:
    return SOURCE_XATTR in entry.xattrs


def _slashes(path: bytes) -> Iterator[int]:
    """Where each directory above ``path`` ends, the outermost first."""
    position = path.find(b"/", 1)
    while position != -1:
        yield position
        position = path.find(b"/", position + 1)


def _finished(value: Observation) -> "Future[Observation]":
    future: Future[Observation] = Future()
    future.set_result(value)
    return future


def looks(keys: Iterable[str]) -> Iterator[Step]:
    """The steps of a sync of some keys: look at each, in the order of S3, as the bucket is now."""
    for key in sorted(keys, key=lambda text: text.encode(errors="surrogateescape")):
        target = target_of(key)
        if isinstance(target, Refusal):
            yield target
        elif target is not None:
            yield Look(target)
