"""Answers that are used again for a while, and for longer when whoever gives them is away."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from softman.errors import TransientError
from softman.names import RepositoryName

MOST: Final = 10_000
"""Repositories whose answers are kept."""
_T = TypeVar("_T")


def remembered(
    ask: Callable[[RepositoryName], _T], seconds: float, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[RepositoryName], _T]:
    """``ask``, but its answer is used again for so many seconds, and until it answers again when it cannot.

    Args:
        ask: asks about a repository; raises ``TransientError`` when it gets no answer.
        seconds: how long an answer is used without asking.
        clock: seconds that never go back.

    Returns:
        A function that threads may share. It raises what ``ask`` raises when there is no earlier answer.
    """
    lock = threading.Lock()
    kept: OrderedDict[RepositoryName, tuple[float, _T]] = OrderedDict()

    def answer(name: RepositoryName) -> _T:
        known = kept.get(name)
        if known is not None and clock() - known[0] < seconds:
            return known[1]
        try:
            found = ask(name)
        except TransientError:
            if known is None:
                raise
            return known[1]
        with lock:
            kept[name] = (clock(), found)
            kept.move_to_end(name)
            while len(kept) > MOST:
                kept.popitem(last=False)
        return found

    return answer
