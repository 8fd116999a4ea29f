"""Circuits: a service that has not answered several times in a row is left alone for a while.

Without them, every task that needs a dead service waits for its time limits, holds a slot of a worker meanwhile, and
uses up its retries. With an open circuit it fails at once with ``Outage``, which workers take as a reason to postpone
it without counting (``workers.base``). After a pause one caller may try; the pause grows while that fails.

The state is each process's own. So N processes ask a dead service N times as often, which costs nothing that matters,
and a process that is cut off from a service by itself does not keep others from it. A state shared in Redis would need
one more request before each, and would be gone when Redis is what is dead.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from inspect import isgenerator, isgeneratorfunction, unwrap
from itertools import islice
from typing import Any, Generic, NoReturn, TypeVar, cast

from softman.cvmfs.errors import CvmfsError, StoreUnavailable
from softman.cvmfs.store.base import Readable, ReadableStore
from softman.errors import Outage, ServiceUnavailable, SoftmanError

FAILURES = 3
"""So many in a row open a circuit, usually."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 15.0
"""Seconds until somebody may try again; the pause doubles with each failure."""

_T = TypeVar("_T")


class StoreOutage(StoreUnavailable):
    """The circuit of a repository's store is open."""


class Circuit:
    """The circuit of one service. Safe to be shared by threads.

    Args:
        what: the service, in words.
        clock: seconds that never go back.
        most: so many failures in a row open it.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic, *, most: int = FAILURES) -> None:
        self._what = what
        self._most = most
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._until = 0.0
        self._tried = False

    @property
    def is_open(self) -> bool:
        """Whether the service counts as not answering."""
        return self._failures >= self._most

    @contextmanager
    def guard(
        self,
        failure: type[Exception] = ServiceUnavailable,
        outage: type[Exception] = Outage,
    ) -> Iterator[None]:
        """Ask the service inside the block.

        Args:
            failure: the error that says that it does not answer; other errors of ours are answers.
            outage: what to raise instead while the circuit is open, a subclass of it.
        """
        self._enter(outage)
        try:
            yield
        except outage:  # of another service, asked inside the block
            self._leave(None)
            raise
        except failure as exc:
            self._leave(answered=False)
            if self.is_open:
                raise outage(str(exc)) from exc
            raise
        except (SoftmanError, CvmfsError):
            self._leave(answered=True)
            raise
        except BaseException:
            self._leave(None)
            raise
        self._leave(answered=True)

    def check(self) -> None:
        """Return unless the circuit is open and nobody may try yet.

        Raises:
            Outage: that is so.
        """
        with self._lock:
            left = self._until - self._clock()
            if self.is_open and (left > 0 or self._tried):
                self._refuse(Outage, left)

    def _enter(self, outage: type[Exception]) -> None:
        with self._lock:
            if not self.is_open:
                return
            left = self._until - self._clock()
            if left > 0 or self._tried:
                self._refuse(outage, left)
            self._tried = True

    def _refuse(self, outage: type[Exception], left: float) -> NoReturn:
        msg = f"{self._what} does not answer; it is asked again in {max(left, 0.0):.1f} s"
        raise outage(msg)

    def _leave(self, answered: bool | None) -> None:
        with self._lock:
            self._tried = False
            if answered:
                self._failures = 0
            elif answered is False:
                self._failures += 1
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** max(0, min(self._failures - self._most, 30)))
                self._until = self._clock() + random.uniform(pause / 2, pause)  # noqa: S311 - spreads load


def guarded(port: _T, circuit: Circuit) -> _T:
    """The same port, each of whose calls goes through ``circuit``: results, iterators and context managers alike."""
    return cast("_T", _Guarded(port, circuit))


class _Guarded(Generic[_T]):
    def __init__(self, port: _T, circuit: Circuit) -> None:
        self._port = port
        self._circuit = circuit

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not callable(method):
            return method

        # Iterators and context managers ask the service when they are used, not when they are made.
        lazy = isgeneratorfunction(unwrap(method))

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            if lazy:
                result = method(*args, **kwargs)
                return self._iterate(result) if isgenerator(result) else self._hold(result)
            with self._circuit.guard():
                return method(*args, **kwargs)

        return call

    def _iterate(self, items: Iterator[Any]) -> Iterator[Any]:
        with self._circuit.guard():
            first = list(islice(items, 1))
        yield from first
        with self._circuit.guard():
            yield from items

    @contextmanager
    def _hold(self, manager: AbstractContextManager[Any]) -> Iterator[Any]:
        with ExitStack() as stack:
            with self._circuit.guard():
                value = stack.enter_context(manager)
            with self._circuit.guard():
                yield value


class GuardedStore:
    """``ReadableStore`` of a repository, asked through a circuit.

    Args:
        store: the store.
        circuit: of the server behind it.
    """

    def __init__(self, store: ReadableStore, circuit: Circuit) -> None:
        self._store = store
        self._circuit = circuit

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        """See ``ReadableStore.open``."""
        with self._guard(), self._store.open(name) as body:
            yield body

    def get(self, name: str, *, max_size: int) -> bytes:
        """See ``ReadableStore.get``."""
        with self._guard():
            return self._store.get(name, max_size=max_size)

    def exists(self, name: str) -> bool:
        """See ``ReadableStore.exists``."""
        with self._guard():
            return self._store.exists(name)

    def _guard(self) -> AbstractContextManager[None]:
        return self._circuit.guard(StoreUnavailable, StoreOutage)
