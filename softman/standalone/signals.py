"""A polite request to end does what Ctrl-C does, so that whoever started servers takes them down."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_POLITE = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise ``KeyboardInterrupt`` in the main thread; call it there."""
    previous = {number: signal.signal(number, interrupt) for number in _POLITE}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """A handler of signals.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt
