"""Patience with the object gateway, which crashes now and then and is back within seconds (``restarter``)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest
from botocore import exceptions as boto

from softman.cvmfs.errors import StoreUnavailable
from softman.errors import TransientError

SECONDS = 300.0
"""Longest wait for anything: far above what is usual, because machines are busy."""
T = TypeVar("T")
PASSING = (TransientError, StoreUnavailable, boto.HTTPClientError, boto.ConnectionError, boto.IncompleteReadError)
"""How something fails that may succeed in a moment."""
_ATTEMPTS = {"s3_client": 16, "s3_http": 40, "s3_get": 40}
"""By module of ``softman.adapters``: a minute or more with the pauses that each makes."""
_PAUSE_SECONDS = 0.2


@contextmanager
def patient_clients(attempts: int | None = None) -> Iterator[None]:
    """Clients of the object store that are made here try long enough to see the gateway back, or so many times."""
    with pytest.MonkeyPatch.context() as patch:
        for module, many in _ATTEMPTS.items():
            patch.setattr(f"softman.adapters.{module}.ATTEMPTS", many if attempts is None else attempts)
        yield


def patiently(call: Callable[[], T], seconds: float = SECONDS) -> T:
    """What ``call`` gives, which is tried again while it fails in a way that passes.

    Raises:
        Exception: what it failed with last, when the time is over.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except PASSING:
            if time.monotonic() > deadline:
                raise
        time.sleep(_PAUSE_SECONDS)


def has_come(condition: Callable[[], bool]) -> bool:
    """Whether a condition is true; it is not yet while it cannot be looked at."""
    try:
        return condition()
    except PASSING:
        return False
